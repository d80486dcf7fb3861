"""Packed rows: laid well, kept apart, and learned as the same rows padded."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from distill_studio.core.errors import InvalidInput
from distill_studio.distill import worker
from distill_studio.distill.config import RunConfig, TeacherConfig
from distill_studio.distill.data import MASKED
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.distill.packing import lay, running_state
from distill_studio.distill.preflight import check
from distill_studio.distill.trainers.mapped import ROW
from distill_studio.distill.trainers.packed import READ, PackedCollator, check_packing
from tests.tiny_model import WORDS, assistant, build_tiny_model, user, write_snapshot

MakeConfig = Callable[..., RunConfig]
MakeRun = Callable[..., Path]
LENGTHS = (9, 4, 23, 6, 2, 17)


def tiny(kind: str, attention: str = "sdpa") -> Any:
    """A random model of an architecture, in fp32."""
    import transformers as t

    common: dict[str, Any] = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2}
    wide = {
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    made = {
        "llama": (t.LlamaConfig, wide),
        "qwen2": (t.Qwen2Config, wide),
        "qwen3": (t.Qwen3Config, {**wide, "head_dim": 8}),
        "mistral": (t.MistralConfig, {**wide, "sliding_window": 5}),
        "gemma3": (
            t.Gemma3TextConfig,
            {**wide, "head_dim": 8, "sliding_window": 5, "layer_types": _ALTERNATE},
        ),
        "gpt2": (t.GPT2Config, {"n_head": 4, "n_positions": 64, "initializer_range": 0.2}),
        "mamba": (t.MambaConfig, {"state_size": 4, "initializer_range": 0.2}),
        "lfm2": (t.Lfm2Config, {**wide, "layer_types": ["conv", "full_attention"]}),
    }
    config, fields = made[kind]
    torch.manual_seed(3)
    return t.AutoModelForCausalLM.from_config(
        config(**common, **fields),
        attn_implementation="eager" if kind == "mamba" else attention,
    ).eval()


_ALTERNATE = ["sliding_attention", "full_attention"]


def examples(seed: int = 1) -> list[dict[str, Any]]:
    """Rows of unlike lengths; the first token of one is labelled, and must not be learned."""
    made = torch.Generator().manual_seed(seed)
    rows = [torch.randint(5, 97, (n,), generator=made).tolist() for n in LENGTHS]
    labels = [[MASKED] * (len(row) // 2) + row[len(row) // 2 :] for row in rows]
    labels[1] = list(rows[1])
    return [
        {"input_ids": row, "labels": label, ROW: number}
        for number, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]


def loss_of(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """(sum over the learned tokens, their number)."""
    inputs = {n: v for n, v in batch.items() if n in ("input_ids", "position_ids")}
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    targets = batch["labels"][:, 1:]
    total = cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=MASKED, reduction="sum"
    )
    return total, int((targets != MASKED).sum())


def alone(model: Any, rows: list[dict[str, Any]]) -> tuple[torch.Tensor, int]:
    """The same, each row in a pass of its own."""
    parts = [
        loss_of(model, {name: torch.tensor([row[name]]) for name in ("input_ids", "labels")})
        for row in rows
    ]
    return torch.stack([total for total, _ in parts]).sum(), sum(count for _, count in parts)


def gradients(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("longest", [1, 8, 30, 64, 1000])
def test_a_layout_has_each_row_once_and_is_never_larger_than_padding(longest: int) -> None:
    for lengths in (LENGTHS, (7,), (5, 5, 5, 5), (130, 130, 100), tuple(range(1, 90))):
        sequences = lay(lengths, longest, hidden=64)
        assert sorted(n for s in sequences for n in s) == list(range(len(lengths)))
        assert all(s == sorted(s) for s in sequences)
        widths = [sum(lengths[n] for n in s) for s in sequences]
        assert len(sequences) * max(widths) <= len(lengths) * max(lengths)
        assert max(widths) <= max(longest, *lengths)
    assert lay([], longest, 64) == []


def test_short_rows_share_a_sequence_and_long_ones_are_not_made_quadratic() -> None:
    assert lay((60, 10, 25, 30), 256, hidden=576) == [[0, 1, 2, 3]]
    assert lay((60, 10, 25, 30), 100, hidden=576) == [[0], [1, 2, 3]]
    assert lay((60, 60), 256, hidden=576) == [[0], [1]]  # nothing to save
    four = lay((2000, 1990, 1980, 1970), 8192, hidden=576)
    assert len(four) == 4  # one sequence would hold no padding, and cost four times the attention


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral"])
@pytest.mark.parametrize("longest", [30, 200])
def test_loss_and_gradients_are_those_of_the_rows_alone(
    kind: str, attention: str, longest: int
) -> None:
    model, rows = tiny(kind, attention), examples()
    batch = PackedCollator(0, longest, model)(rows)
    assert batch["input_ids"].shape[0] < len(rows)
    assert batch[READ] == sum(LENGTHS)
    total, count = loss_of(model, batch)
    wanted, learned = alone(model, rows)
    assert count == learned
    assert total.item() == pytest.approx(wanted.item(), rel=1e-5)
    packed = gradients(model, total / count)
    apart = gradients(model, alone(model, rows)[0] / learned)
    assert len(packed) == len(apart) > 0
    for ours, theirs in zip(packed, apart, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-4)


def test_without_positions_that_start_again_the_loss_is_another() -> None:
    model, rows = tiny("llama"), examples()
    batch = PackedCollator(0, 200, model)(rows)
    assert batch["input_ids"].shape[0] < len(rows)
    batch["position_ids"] = torch.arange(batch["input_ids"].shape[1])[None]
    wanted = alone(model, rows)[0].item()
    assert abs(loss_of(model, batch)[0].item() - wanted) > 5e-3 * wanted  # else within 1e-5


def test_what_the_neighbour_says_changes_nothing() -> None:
    model, rows = tiny("qwen2"), examples()
    collate = PackedCollator(0, 200, model)
    changed = [dict(row) for row in rows]
    for number in (0, 2, 4):  # they still are learned, but as other text
        changed[number]["input_ids"] = [5 + (i * 7) % 90 for i in range(LENGTHS[number])]
        changed[number]["labels"] = [MASKED] * LENGTHS[number]
        rows[number]["labels"] = [MASKED] * LENGTHS[number]
    before, after = (loss_of(model, collate(each))[0] for each in (rows, changed))
    assert before.item() == pytest.approx(after.item(), rel=1e-6)


def test_rows_keep_their_numbers_in_their_new_order() -> None:
    batch = PackedCollator(0, 30, tiny("llama"))(examples())
    lengths = [LENGTHS[n] for n in batch[ROW].tolist()]
    starts = [
        int(place)
        for sequence in batch["position_ids"]
        for place in (sequence == 0).nonzero().flatten()
    ]
    assert starts[0] == 0
    ids = iter(batch["input_ids"].flatten().tolist())
    first = [examples()[n]["input_ids"][0] for n in batch[ROW].tolist()]
    assert all(any(token == wanted for token in ids) for wanted in first)  # in this order
    assert sorted(lengths) == sorted(LENGTHS)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral", "gemma3", "gpt2"])
def test_models_that_keep_rows_apart_are_measured_so(kind: str) -> None:
    rows = [row["input_ids"] for row in examples()]
    assert check_packing("student", tiny(kind), rows) < 1e-4
    assert check_packing("student", tiny(kind), [[5]]) < 1e-4


@pytest.mark.parametrize("kind", ["mamba", "lfm2"])
def test_a_state_that_runs_on_is_measured_and_refused(kind: str, tmp_path: Path) -> None:
    model = tiny(kind)
    with pytest.raises(InvalidInput, match="does not keep packed rows apart") as refused:
        check_packing("student", model, [row["input_ids"] for row in examples()])
    assert "Turn packing off" in refused.value.hint
    model.config.save_pretrained(tmp_path)
    assert running_state(tmp_path)


def test_a_model_that_does_not_pass_positions_on_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny("llama")
    original = model.forward
    monkeypatch.setattr(model, "forward", lambda position_ids, **kwargs: original(**kwargs))
    with pytest.raises(InvalidInput, match="nats on average"):
        check_packing("student", model, [row["input_ids"] for row in examples()])


def uneven(tmp_path: Path, model: Path) -> dict[str, Any]:
    """A snapshot of rows of unlike lengths."""
    rows = [
        {
            "id": f"u{n}",
            "prompt": [user(f"say {WORDS[n % 11]}" + " sun" * (n * 5 % 7))],
            "completion": [assistant(" ".join(WORDS[: 1 + n * 3 % 8]))],
        }
        for n in range(20)
    ]
    data = write_snapshot(tmp_path / "uneven", rows[:-4], rows[-4:])
    return {"data": {"folder": str(data), "name": "uneven", "format": "prompt_completion"}}


def trained(make_run: MakeRun, folder: str, method: str, **fields: Any) -> list[Any]:
    """Events of a training in this process."""
    path = make_run(method, folder, **fields)
    worker.main([str(path / "run.json")])
    return read_events(path / EVENTS_FILE)[0]


@pytest.mark.usefixtures("keep_signals")
@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("sft", {"lora": None, "learning_rate": 1e-3}),
        ("logit", {"signal": "online", "features": {"weight": 1.0}}),
        ("logit", {"signal": "cache", "top_k": 8}),
    ],
)
def test_a_packed_training_is_the_padded_one(
    make_run: MakeRun, tmp_path: Path, tiny_model: Path, method: str, fields: dict[str, Any]
) -> None:
    fields = {**uneven(tmp_path, tiny_model), **fields, "grad_accumulation": 2, "batch_size": 4}
    if method == "logit":
        other = build_tiny_model(tmp_path / "teacher", layers=4)
        fields["teacher"] = TeacherConfig(folder=str(other), id="other")
    padded = trained(make_run, "padded", method, **fields)
    packed = trained(make_run, "packed", method, packing=True, **fields)
    assert (padded[-1].kind, packed[-1].kind) == ("done", "done"), packed[-1]
    for kind, names in (("step", ("loss", "kl", "ce", "grad_norm")), ("eval", ("loss", "tokens"))):
        ours, theirs = ([e for e in events if e.kind == kind] for events in (packed, padded))
        assert len(ours) == len(theirs) > 2
        for one, other_event in zip(ours, theirs, strict=True):
            for name in names:
                wanted = getattr(other_event, name, None)
                found = getattr(one, name, None)
                assert found == (None if wanted is None else pytest.approx(wanted, rel=2e-4)), name
    read = [
        sum(e.tokens_per_s * e.seconds for e in r if e.kind == "step") for r in (packed, padded)
    ]
    assert read[0] == pytest.approx(read[1], rel=1e-6)
    said = [e.message for e in packed if e.kind == "note" and "Packing" in e.message]
    assert len(said) == 1


@pytest.mark.usefixtures("keep_signals")
def test_a_run_whose_student_mixes_rows_ends_before_its_first_update(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.masking_utils.find_packed_sequence_indices", lambda _: None)
    events = trained(make_run, "run", "sft", packing=True)
    assert events[-1].kind == "failed"
    assert "does not keep packed rows apart" in events[-1].message
    assert "Turn packing off" in events[-1].hint
    assert not [e for e in events if e.kind == "step"]


def test_pre_flight_tells_what_is_saved_and_refuses_what_it_can_know(
    make_config: MakeConfig, tiny_model: Path, tmp_path: Path
) -> None:
    found = check(make_config(packing=True)).findings
    assert [f.code for f in found] == ["packing", "estimate"]
    assert "%" in found[0].message
    assert [f.code for f in check(make_config()).findings] == ["estimate"]
    folder = tmp_path / "hybrid"
    folder.mkdir()
    for file in os.listdir(tiny_model):
        (folder / file).write_bytes((tiny_model / file).read_bytes())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["layer_types"] = ["linear_attention", "full_attention", "full_attention"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    student = {"base_folder": str(folder), "base_id": "hybrid"}
    report = check(make_config(packing=True, student=student))
    assert [f.code for f in report.findings if f.level == "error"] == ["packing"]
    assert "linear_attention" in report.findings[0].message
    assert check(make_config(student=student)).is_ok
    taught = make_config("logit", packing=True, teacher={"folder": str(folder), "id": "hybrid"})
    assert "The teacher cannot" in next(
        f.message for f in check(taught).findings if f.code == "packing"
    )
