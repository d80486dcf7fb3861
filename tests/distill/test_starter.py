"""The starter model learns from real answers: the figures the README quotes. Minutes on a CPU."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from distill_studio.distill import worker
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import DataConfig, StudentConfig, TeacherConfig
from distill_studio.distill.estimate import model_facts
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.distill.presets import build_config
from distill_studio.distill.prune_width import WidthImportance, narrow, width_importance
from distill_studio.distill.spec import TrainSpec
from distill_studio.distill.student import load_model
from distill_studio.teachers.models import resolve_model
from tests.tiny_model import assistant, user, write_snapshot

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.usefixtures("keep_signals")]
LIMIT_S = 1800


def train(folder: Path, data: Path, row_format: str, cache: Path, **fields: Any) -> dict[str, Any]:
    """Final figures of a run of the worker in this process."""
    base = resolve_model("smollm2-135m-instruct", cache)
    teacher = fields.pop("teacher", TeacherConfig(folder=str(base), id="smollm2-135m-instruct"))
    student = StudentConfig(
        base_folder=str(base), base_id="smollm2-135m-instruct", keep_layers=fields.pop("keep", None)
    )
    config = build_config(
        TrainSpec(snapshot="s", **fields),
        "r",
        student,
        DataConfig(folder=str(data), name="s", format=row_format),
        teachers=[teacher],
    )
    folder.mkdir()
    (folder / "run.json").write_text(config.model_dump_json(), encoding="utf-8")
    worker.main([str(folder / "run.json")])
    last = read_events(folder / EVENTS_FILE)[0][-1]
    assert last.kind == "done", last
    return last.metrics


def gpt4_rows(shared_data: Path, count: int) -> list[dict[str, Any]]:
    text = (shared_data / "alpaca_eval_gpt4_1106_preview.json").read_text(encoding="utf-8")
    return [
        {
            "id": str(i),
            "prompt": [user(row["instruction"])],
            "completion": [assistant(row["output"])],
        }
        for i, row in enumerate(json.loads(text)[:count])
    ]


@pytest.mark.timeout(LIMIT_S)
def test_sft_on_gpt4_answers_lowers_the_held_out_loss(
    shared_data: Path, starter_cache: Path, tmp_path: Path
) -> None:
    rows = gpt4_rows(shared_data, 200)
    data = write_snapshot(tmp_path / "data", rows[40:], rows[:40])
    fields = {"max_steps": 20, "max_length": 96, "eval_every": 20, "eval_rows": 24}
    found = train(tmp_path / "run", data, "prompt_completion", starter_cache, **fields)
    assert found["steps"] == 20
    assert found["loss_fell_percent"] >= 3.0, found


@pytest.mark.timeout(LIMIT_S)
def test_dpo_on_real_preferences_raises_the_held_out_margin(
    shared_data: Path, starter_cache: Path, tmp_path: Path
) -> None:
    rows = []
    for line in (shared_data / "alpaca_eval_preferences.jsonl").read_text().splitlines():
        row = json.loads(line)
        outputs = [row["output_1"], row["output_2"]]
        better = 0 if row["preference"] < 1.5 else 1
        if max(map(len, outputs)) > 600:  # short ones, to keep the test short
            continue
        rows.append({
            "id": str(len(rows)),
            "prompt": [user(row["instruction"])],
            "chosen": [assistant(outputs[better])],
            "rejected": [assistant(outputs[1 - better])],
        })
    data = write_snapshot(tmp_path / "data", rows[16:], rows[:16])
    found = train(
        tmp_path / "run",
        data,
        "preference",
        starter_cache,
        method="dpo",
        dtype="fp32",  # ten updates move little: with bf16 a machine's rounding shows
        max_steps=10,
        grad_accumulation=1,
        max_length=128,
        learning_rate=2e-4,
        eval_every=10,
        eval_rows=12,
    )
    assert found["margin_before"] == pytest.approx(0.0, abs=0.01)
    assert found["margin_after"] > 0.01, found


@pytest.mark.timeout(LIMIT_S)
def test_a_pruned_starter_trains_and_its_merged_model_answers(
    shared_data: Path, starter_cache: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = gpt4_rows(shared_data, 40)
    data = write_snapshot(tmp_path / "data", rows[8:], rows[:8])
    found = train(
        tmp_path / "run",
        data,
        "prompt_completion",
        starter_cache,
        keep=24,
        max_steps=12,
        max_length=128,
        eval_every=12,
    )
    assert found["loss_after"] < found["loss_before"]
    run = tmp_path / "run"
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    merged = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32)
    assert merged.config.num_hidden_layers == 24
    text = tokenizer.apply_chat_template(
        [user("Name a colour.")], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    base = AutoModelForCausalLM.from_pretrained(run / "student", dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, run / "adapter")
    with torch.no_grad():
        ours = merged(ids).logits.log_softmax(-1)
        theirs = adapted(ids).logits.log_softmax(-1)
    divergence = (theirs.exp() * (theirs - ours)).sum(-1).mean()
    assert float(divergence) < 0.01  # the merged weights are rounded to bf16 once
    assert merged.generate(ids, max_new_tokens=8, do_sample=False).shape[1] > ids.shape[1]


@pytest.mark.timeout(LIMIT_S)
def test_logit_distillation_brings_a_pruned_starter_back_to_its_teacher(
    shared_data: Path, starter_cache: Path, tmp_path: Path
) -> None:
    rows = gpt4_rows(shared_data, 152)
    data = write_snapshot(tmp_path / "data", rows[24:], rows[:24])
    found = train(
        tmp_path / "run",
        data,
        "prompt_completion",
        starter_cache,
        keep=24,
        method="logit",
        weights="full",
        learning_rate=3e-4,
        max_steps=12,
        max_length=96,
        eval_every=12,
        eval_rows=12,
    )
    assert found["kl_after"] < 0.8 * found["kl_before"], found


@pytest.mark.timeout(LIMIT_S)
def test_hidden_states_of_a_pruned_starter_come_closer_to_its_teachers(
    shared_data: Path, starter_cache: Path, tmp_path: Path
) -> None:
    rows = gpt4_rows(shared_data, 48)
    data = write_snapshot(tmp_path / "data", rows[8:], rows[:8])
    found = train(
        tmp_path / "run",
        data,
        "prompt_completion",
        starter_cache,
        keep=24,
        method="logit",
        weights="full",
        learning_rate=3e-4,
        feature_weight=1.0,
        max_steps=8,
        max_length=64,
        eval_every=8,
        eval_rows=8,
    )
    assert found["features_after"] < 0.9 * found["features_before"], found
    assert found["kl_after"] < found["kl_before"], found


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize(
    ("row_format", "fields"),
    [
        ("preference", {"method": "dpo", "dpo_loss": "robust", "sft_weight": 0.5}),
        ("preference", {"method": "dpo", "dpo_loss": "ipo", "reference": "stored"}),
        ("unpaired", {"method": "kto", "batch_size": 4}),
        ("prompt_completion", {"method": "on_policy", "keep": 27, "answer_tokens": 12}),
        ("prompt_completion", {"method": "sft", "reasoning_share": 0.5, "reasoning_budget": 40}),
    ],
    ids=["dpo-robust-sft", "dpo-ipo", "kto", "on-policy", "reasoning"],
)
def test_every_further_method_takes_real_steps_with_the_starter(
    shared_data: Path,
    starter_cache: Path,
    tmp_path: Path,
    row_format: str,
    fields: dict[str, Any],
) -> None:
    rows = []
    for number, row in enumerate(gpt4_rows(shared_data, 16)):
        prompt, answer = row["prompt"], row["completion"][0]["content"][:200]
        thought = f"<think>\nIt asks for {number} things.\n</think>\n\n{answer}"
        shapes: dict[str, dict[str, Any]] = {
            "preference": {"chosen": [assistant(answer)], "rejected": [assistant("No.")]},
            "unpaired": {
                "completion": [assistant(answer if number % 2 else "No.")],
                "label": bool(number % 2),
            },
            "prompt_completion": {"completion": [assistant(thought)]},
        }
        rows.append({"id": str(number), "prompt": prompt} | shapes[row_format])
    data = write_snapshot(tmp_path / "data", rows[4:], rows[:4])
    short = {"max_steps": 3, "max_length": 96, "eval_every": 3, "eval_rows": 4, "dtype": "fp32"}
    found = train(tmp_path / "run", data, row_format, starter_cache, **short, **fields)
    assert found["steps"] == 3
    assert 0.0 < found["loss_after"] < 1000.0, found
    if fields["method"] in ("dpo", "kto"):
        assert found["margin_after"] > found["margin_before"], found
    elif fields["method"] == "sft":
        assert found["loss_after"] < found["loss_before"], found


@pytest.mark.timeout(LIMIT_S)
def test_a_pruned_starter_follows_a_teacher_that_cuts_text_into_other_tokens(
    starter_cache: Path, tmp_path: Path
) -> None:
    """The teacher: the starter model with the first 16,384 of its tokens and their merges."""
    from transformers import AutoModelForCausalLM

    base, kept = resolve_model("smollm2-135m-instruct", starter_cache), 16_384
    teacher = tmp_path / "teacher"
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    model.resize_token_embeddings(kept, mean_resizing=False)
    model.save_pretrained(teacher)
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        if (base / name).exists():
            shutil.copy(base / name, teacher / name)
    content = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    bpe = content["model"]
    bpe["vocab"] = {name: token for name, token in bpe["vocab"].items() if token < kept}
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in bpe["merges"]]
    bpe["merges"] = [pair for pair in pairs if {*pair, "".join(pair)} <= set(bpe["vocab"])]
    (teacher / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")

    rows = [
        {"id": f"r{n}", "prompt": [user(ask)], "completion": [assistant(answer)]}
        for n, (ask, answer) in enumerate(_ANSWERS)
    ]
    data = write_snapshot(tmp_path / "data", rows[2:], rows[:2])
    found = train(
        tmp_path / "run",
        data,
        "prompt_completion",
        starter_cache,
        keep=24,
        teacher=TeacherConfig(folder=str(teacher), id="other-tokens"),
        method="logit",
        across_tokenizers="hybrid",
        max_steps=6,
        batch_size=2,
        max_length=96,
        eval_every=6,
        learning_rate=5e-4,
        samples=0,
    )
    assert found["kl_after"] < 0.9 * found["kl_before"], found
    assert found["ce_after"] < found["ce_before"], found


_ANSWERS = (
    ("What is photosynthesis?", "Photosynthesis is how plants turn sunlight into sugar."),
    ("Why is the sky blue?", "Air scatters blue sunlight more strongly than red sunlight."),
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Why do leaves fall?", "Trees drop their leaves in autumn to save water in winter."),
    ("What is chlorophyll?", "Chlorophyll is the green pigment that catches sunlight."),
    ("How do magnets work?", "Magnets attract iron because their electrons are aligned."),
    ("What is a metaphor?", "A metaphor describes one thing by the name of another."),
    ("Who wrote Hamlet?", "William Shakespeare wrote the tragedy of Hamlet."),
    ("What is evaporation?", "Evaporation is how a liquid slowly turns into a gas."),
    ("Why is sleep important?", "Sleep restores the body and strengthens what was learned."),
)


@pytest.mark.timeout(LIMIT_S)
def test_neurons_that_matter_are_told_from_any(shared_data: Path, starter_cache: Path) -> None:
    """Three quarters of them, chosen on eight answers, read eight others far better than chance."""
    import torch

    base = resolve_model("smollm2-135m-instruct", starter_cache)
    chat = ChatTokenizer.load(base)
    rows_BT = [
        torch.tensor([chat.encode(row["completion"][0]["content"])[:96]])
        for row in gpt4_rows(shared_data, 16)
    ]
    before = model_facts(base).shape
    student = StudentConfig(base_folder=str(base), base_id="starter", keep_mlp=0.75)
    after = model_facts(base, student).shape

    def held_out_loss(scores: WidthImportance | None) -> float:
        model = load_model(base, torch.bfloat16, "cpu").eval()
        if scores is not None:
            narrow(model, scores, before, after)
        with torch.no_grad():
            return sum(float(model(ids, labels=ids).loss) for ids in rows_BT[8:]) / 8

    whole = load_model(base, torch.bfloat16, "cpu")
    scores = width_importance(whole, rows_BT[:8], before)
    chance = torch.Generator().manual_seed(1)
    neurons = [torch.rand(one.shape, generator=chance) for one in scores.neurons]
    losses = [
        held_out_loss(s) for s in (None, scores, dataclasses.replace(scores, neurons=neurons))
    ]
    assert losses[0] < losses[1] < losses[2] - 1.0
