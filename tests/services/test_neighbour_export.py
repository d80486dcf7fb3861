"""Real snapshots as ZIPs for other trainers: what is in them, who may, what is refused."""

import io
import json
import zipfile
from typing import Any

import pytest
import yaml

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import Message, Pair, PairStatus, Preference, Seed
from distill_studio.distill.presets import PRESETS
from distill_studio.freeze.neighbours import NEIGHBOURS
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs, preferences, seeds

VIEWER = Actor(user="eve", role=Role.VIEWER)
METHODS = {"messages": "sft", "prompt_completion": "sft", "preference": "dpo", "unpaired": "kto"}


def fill(workspace: Workspace, *, odd: str = "") -> None:
    """Thirty prompts, some with a system prompt and earlier turns; two answers each."""
    asked = []
    for n in range(30):
        turns = [Message(role="system", content="Sei knapp – 简洁 🙂")] if n % 3 == 0 else []
        if n % 2 == 0:
            turns.append(Message(role="user", content=f"before {n}"))
            turns.append(Message(role="assistant", content=f"said {n}"))
        asked.append(Seed(messages=(*turns, Message(role="user", content=f"Frage\u2028{n}?"))))
    ids = seeds.insert(workspace.db, asked)
    made, votes = [], []
    for n, seed in enumerate(asked):
        common: dict[str, Any] = {"seed_id": ids[seed.id], "messages": seed.messages}
        good = Pair(
            **common,
            answer=f"Antwort {n}" + (odd if n == 4 else ""),
            reasoning=f"weil {n}",
            teacher="A|B",
            status=PairStatus.ACCEPTED,
        )
        bad = Pair(**common, answer=f"nein {n}", sample=1, teacher="C", status=PairStatus.REJECTED)
        made += [good, bad]
        votes.append(
            Preference(
                seed_id=ids[seed.id],
                chosen_pair_id=good.id,
                rejected_pair_id=bad.id,
                source="person",
                user="ann",
            )
        )
    pairs.insert(workspace.db, made)
    preferences.insert(workspace.db, votes)


def unpacked(workspace: Workspace, name: str) -> dict[str, str]:
    data = (workspace.folder / "exports" / name).read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        whole = {n: archive.read(n).decode() for n in archive.namelist()}
    folders = {n.split("/")[0] for n in whole}
    assert len(folders) == 1
    return {n.split("/", 1)[1]: text for n, text in whole.items()}


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.rstrip("\n").split("\n")]


@pytest.mark.parametrize("row_format", sorted(METHODS))
@pytest.mark.parametrize("thinks", [False, True])
def test_every_row_is_there_in_its_split_with_its_reasoning_or_without(
    workspace: Workspace, owner: Actor, row_format: str, thinks: bool
) -> None:
    fill(workspace)
    snapshot = workspace.freeze.create(
        owner, "first", row_format, validation_share=0.2, include_reasoning=thinks
    )
    frozen = {
        split: workspace.freeze.rows(owner, "first", split, limit=100)
        for split in ("train", "validation")
    }
    for tool, neighbour in NEIGHBOURS.items():
        made = workspace.export.neighbour(VIEWER, "first", tool)
        files = unpacked(workspace, made.name)
        assert made.rows == snapshot.train_rows + snapshot.validation_rows
        assert made.left_out == {}
        for split, rows in frozen.items():
            written = rows_of(files[f"{split}.jsonl"])
            assert written == [neighbour.to_row(row) for row in rows]
            answers = json.dumps(written, ensure_ascii=False)
            assert ("<think>\\nweil " in answers) == thinks
            assert "简洁 🙂" in answers
            assert "\u2028" in answers
        told = files["README.md"]
        for needed in (neighbour.command, snapshot.content_hash, "A\\|B", "not stated"):
            assert needed in told
        assert ("Answers hold their reasoning" in told) == thinks
        assert str(workspace.folder.parents[1]) not in "".join(files.values())


