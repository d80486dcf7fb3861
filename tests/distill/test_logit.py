"""Logit distillation through the worker, on a tiny model; and its pairing of models."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import LogitRun, RunConfig, parse_config
from distill_studio.distill.data import encode_sft, iter_rows
from distill_studio.distill.pairing import check_pairing
from distill_studio.distill.preflight import check
from tests.distill.losses import reference
from tests.distill.run_worker import kinds, run_worker
from tests.tiny_model import build_tiny_model

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")


def pruned(tiny_model: Path) -> dict[str, Any]:
    return {"base_folder": str(tiny_model), "base_id": "tiny", "keep_layers": 2}


@pytest.fixture
def other_teacher(tiny_model: Path, tmp_path: Path) -> Path:
    """Five layers of other weights behind the same tokenizer, its vocabulary padded."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = build_tiny_model(tmp_path / "teacher", layers=5)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(model.config.vocab_size + 13, mean_resizing=False)
    with torch.no_grad():
        model.lm_head.weight[-13:] = 50.0  # padding that would drown everything
    model.save_pretrained(folder)
    return folder


def held_out(
    folder: Path,
    student: Path,
    teacher: Path,
    temperature: float,
    divergence: Callable[..., Any] = reference.forward_kl,
) -> dict[str, float]:
    """CE and T^2 times the divergence per held-out token, from whole logits, row by row."""
    import torch
    from transformers import AutoModelForCausalLM

    config = parse_config((folder / "run.json").read_bytes())
    models = [
        AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32) for p in (student, teacher)
    ]
    chat = ChatTokenizer.load(student)
    width = max(chat.vocabulary().values()) + 1
    ce = kl = count = 0.0
    for row in iter_rows(Path(config.data.folder), "validation"):
        encoded = encode_sft(chat, row)
        with torch.no_grad():
            z, y = (m(input_ids=torch.tensor([encoded.input_ids])).logits[0] for m in models)
        for t, label in enumerate(encoded.labels[1:]):
            if label == -100:
                continue
            ce -= float(z[t].log_softmax(-1)[label])
            kl += float(divergence(z[t : t + 1, :width], y[t : t + 1, :width], temperature))
            count += 1
    return {"ce": ce / count, "kl": kl / count}


@pytest.mark.parametrize("lora", [True, False])
def test_a_pruned_student_comes_back_to_its_teacher(
    make_run: MakeRun, tiny_model: Path, lora: bool
) -> None:
    options: dict[str, Any] = {} if lora else {"lora": None, "learning_rate": 3e-3}
    folder = make_run("logit", student=pruned(tiny_model), max_steps=12, eval_every=6, **options)
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
    evals, steps = kinds(events, "eval"), kinds(events, "step")
    assert [e.step for e in evals] == [0, 6, 12]
    assert evals[-1].kl < 0.8 * evals[0].kl
    for e in [*evals, *steps]:
        assert e.loss == pytest.approx(0.1 * e.ce + 0.9 * e.kl, rel=2e-3)
    expected = held_out(folder, folder / "student", tiny_model, 1.0)
    assert evals[0].ce == pytest.approx(expected["ce"], rel=1e-3)
    assert evals[0].kl == pytest.approx(expected["kl"], rel=1e-3)
    after = held_out(folder, folder / "model", tiny_model, 1.0)
    assert evals[-1].kl == pytest.approx(after["kl"], rel=0.02)
    assert events[-1].metrics["kl_after"] == evals[-1].kl
    assert steps[0].tokens_per_s > 0


def test_another_teacher_at_a_temperature_over_a_padded_vocabulary(
    make_run: MakeRun, tiny_model: Path, other_teacher: Path
) -> None:
    teacher = {"folder": str(other_teacher), "id": "other"}
    folder = make_run("logit", teacher=teacher, temperature=2.0, max_steps=2)
    events = run_worker(folder)
    first = kinds(events, "eval")[0]
    expected = held_out(folder, tiny_model, other_teacher, 2.0)
    assert first.kl == pytest.approx(expected["kl"], rel=1e-3)
    assert first.ce == pytest.approx(expected["ce"], rel=1e-3)


@pytest.mark.parametrize("divergence", ["reverse_kl", "jsd", "skewed_kl", "skewed_reverse_kl"])
def test_every_divergence_trains(make_run: MakeRun, tiny_model: Path, divergence: str) -> None:
    folder = make_run(
        "logit",
        student=pruned(tiny_model),
        divergence=divergence,
        alpha=0.0,
        max_steps=4,
        samples=0,
    )
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
    evals = kinds(events, "eval")
    assert evals[-1].kl < evals[0].kl


def test_the_mixture_is_the_one_that_was_chosen(
    make_run: MakeRun, tiny_model: Path, other_teacher: Path
) -> None:
    teacher = {"folder": str(other_teacher), "id": "other"}
    chosen = {"divergence": "jsd", "mixture": 0.2, "temperature": 2.0}
    folder = make_run("logit", teacher=teacher, max_steps=1, samples=0, **chosen)
    first = kinds(run_worker(folder), "eval")[0]
    jsd = functools.partial(reference.jsd, beta=0.2)
    expected = held_out(folder, tiny_model, other_teacher, 2.0, jsd)
    assert first.kl == pytest.approx(expected["kl"], rel=1e-3)


