"""Logit distillation from a teacher with another tokenizer, through the worker."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill import worker
from distill_studio.distill.alignment import Aligner
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import FeatureConfig, LogitRun, RunConfig, parse_config
from distill_studio.distill.data import MASKED, encode_sft, iter_rows
from distill_studio.distill.events import EVENTS_FILE, EventWriter, read_events
from distill_studio.distill.pairing import check_pairing
from distill_studio.distill.preflight import check
from distill_studio.distill.shared_vocabulary import shared_ids
from distill_studio.distill.trainers import setup
from distill_studio.distill.trainers.across import ACROSS, AcrossCollator
from tests.distill.losses import reference
from tests.distill.run_worker import kinds, run_well
from tests.tiny_model import build_tiny_model, other_tokenizer

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of other weights behind another tokenizer."""
    folder = tmp_path_factory.mktemp("other") / "model"
    return build_tiny_model(folder, layers=2, fast=other_tokenizer())


@pytest.fixture
def taught(make_run: MakeRun, other: Path) -> Path:
    """The same after some lessons: an untrained one finds no way on within a word likely."""
    student = {"base_folder": str(other), "base_id": "other"}
    fields = {"student": student, "lora": None, "learning_rate": 1e-2, "samples": 0}
    folder = make_run("sft", "lessons", max_steps=30, eval_every=30, save_every=100, **fields)
    run_well(folder)
    return folder / "model"


def following(folder: Path, kind: str = "uld", **fields: Any) -> dict[str, Any]:
    teacher = {"folder": str(folder), "id": "other"}
    return {"teacher": teacher, "across_tokenizers": kind, "samples": 0, **fields}


def held_out(folder: Path, student: Path, teacher: Path) -> float:
    """The distance per held-out token from whole logits, row by row, span by span."""
    import torch
    from transformers import AutoModelForCausalLM

    config = parse_config((folder / "run.json").read_bytes())
    z_of, y_of = (
        AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32) for p in (student, teacher)
    )
    ours, theirs = ChatTokenizer.load(student), ChatTokenizer.load(teacher)
    aligner = Aligner(ours, theirs, max_length=config.max_length)
    shared = shared_ids(ours, theirs)
    total = count = 0.0
    for row in iter_rows(Path(config.data.folder), "validation"):
        encoded, found = encode_sft(ours, row), aligner(row)
        where = [t for t, label in enumerate(encoded.labels[1:]) if label != MASKED]
        mine, other = torch.tensor(encoded.input_ids), torch.tensor(found.teacher_ids)
        with torch.no_grad():
            z, y = z_of(mine[None]).logits[0][where], y_of(other[None]).logits[0]
        for a, n, b, m in found.spans:
            q = reference.merged(z, mine[1:][where], a, a + n)
            p = reference.merged(y, other[1:], b - 1, b - 1 + m)
            is_uld = config.model_dump()["across_tokenizers"] == "uld"
            total += float(reference.uld(q, p) if is_uld else reference.hybrid(q, p, shared))
        count += len(where)
    return total / count


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uld", "hybrid"])
def test_a_student_comes_nearer_to_a_teacher_of_other_tokens_and_resumes(
    make_run: MakeRun, tiny_model: Path, taught: Path, kind: str
) -> None:
    fields = following(taught, kind, alpha=0.1, beta=0.9, lora=None, learning_rate=1e-2)
    fields |= {"eval_every": 12, "save_every": 100}
    whole = run_well(make_run("logit", "whole", max_steps=12, packing=True, **fields))
    before, after = (e.kl for e in kinds(whole, "eval"))
    folder = make_run("logit", "halves", max_steps=12, **fields)
    assert before == pytest.approx(held_out(folder, tiny_model, taught), rel=1e-3)
    assert after < 0.8 * before
    for e in kinds(whole, "step"):
        assert e.loss == pytest.approx(0.1 * e.ce + 0.9 * e.kl, rel=2e-3)
    trained = folder.parent / "whole" / "model"
    assert after == pytest.approx(held_out(folder, trained, taught), rel=0.02)

    stop_after(folder, 6)
    steps = kinds(run_well(folder), "step")
    assert [e.step for e in steps] == list(range(1, 13))
    losses = [e.loss for e in kinds(whole, "step")]
    assert [e.loss for e in steps] == pytest.approx(losses, rel=2e-3)


def stop_after(folder: Path, step: int) -> None:
    """Run up to an update, as stopped by hand."""
    stop = threading.Event()
    original = EventWriter.write

    def write(self: EventWriter, event: Any) -> None:
        original(self, event)
        if event.kind == "step" and event.step == step - 1:  # the one under way is finished
            stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventWriter, "write", write)
        writer = EventWriter(folder / EVENTS_FILE)
        worker.train(parse_config((folder / "run.json").read_bytes()), folder, writer, stop)
        writer.close()
    assert kinds(read_events(folder / EVENTS_FILE)[0], "stopped")[-1].step == step


