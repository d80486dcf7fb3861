"""Checkpoints of a real training, asked as models: each kind of weights, loaded as it was then."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import NotFound
from distill_studio.core.records import Run, RunState
from distill_studio.core.records.comparison import AnswerState
from distill_studio.distill import worker
from distill_studio.distill.config import StudentConfig
from distill_studio.services.checkpoints import answering_folder
from distill_studio.store import runs
from distill_studio.teachers.weights import load_here
from tests.tiny_model import user

pytestmark = pytest.mark.usefixtures("keep_signals")


def trained(workspace, make_run: Callable[..., Path], **fields: Any) -> Path:
    """A finished run of four updates that keeps its two checkpoints."""
    (workspace.folder / "runs").mkdir(exist_ok=True)
    at = str(workspace.folder / "runs" / "first")
    folder = make_run(folder=at, **{"keep_checkpoints": 2} | fields)
    assert worker.main([str(folder / "run.json")]) == 0
    add_run(workspace, "first", RunState.DONE)
    return folder


def add_run(workspace, name: str, state: RunState) -> None:
    runs.insert(workspace.db, Run(name=name, method="sft", snapshot_id="s", state=state))


def logits(folder: Path, cache: Path) -> Any:
    """Of the model that is loaded from there to answer."""
    import torch
    from transformers import AutoTokenizer

    loaded: Any = load_here(folder, cache, "cpu", "float32")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template([user("say red")], tokenize=False)
    with torch.no_grad():
        return loaded.engine.model(**tokenizer(text, return_tensors="pt")).logits


@pytest.mark.parametrize("kind", ["adapter", "full", "pruned adapter"])
def test_a_checkpoint_is_the_model_as_it_was_then(
    kind: str, workspace, owner, make_run, tiny_model, tmp_path
):
    import torch

    fields: dict[str, Any] = {"lora": None} if kind == "full" else {}
    if kind == "pruned adapter":
        fields["student"] = StudentConfig(
            base_folder=str(tiny_model), base_id="tiny", keep_layers=2
        )
    folder = trained(workspace, make_run, **fields)
    cards = [card for card in workspace.evaluate.models(owner) if card.step is not None]
    assert [(card.id, card.label) for card in cards] == [
        ("student:first@2", "first, step 2"), ("student:first@4", "first, step 4"),
    ]  # fmt: skip
    is_adapter = (answering_folder(workspace, "first@4") / "adapter_config.json").exists()
    assert is_adapter == (kind != "full")
    early, late = (logits(answering_folder(workspace, f"first@{n}"), tmp_path) for n in (2, 4))
    student = logits(folder / "model", tmp_path)  # what the last update left
    assert torch.allclose(late, student, atol=1e-4)
    assert not torch.allclose(early, student, atol=1e-2)
    assert not list(folder.glob("checkpoints/*/optimizer*")), "it is not resumed any more"


def test_two_checkpoints_are_compared_and_named_by_step(workspace, owner, make_run, tiny_model):
    from transformers import AutoModelForCausalLM

    trained(workspace, make_run)
    found = workspace.evaluate.compare(owner, ["first@2", "first, step 4"], "say red", max_tokens=4)
    assert [a.state for a in found.answers] == [AnswerState.DONE] * 2
    assert [a.card.id for a in found.answers] == ["student:first@2", "student:first@4"]
    whole = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny_model).parameters())
    assert {a.card.parameters for a in found.answers} == {whole}  # not the adapter's alone
    assert workspace.feedback.proposal(owner, "student:first@2").spec is None


def made_up(workspace, run: str, step: int, *, state: str = "{}") -> Path:
    """Files that look like a checkpoint of a full training."""
    folder = workspace.folder / "runs" / run / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "trainer_state.json").write_text(state)
    return folder


def test_only_whole_checkpoints_are_offered_in_order_and_none_by_default(workspace, owner):
    add_run(workspace, "older", RunState.DONE)
    add_run(workspace, "failed", RunState.FAILED)
    add_run(workspace, "empty", RunState.STOPPED)
    for step in (100, 20):
        made_up(workspace, "failed", step)
    made_up(workspace, "failed", 120, state="{cut")
    (made_up(workspace, "failed", 130) / "model.safetensors").unlink()  # parts of many devices
    (made_up(workspace, "failed", 140) / "tokenizer_config.json").unlink()
    students = [c.id for c in workspace.evaluate.models(owner) if c.id.startswith("student:")]
    assert students == ["student:failed@20", "student:failed@100", "student:older"]
    assert workspace.evaluate.defaults(owner)[-1] == "student:older"


def test_a_checkpoint_that_is_gone_says_so(workspace, owner):
    add_run(workspace, "first", RunState.STOPPED)
    folder = made_up(workspace, "first", 20)
    card = workspace.evaluate.comparable.card(owner, "first@20")
    shutil.rmtree(folder)
    with pytest.raises(NotFound, match="no checkpoint of step 20 any more"):
        workspace.evaluate.comparable.source(card)()
    with pytest.raises(NotFound, match="no run"):
        answering_folder(workspace, "../first@20")
