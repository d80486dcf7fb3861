"""On-policy distillation through the worker, on a tiny model; warm start; its pre-flight."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import RunConfig
from distill_studio.distill.data import encode_prompt
from distill_studio.distill.preflight import check
from distill_studio.distill.presets import build_config
from distill_studio.distill.spec import TrainSpec
from distill_studio.distill.token_view import token_view
from tests.distill.run_worker import kinds, run_well
from tests.tiny_model import assistant, build_tiny_model, completions, user, write_snapshot

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")
SHORT = {"answer_tokens": 12, "samples": 0, "learning_rate": 0.01}


def pruned(tiny_model: Path) -> dict[str, Any]:
    return {"base_folder": str(tiny_model), "base_id": "tiny", "keep_layers": 2}


@pytest.fixture(scope="module")
def padded_teacher(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Other weights behind the same tokenizer, its vocabulary padded: what TRL itself refuses."""
    from transformers import AutoModelForCausalLM

    folder = build_tiny_model(tmp_path_factory.mktemp("padded") / "teacher", layers=4)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(model.config.vocab_size + 13, mean_resizing=False)
    model.save_pretrained(folder)
    return {"folder": str(folder), "id": "padded"}


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("divergence", ["reverse_kl", "forward_kl"])
def test_a_student_learns_from_what_it_says_itself(
    make_run: MakeRun, tiny_model: Path, lora: bool, divergence: str
) -> None:
    options: dict[str, Any] = {} if lora else {"lora": None, "learning_rate": 3e-3}
    options = SHORT | {"student": pruned(tiny_model), "divergence": divergence} | options
    events = run_well(make_run("on_policy", max_steps=12, eval_every=6, **options))
    evals, steps = kinds(events, "eval"), kinds(events, "step")
    assert [e.step for e in evals] == [0, 6, 12]
    assert evals[-1].kl < 0.9 * evals[0].kl
    assert evals[-1].loss == evals[-1].kl
    assert all(e.loss == pytest.approx(e.kl, rel=1e-3) for e in steps)
    assert all(1 <= e.answer_tokens <= 12 for e in steps)
    assert all(0 < e.tokens <= 4 * 12 for e in evals)


def test_the_first_update_is_the_mean_over_all_answer_tokens_of_its_passes(
    make_run: MakeRun, tiny_model: Path, padded_teacher: dict[str, str]
) -> None:
    """Worked out again from whole logits over the answers that the trainer made."""
    import torch
    from transformers import AutoModelForCausalLM

    from distill_studio.distill.trainers import on_policy

    seen: list[dict[str, Any]] = []
    original = on_policy.whole_rows

    def record(inputs: dict[str, Any], pad_id: int) -> dict[str, Any]:
        seen.append(original(inputs, pad_id))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_policy, "whole_rows", record)
        folder = make_run(
            "on_policy",
            teacher=padded_teacher,
            temperature=2.0,
            max_steps=1,
            batch_size=2,
            grad_accumulation=2,
            **SHORT,
        )
        events = run_well(folder)
    held_out = 2  # batches of the four held-out rows, before and after
    passes = seen[held_out : held_out + 2]
    models = [
        AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32)
        for p in (tiny_model, padded_teacher["folder"])
    ]
    width = len(ChatTokenizer.load(tiny_model).vocabulary())
    total = count = 0.0
    for batch in passes:
        for ids, labels, mask in zip(
            batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True
        ):
            row = ids[mask.bool()][None]
            with torch.no_grad():
                q, p = (m(input_ids=row).logits[0, :, :width] / 2.0 for m in models)
            log_q, log_p = q.log_softmax(-1), p.log_softmax(-1)
            for t, label in enumerate(labels[1:].tolist()):
                if label != -100:
                    total += 4.0 * float((log_q[t].exp() * (log_q[t] - log_p[t])).sum())
                    count += 1
    assert kinds(events, "step")[0].loss == pytest.approx(total / count, rel=1e-3)