def test_a_student_with_a_padded_vocabulary_is_compared_over_the_ids_in_use(
    make_run: MakeRun, tiny_model: Path, other_teacher: Path
) -> None:
    student = {"base_folder": str(other_teacher), "base_id": "padded"}
    folder = make_run("logit", student=student, max_steps=1, samples=0)
    first = kinds(run_worker(folder), "eval")[0]
    expected = held_out(folder, other_teacher, tiny_model, 1.0)
    assert first.kl == pytest.approx(expected["kl"], rel=1e-3)
    assert first.ce == pytest.approx(expected["ce"], rel=1e-3)  # padding drowns this one


def losses(events: list[Any]) -> list[float]:
    return [e.loss for e in kinds(events, "step")]


def test_accumulated_passes_make_the_updates_of_a_big_batch(
    make_run: MakeRun, tiny_model: Path
) -> None:
    student = pruned(tiny_model)
    big = run_worker(make_run("logit", "big", student=student, batch_size=8, samples=0))
    small = run_worker(
        make_run("logit", "small", student=student, batch_size=2, grad_accumulation=4, samples=0)
    )
    assert losses(small) == pytest.approx(losses(big), rel=1e-3)
    parts = [[(e.ce, e.kl) for e in kinds(events, "step")] for events in (big, small)]
    assert [x for pair in parts[1] for x in pair] == pytest.approx(
        [x for pair in parts[0] for x in pair], rel=1e-3
    )


def test_all_ids_in_a_cache_train_as_online(make_run: MakeRun, tiny_model: Path) -> None:
    """Shuffled rows in accumulated passes: each meets its own stored row."""
    common = {"student": pruned(tiny_model), "grad_accumulation": 2, "batch_size": 3, "samples": 0}
    online = run_worker(make_run("logit", "online", **common))
    whole = run_worker(make_run("logit", "whole", signal="cache", top_k=65535, **common))
    assert whole[-1].kind == "done", whole[-1]
    assert losses(whole) == pytest.approx(losses(online), rel=5e-3)
    held = [[(e.ce, e.kl) for e in kinds(events, "eval")] for events in (online, whole)]
    assert held[1][-1] == pytest.approx(held[0][-1], rel=1e-2)
    notes = " ".join(n.message for n in kinds(whole, "note"))
    assert "cover 100.0 %" in notes


@pytest.mark.parametrize("kept", ["top_k", "draws"])
def test_a_small_cache_teaches_and_is_used_again(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path, kept: str
) -> None:
    common = {
        "student": pruned(tiny_model),
        "signal": "cache",
        "kept": kept,
        "top_k": 16,
        "cache_folder": str(tmp_path / "caches"),
        "max_steps": 8,
        "samples": 0,
    }
    events = run_worker(make_run("logit", "one", **common))
    assert events[-1].kind == "done", events[-1]
    evals = kinds(events, "eval")
    assert evals[-1].kl < evals[0].kl
    stored = {p: p.stat().st_mtime_ns for p in (tmp_path / "caches").rglob("*.parquet")}
    assert len(stored) == 1
    again = run_worker(make_run("logit", "two", **common | {"learning_rate": 0.001}))
    assert again[-1].kind == "done"
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "caches").rglob("*.parquet")} == stored
    if kept == "top_k":
        other = run_worker(make_run("logit", "three", **common | {"temperature": 2.0}))
        assert other[-1].kind == "done"
        assert len(list((tmp_path / "caches").rglob("*.parquet"))) == 2


# -- pairing ------------------------------------------------------------------------------


def codes(config: RunConfig, level: str = "") -> list[str]:
    return [f.code for f in check(config).findings if not level or f.level == level]


def test_preflight_of_a_good_pair(
    make_config: MakeConfig, tiny_model: Path, other_teacher: Path
) -> None:
    assert codes(make_config("logit", student=pruned(tiny_model))) == ["pruned", "estimate"]
    teacher = {"folder": str(other_teacher), "id": "other"}
    config = make_config("logit", teacher=teacher)
    assert codes(config) == ["padded", "estimate"]
    assert isinstance(config, LogitRun)
    assert check_pairing(config).width == len(ChatTokenizer.load(tiny_model).vocabulary())
    stored = make_config("logit", teacher=teacher, signal="cache", top_k=10)
    assert "MiB" in next(f.message for f in check(stored).findings if f.code == "store")
    assert "own_teacher" in codes(make_config("logit"), "warning")


def test_unlike_tokenizers_are_refused_with_a_way_out(
    make_config: MakeConfig, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "unlike"
    shutil.copytree(tiny_model, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    first, second = list(vocab)[40:42]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    report = check(make_config("logit", teacher={"folder": str(folder), "id": "x"}))
    error = next(f for f in report.findings if f.level == "error")
    assert "different tokenizers" in error.message
    assert "SFT" in error.hint
    vocab[first], vocab[second] = vocab[second], vocab[first]
    content["pre_tokenizer"]["add_prefix_space"] = True
    (folder / "tokenizer.json").write_text(json.dumps(content))
    config = make_config("logit", teacher={"folder": str(folder), "id": "x"})
    assert isinstance(config, LogitRun)
    with pytest.raises(InvalidInput, match="cut text"):
        check_pairing(config)


def test_a_cache_gives_forward_kl_only(make_config: MakeConfig) -> None:
    report = check(make_config("logit", signal="cache", divergence="jsd"))
    assert any("only forward KL" in f.message for f in report.findings if f.level == "error")


def test_a_teacher_that_is_gone_is_named(make_config: MakeConfig, tmp_path: Path) -> None:
    report = check(make_config("logit", teacher={"folder": str(tmp_path / "gone"), "id": "x"}))
    assert [f.code for f in report.findings if f.level == "error"] == ["teacher"]