@pytest.mark.parametrize("row_format", sorted(METHODS))
def test_the_settings_are_the_studios_own(
    workspace: Workspace, owner: Actor, row_format: str
) -> None:
    fill(workspace)
    workspace.freeze.create(owner, "first", row_format, validation_share=0.2)
    method = METHODS[row_format]
    own = PRESETS[method]["thorough"].values

    def config(tool: str, file: str) -> dict[str, Any]:
        made = workspace.export.neighbour(owner, "first", tool, "Qwen/Qwen3-0.6B")
        read = json.loads if file.endswith(".json") else yaml.safe_load
        return read(unpacked(workspace, made.name)[file])

    one, two, three = (
        config("llama_factory", "llama_factory.yaml"),
        config("axolotl", "axolotl.yaml"),
        config("unsloth", "settings.json"),
    )
    assert one["stage"] == two.get("rl", "sft") == three["method"] == method
    for name, theirs in {
        "learning_rate": ("learning_rate", "learning_rate", "learning_rate"),
        "max_length": ("cutoff_len", "sequence_len", "max_length"),
        "epochs": ("num_train_epochs", "num_epochs", "epochs"),
        "batch_size": ("per_device_train_batch_size", "micro_batch_size", "batch_size"),
        "eval_every": ("eval_steps", "eval_steps", "eval_every"),
        "beta": ("pref_beta", "rl_beta", "beta"),
    }.items():
        found = [c.get(key) for c, key in zip((one, two, three), theirs, strict=True)]
        assert found == [own.get(name)] * 3, name
    models = one["model_name_or_path"], two["base_model"], three["model"]
    assert set(models) == {"Qwen/Qwen3-0.6B"}
    if method == "kto":  # 30 accepted, 30 rejected, so that the split decides who is rarer
        weights = one["kto_chosen_weight"], one["kto_rejected_weight"]
        assert weights == (two["kto_desirable_weight"], two["kto_undesirable_weight"])
        train = workspace.freeze.rows(owner, "first", "train", limit=100)
        accepted = sum(row["label"] for row in train)
        rejected = len(train) - accepted
        assert weights[0] * accepted == pytest.approx(weights[1] * rejected, rel=1e-3)


def test_what_llama_factory_would_stop_at_is_left_out_and_told(
    workspace: Workspace, owner: Actor
) -> None:
    fill(workspace, odd=" <image>")
    workspace.freeze.create(owner, "first", validation_share=0.0)
    made = workspace.export.neighbour(owner, "first", "llama_factory")
    assert made.rows == 29
    assert list(made.left_out.values()) == [1]
    files = unpacked(workspace, made.name)
    assert "<image>" not in files["train.jsonl"]
    assert f"{next(iter(made.left_out))}: 1" in files["README.md"]
    assert "validation.jsonl" not in files
    assert list(json.loads(files["dataset_info.json"])) == ["first"]
    assert workspace.export.neighbour(owner, "first", "axolotl").rows == 30


def test_a_snapshot_of_which_nothing_remains_is_refused(workspace: Workspace, owner: Actor) -> None:
    turns = (Message(role="user", content="one"), Message(role="user", content="two"))
    asked = [Seed(messages=turns)]
    ids = seeds.insert(workspace.db, asked)
    made = Pair(seed_id=ids[asked[0].id], messages=turns, answer="a", status=PairStatus.ACCEPTED)
    pairs.insert(workspace.db, [made])
    workspace.freeze.create(owner, "twice")
    with pytest.raises(InvalidInput, match=r"would take no row .*does not alternate"):
        workspace.export.neighbour(owner, "twice", "llama_factory")
    assert list((workspace.folder / "exports").iterdir()) == []
    assert workspace.export.neighbour(owner, "twice", "unsloth").rows == 1


def test_what_is_refused_in_plain_words(workspace: Workspace, owner: Actor) -> None:
    fill(workspace)
    workspace.freeze.create(owner, "first")
    with pytest.raises(NotFound, match="no snapshot 'second'"):
        workspace.export.neighbour(owner, "second", "axolotl")
    with pytest.raises(InvalidInput, match="known to this studio alone") as refused:
        workspace.export.neighbour(owner, "first", "axolotl", "run:mine")
    assert "Export the student" in refused.value.hint
    for model in ("two\nlines", "x" * 501):
        with pytest.raises(InvalidInput, match="no model's name"):
            workspace.export.neighbour(owner, "first", "axolotl", model)
    with pytest.raises(InvalidInput, match="no export for 'trl'"):
        workspace.export.neighbour(owner, "first", "trl")  # type: ignore[arg-type]