def test_left_padding_is_gone_from_the_rows() -> None:
    import torch

    from distill_studio.distill.trainers.on_policy import whole_rows

    batch = whole_rows(
        {
            "prompt_ids": torch.tensor([[0, 5, 6], [7, 8, 9]]),
            "prompt_mask": torch.tensor([[0, 1, 1], [1, 1, 1]]),
            "completion_ids": torch.tensor([[1, 2], [3, 0]]),
            "completion_mask": torch.tensor([[1, 1], [1, 0]]),
        },
        0,
    )
    assert batch["input_ids"].tolist() == [[5, 6, 1, 2], [7, 8, 9, 3]]
    assert batch["labels"].tolist() == [[-100, -100, 1, 2], [-100, -100, -100, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]


def test_it_goes_on_from_an_sft_run(make_run: MakeRun, tiny_model: Path) -> None:
    first = make_run("sft", "first", max_steps=4, samples=0)
    run_well(first)
    student = {"base_folder": str(first / "model"), "base_id": "run:first"}
    teacher = {"folder": str(tiny_model), "id": "tiny"}
    folder = make_run("on_policy", "second", student=student, teacher=teacher, max_steps=3, **SHORT)
    codes = [f.code for f in check(config_of(folder)).findings]
    assert "cold_start" not in codes
    run_well(folder)
    assert (folder / "model" / "model.safetensors").exists()


def config_of(folder: Path) -> RunConfig:
    from distill_studio.distill.config import load_config

    return load_config(folder / "run.json")


def test_preflight_and_token_view_know_that_only_prompts_are_read(
    make_config: MakeConfig, chat: ChatTokenizer, tiny_model: Path, tmp_path: Path
) -> None:
    config = make_config("on_policy", student=pruned(tiny_model), answer_tokens=12)
    report = check(config)
    assert [f.code for f in report.findings] == ["pruned", "cold_start", "estimate"]
    row = completions(1)[0]
    view = token_view(chat, config, row)[0]
    assert view.learned == 0
    assert [p.id for p in view.pieces] == encode_prompt(chat, row)
    rows = completions(6)
    rows[0]["prompt"] = [user("moon " * 80)]
    data = write_snapshot(tmp_path / "long", rows, rows[1:2])
    long = make_config(
        "on_policy",
        answer_tokens=12,
        data={"folder": str(data), "name": "long", "format": "prompt_completion"},
    )
    over = next(f for f in check(long).findings if f.code == "over_length")
    assert "1 of 6 rows" in over.message
    assert "left out" in over.message
    full = check(make_config("on_policy", answer_tokens=64, max_length=64))
    assert [f.code for f in full.findings if f.level == "error"] == ["all_over_length"]


@pytest.mark.parametrize("row_format", ["messages", "preference", "unpaired"])
def test_prompts_of_every_format_will_do(
    make_run: MakeRun, tmp_path: Path, row_format: str
) -> None:
    rows: list[dict[str, Any]] = []
    for i in range(8):
        prompt, answer = [user(f"say {i}")], [assistant("sun")]
        shapes: dict[str, dict[str, Any]] = {
            "messages": {"messages": prompt + answer},
            "preference": {"prompt": prompt, "chosen": answer, "rejected": answer},
            "unpaired": {"prompt": prompt, "completion": answer, "label": True},
        }
        rows.append({"id": str(i)} | shapes[row_format])
    data = write_snapshot(tmp_path / row_format, rows[2:], rows[:2])
    where = {"folder": str(data), "name": "x", "format": row_format}
    events = run_well(make_run("on_policy", data=where, max_steps=1, **SHORT))
    assert kinds(events, "started")[0].train_rows == 6


def test_a_spec_of_its_own(make_config: MakeConfig) -> None:
    made = make_config("on_policy")
    spec = TrainSpec(snapshot="s", method="on_policy", sampling_temperature=0.7, answer_tokens=33)
    config: Any = build_config(spec, "r", made.student, made.data, teachers=[made.teacher])
    assert (config.divergence, config.sampling_temperature) == ("reverse_kl", 0.7)
    assert config.answer_tokens == 33
    with pytest.raises(ValueError, match="alpha belongs to logit"):
        TrainSpec(snapshot="s", method="on_policy", alpha=0.5)
