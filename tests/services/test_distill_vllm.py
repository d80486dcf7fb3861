"""A real vLLM server tells a teacher's top-k: that of the forward pass, and training is alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import TeacherContextTooLong
from distill_studio.core.records import (
    Decision,
    DecisionKind,
    Message,
    Pair,
    RunState,
    Seed,
)
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.data import Encoded, encode_sft
from distill_studio.distill.signals.base import SignalKey
from distill_studio.distill.spec import TrainSpec
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions, pairs, seeds
from distill_studio.teachers.models import resolve_model
from distill_studio.teachers.prompt_logprobs import PromptScorer, TooManyLogprobs
from distill_studio.teachers.vllm_server import MAX_LOGPROBS
from tests.vllm_server import MODEL, OWNER, served_workspace

CONTEXT = 384
QUESTIONS = (
    ("Why is the sky blue?", "Air scatters blue light more than red, so the sky looks blue."),
    ("Name three primes.", "Two, three and five."),
    (
        "Write a haiku on rain.",
        "Soft rain on the roof\nthe garden drinks in silence\na frog clears its throat",
    ),
    ("Was ist 2 + 2?", "2 + 2 = 4. 🦊 naïve café 東京"),
    ("def f(x):", "```python\ndef f(x):\n    return x ** 2\n```"),
    ("Count to sixty.", " ".join(str(i) for i in range(1, 61))),
)
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, starter_cache: Path) -> Iterator[Workspace]:
    """With a server that reads a long row in several chunks and caches prefixes."""
    more = ("--max-num-batched-tokens", "64", "--max-num-seqs", "4")
    with served_workspace(
        tmp_path_factory.mktemp("vllm") / "home", starter_cache,
        max_length=CONTEXT, dtype="float32", concurrency=4, extra=more,
    ) as workspace:  # fmt: skip
        yield workspace


@pytest.fixture(scope="module")
def folder(starter_cache: Path) -> Path:
    return resolve_model(MODEL, starter_cache)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Encoded]:
    chat = ChatTokenizer.load(folder)
    return [
        encode_sft(
            chat,
            {
                "prompt": [{"role": "user", "content": asked}],
                "completion": [{"role": "assistant", "content": answer}],
            },
        )
        for asked, answer in QUESTIONS
    ]


def scorer(workspace: Workspace) -> PromptScorer:
    return PromptScorer(workspace.teachers.config("real"))


def test_the_top_k_is_that_of_the_forward_pass(
    workspace: Workspace, folder: Path, rows: list[Encoded], tmp_path: Path
) -> None:
    """Both in fp32: they agree to rounding, across borders of chunks and with cached prefixes."""
    import torch
    from transformers import AutoModelForCausalLM

    from distill_studio.distill.losses.sparse_kl import TopK
    from distill_studio.distill.signals.cached import CachedTeacher
    from distill_studio.distill.signals.capture import capture
    from distill_studio.distill.signals.online import OnlineTeacher
    from distill_studio.distill.signals.served import ask_again, capture_served

    assert max(len(row.input_ids) for row in rows) > 128, "a row takes several chunks"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    width = model.config.vocab_size
    common: dict[str, Any] = {"teacher": "t", "tokenizer": "k", "template": "m", "tokens": "r"}
    key = SignalKey(**common, width=width, k=64, dtype="fp32", source="vllm")
    capture_served(scorer(workspace), rows, tmp_path / "vllm", key)
    forward = key.model_copy(update={"source": "forward"})
    teacher = OnlineTeacher(model, width)
    capture(teacher, rows, tmp_path / "forward", forward)
    served = CachedTeacher.open(tmp_path / "vllm", key, len(rows))
    stored = CachedTeacher.open(tmp_path / "forward", forward, len(rows))
    a, b = served.read(range(len(rows)), 1.0), stored.read(range(len(rows)), 1.0)
    assert isinstance(a, TopK)
    assert isinstance(b, TopK)
    assert len(a.ids_NK) == sum(row.learned for row in rows)
    assert bool((a.ids_NK[:, 0] == b.ids_NK[:, 0]).float().mean() > 0.99)
    shared = (a.ids_NK.unsqueeze(2) == b.ids_NK.unsqueeze(1)).any(2).float().mean()
    assert float(shared) > 0.99
    gap = (a.log_probs_NK - b.log_probs_NK).abs()
    assert float(gap.max()) < 0.01
    assert torch.allclose(a.log_tail_N.exp(), b.log_tail_N.exp(), atol=1e-3)
    assert served.covered() == pytest.approx(stored.covered(), abs=1e-4)
    assert served.verify(teacher, rows, sample=len(rows)) < 0.01
    worst, unlike = ask_again(scorer(workspace), served, rows, len(rows), 0)
    assert unlike is None
    assert worst < 0.01


def test_what_it_refuses(workspace: Workspace, rows: list[Encoded], tmp_path: Path) -> None:
    """More than it was started for, and a row that leaves no room for one token more."""
    from distill_studio.distill.signals.served import capture_served

    common: dict[str, Any] = {"teacher": "t", "tokenizer": "k", "template": "m", "tokens": "r"}
    many = SignalKey(**common, width=49152, k=MAX_LOGPROBS + 1)
    with pytest.raises(TooManyLogprobs, match=f"{MAX_LOGPROBS} log-prob.*--max-logprobs"):
        capture_served(scorer(workspace), rows, tmp_path / "many", many)
    few = SignalKey(**common, width=49152, k=4)
    ids = (rows[0].input_ids * 40)[: CONTEXT + 1]
    for length in (CONTEXT + 1, CONTEXT):
        row = Encoded(ids[:length], ids[:length])
        with pytest.raises(TeacherContextTooLong, match=f"{length} tokens and one more"):
            capture_served(scorer(workspace), [row], tmp_path / "long", few)
    fits = ids[: CONTEXT - 1]
    capture_served(scorer(workspace), [Encoded(fits, fits)], tmp_path / "fits", few)


def freeze(workspace: Workspace) -> str:
    made = []
    for number, (asked, answer) in enumerate(QUESTIONS):
        messages = (Message(role="user", content=asked),)
        seed = Seed(messages=messages)
        seed_id = seeds.insert(workspace.db, [seed])[seed.id]
        made.append(Pair(seed_id=seed_id, messages=messages, job_id=f"j{number}", answer=answer))
    pairs.insert(workspace.db, made)
    accepted = [Decision(id=f"d-{p.id}", pair_id=p.id, kind=DecisionKind.ACCEPT) for p in made]
    decisions.record(workspace.db, OWNER.user, accepted)
    workspace.freeze.create(OWNER, "snap", "prompt_completion", validation_share=0.2)
    return "snap"


def test_training_from_it_is_training_from_the_forward_pass(workspace: Workspace) -> None:
    """The same losses from either store, by the app from pre-flight to the last update."""
    common = {
        "snapshot": freeze(workspace),
        "method": "logit",
        "student": MODEL,
        "keep_layers": 4,
        "max_steps": 2,
        "batch_size": 2,
        "max_length": 96,
        "eval_every": 2,
        "dtype": "fp32",
        "signal": "cache",
    }
    served = TrainSpec(**common, name="served", teacher="server:real")
    found = workspace.distill.preflight(OWNER, served)
    assert not [f for f in found if f.level == "error"], found
    assert any("tells the top 64" in f.message for f in found)
    specs = (served, TrainSpec(**common, name="forward", teacher=MODEL))
    evals, notes = [], []
    for spec in specs:
        run = workspace.distill.start(OWNER, spec)
        workspace.jobs.wait(OWNER, run.job_id, timeout_s=900)
        run = workspace.distill.get(OWNER, spec.name)
        assert run.state is RunState.DONE, (run, workspace.distill.log(OWNER, spec.name))
        events = workspace.distill.events(OWNER, spec.name)
        evals.append([(e["ce"], e["kl"]) for e in events if e["kind"] in ("eval", "step")])
        notes.append(" ".join(e["message"] for e in events if e["kind"] == "note"))
    assert len(evals[0]) == len(evals[1]) == 4
    for one, other in zip(*evals, strict=True):
        assert one == pytest.approx(other, rel=2e-3)
    assert "told by server:real: the top 64 cover" in notes[0]
    assert "Asked again about" in notes[0]
    assert "The same model in this process differs from its server by 0.0" in notes[0]
    caches = list((workspace.folder / "teacher-cache").iterdir())
    assert len(caches) == 2, "kept apart"
