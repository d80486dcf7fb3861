"""Several teachers: the mixture against a dense reference, online and stored; who is set aside."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import RunConfig, parse_config
from distill_studio.distill.data import encode_sft, iter_rows
from distill_studio.distill.preflight import check
from distill_studio.distill.spec import parse_teachers
from tests.distill.run_worker import kinds, run_well
from tests.tiny_model import build_tiny_model

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Two sets of other weights behind the tiny model's tokenizer, one of them padded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    made = []
    for number, weight in enumerate((3.0, 1.0)):
        folder = build_tiny_model(tmp_path_factory.mktemp("teacher") / "model", layers=2 + number)
        torch.manual_seed(10 + number)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        if number:
            model.resize_token_embeddings(model.config.vocab_size + 9, mean_resizing=False)
        model.save_pretrained(folder)
        made.append({"folder": str(folder), "id": f"teacher-{number}", "weight": weight})
    return made


@pytest.fixture
def unlike_teacher(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    """A teacher whose tokenizer numbers two tokens the other way round."""
    folder = tmp_path / "unlike"
    shutil.copytree(tiny_model, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    first, second = list(vocab)[40:42]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return {"folder": str(folder), "id": "foreign", "weight": 5.0}


def held_out_kl(
    folder: Path, student: Path, teachers: list[dict[str, Any]], temperature: float
) -> float:
    """T^2 KL(mixture^T || student^T) per held-out token in float64, from whole logits."""
    import torch
    from transformers import AutoModelForCausalLM

    config = parse_config((folder / "run.json").read_bytes())
    load = AutoModelForCausalLM.from_pretrained
    ours = load(student, dtype=torch.float32)
    theirs = [load(teacher["folder"], dtype=torch.float32) for teacher in teachers]
    total_weight = sum(teacher["weight"] for teacher in teachers)
    chat = ChatTokenizer.load(student)
    width = len(chat.vocabulary())
    kl = count = 0.0
    for row in iter_rows(Path(config.data.folder), "validation"):
        encoded = encode_sft(chat, row)
        ids = torch.tensor([encoded.input_ids])
        with torch.no_grad():
            z = ours(input_ids=ids).logits[0, :, :width].double()
            mixed = sum(
                teacher["weight"]
                / total_weight
                * model(input_ids=ids).logits[0, :, :width].double().softmax(-1)
                for teacher, model in zip(teachers, theirs, strict=True)
            )
        log_p = (mixed.log() / temperature).log_softmax(-1)
        log_q = (z / temperature).log_softmax(-1)
        for t, label in enumerate(encoded.labels[1:]):
            if label != -100:
                kl += temperature**2 * float((log_p[t].exp() * (log_p[t] - log_q[t])).sum())
                count += 1
    return kl / count


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("signal", ["online", "cache"])
def test_the_student_follows_the_mixture(
    make_run: MakeRun,
    tiny_model: Path,
    teachers: list[dict[str, Any]],
    signal: str,
    temperature: float,
) -> None:
    folder = make_run(
        "logit",
        teacher=teachers[0],
        more_teachers=teachers[1:],
        signal=signal,
        top_k=65535,
        temperature=temperature,
        max_steps=6,
        eval_every=6,
        samples=0,
    )
    evals = kinds(run_well(folder), "eval")
    rel = 1e-3 if signal == "online" else 5e-3  # what is stored is rounded to fp16
    expected = held_out_kl(folder, tiny_model, teachers, temperature)
    assert evals[0].kl == pytest.approx(expected, rel=rel)
    assert evals[-1].kl < evals[0].kl


def test_one_teacher_twice_is_that_teacher(
    make_run: MakeRun, teachers: list[dict[str, Any]]
) -> None:
    alone = run_well(make_run("logit", "alone", teacher=teachers[0], max_steps=3, samples=0))
    twice = make_run(
        "logit",
        "twice",
        teacher=teachers[0],
        more_teachers=[teachers[0] | {"weight": 7.0}],
        max_steps=3,
        samples=0,
    )
    losses = [[e.loss for e in kinds(events, "step")] for events in (alone, run_well(twice))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_another_mixture_gets_another_store(
    make_run: MakeRun, teachers: list[dict[str, Any]], tmp_path: Path
) -> None:
    common = {
        "signal": "cache",
        "top_k": 8,
        "cache_folder": str(tmp_path / "caches"),
        "max_steps": 1,
        "samples": 0,
    }
    for name, weight in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        more = [teachers[1] | {"weight": weight}]
        run_well(make_run("logit", name, teacher=teachers[0], more_teachers=more, **common))
    assert len(list((tmp_path / "caches").iterdir())) == 2


def test_an_on_policy_student_follows_a_mixture_too(
    make_run: MakeRun, teachers: list[dict[str, Any]]
) -> None:
    folder = make_run(
        "on_policy",
        teacher=teachers[0],
        more_teachers=teachers[1:],
        answer_tokens=8,
        max_steps=2,
        samples=0,
    )
    assert kinds(run_well(folder), "step")[0].kl > 0


def test_a_teacher_of_another_tokenizer_falls_back_to_its_answers(
    make_config: MakeConfig,
    make_run: MakeRun,
    teachers: list[dict[str, Any]],
    unlike_teacher: dict[str, Any],
) -> None:
    mixed = [teachers[1], unlike_teacher]
    findings = check(make_config("logit", teacher=teachers[0], more_teachers=mixed)).findings
    aside = next(f for f in findings if f.code == "sequence_level")
    assert aside.level == "warning"
    assert "foreign teaches by its answers" in aside.message
    assert "different tokenizers" in aside.message
    shares = next(f for f in findings if f.code == "ensemble")
    assert "teacher-0 75 %, teacher-1 25 %" in shares.message
    folder = make_run(
        "logit", teacher=unlike_teacher, more_teachers=teachers[:1], max_steps=2, samples=0
    )
    events = run_well(folder)
    assert any("foreign teaches" in n.message for n in kinds(events, "note"))
    alone = run_well(make_run("logit", "alone", teacher=teachers[0], max_steps=2, samples=0))
    assert kinds(events, "step")[0].kl == pytest.approx(kinds(alone, "step")[0].kl, rel=1e-5)
    refused = check(make_config("logit", teacher=unlike_teacher, more_teachers=[unlike_teacher]))
    assert [f.code for f in refused.findings if f.level == "error"] == ["teacher"]


def test_other_teachers_are_read_from_a_line() -> None:
    assert parse_teachers("") == []
    assert parse_teachers(" a , run:b*0.5;c * 2") == [("a", 1.0), ("run:b", 0.5), ("c", 2.0)]
    for text in ("*2", "a*x", "a*-1", "a*0", "a*nan"):
        with pytest.raises(InvalidInput, match="no teacher and weight"):
            parse_teachers(text)