@pytest.mark.slow
def test_with_one_tokenizer_the_hybrid_trains_as_the_plain_loss(
    make_run: MakeRun, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = {"base_folder": str(tiny_model), "base_id": "tiny", "keep_layers": 2}
    fields = {"student": student, "samples": 0, "max_steps": 3, "grad_accumulation": 2}
    plain = run_well(make_run("logit", "plain", **fields))
    monkeypatch.setattr(setup, "MAPPED_FROM", 1)  # and rows are read as those of a large snapshot
    hybrid = run_well(make_run("logit", "hybrid", across_tokenizers="hybrid", **fields))
    for kind in ("step", "eval"):
        figures = [[(e.ce, e.kl) for e in kinds(events, kind)] for events in (plain, hybrid)]
        for one, two in zip(*figures, strict=True):
            assert two == pytest.approx(one, rel=1e-3)


def findings(config: RunConfig) -> dict[str, Any]:
    return {f.code: f for f in check(config).findings}


def test_preflight_says_what_is_aligned_and_what_is_shared(
    make_config: MakeConfig, tiny_model: Path, other: Path
) -> None:
    config = make_config("logit", **following(other, "hybrid"))
    found = findings(config)
    assert not any(f.level == "error" for f in found.values())
    assert "100.0% of the answers' tokens are aligned" in found["aligned"].message
    ours, theirs = ChatTokenizer.load(tiny_model), ChatTokenizer.load(other)
    share = len(shared_ids(ours, theirs)) / len(ours.vocabulary())
    assert 0.2 < share < 1
    assert f"the teacher has {share:.1%}" in found["aligned"].message
    alone = check(make_config("sft")).estimate
    both = check(config).estimate
    assert alone
    assert both
    assert both.memory_gib > alone.memory_gib  # the second model is counted
    assert "one_tokenizer" not in found
    same = findings(make_config("logit", across_tokenizers="uld"))
    assert same["one_tokenizer"].level == "warning"
    assert "aligned" not in findings(make_config("logit"))


def test_a_teacher_of_other_tokens_is_refused_by_default_with_this_way_out(
    make_config: MakeConfig, other: Path
) -> None:
    error = findings(make_config("logit", **following(other, "answers")))["teacher"]
    assert "Across tokenizers" in error.hint
    own = make_config("on_policy", teacher={"folder": str(other), "id": "other"})
    assert "Across tokenizers" not in findings(own)["teacher"].hint


def test_a_teacher_that_writes_other_answers_is_refused(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    fast = other_tokenizer()
    fast.chat_template = fast.chat_template.replace("message['content'] | trim", "'no' ~ loop.last")
    folder = build_tiny_model(tmp_path / "mute", layers=1, fast=fast)
    error = findings(make_config("logit", **following(folder)))["unaligned"]
    assert error.level == "error"
    assert "Only 0% of the answers' tokens" in error.message


def test_rows_that_the_teacher_refuses_are_counted(make_config: MakeConfig, tmp_path: Path) -> None:
    fast = other_tokenizer()
    refuse = (
        "{% if messages[0]['content'] == 'say red' %}{{ raise_exception('no red') }}{% endif %}"
    )
    fast.chat_template = refuse + fast.chat_template
    folder = build_tiny_model(tmp_path / "choosy", layers=1, fast=fast)
    aligned = findings(make_config("logit", **following(folder)))["aligned"]
    assert "refuses 2 of the rows" in aligned.message
    assert "refuses a conversation: no" in aligned.message
    assert "100.0%" not in aligned.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": 2.0}, "temperature 1"),
        ({"divergence": "jsd"}, "loss of its own"),
        ({"signal": "cache"}, "at each update"),
        ({"features": FeatureConfig()}, "hidden states"),
        ({"more_teachers": ({"folder": "/m/t", "id": "third"},)}, "one teacher"),
    ],
)
def test_what_has_no_meaning_across_tokenizers_is_refused(
    make_config: MakeConfig, other: Path, fields: dict[str, Any], said: str
) -> None:
    config = make_config("logit", **following(other), **fields)
    assert isinstance(config, LogitRun)
    with pytest.raises(InvalidInput, match=said):
        check_pairing(config)


def test_a_teacher_without_a_template_is_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    fast = other_tokenizer()
    fast.chat_template = None
    folder = build_tiny_model(tmp_path / "base", layers=1, fast=fast)
    assert (
        "no chat template" in findings(make_config("logit", **following(folder)))["teacher"].message
    )


def test_a_batch_whose_rows_cannot_be_learned_asks_nobody() -> None:
    """Rows of a large snapshot are read before it is known that nothing of them is learned."""
    import torch

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        return {"row": torch.tensor([example["row"] for example in examples])}

    found = AcrossCollator(collate)([{"row": 3, "input_ids": [0], "labels": [MASKED]}])[ACROSS]
    assert found["spans"].shape == (0, 4)
    assert found["input_ids"].shape == (0, 0)
    assert len(found["targets"]) == 0
