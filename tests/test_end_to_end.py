"""The whole pass through the command line, with the real starter models and no app running.

import -> generate -> dedup -> decide -> freeze -> train (SFT, then DPO) -> compare -> export.
"""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, app_environment

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(1800)]
SUBJECTS = (
    "the sea", "a bicycle", "bread", "the moon", "a library", "rain", "a violin", "the desert",
    "a bridge", "honey", "a lighthouse", "snow", "a clock", "the forest", "a market", "tea",
    "a candle", "a river", "a garden", "a train",
)  # fmt: skip
DUPLICATE = ("Name the capital of France, please.", "The capital of France is the city of Paris.")
STEPS, DPO_STEPS = 12, 5

Studio = Callable[..., Any]


@pytest.fixture
def studio(tmp_path: Path, starter_cache: Path) -> Studio:
    """`studio("list")` runs a command in a process of its own; its JSON answer."""
    env = app_environment(tmp_path / "home", 0, {"DISTILL_STUDIO_CACHE": str(starter_cache)})

    def run(*words: str) -> Any:
        ran = subprocess.run(
            [sys.executable, "-m", "distill_studio", "--json", *words],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert ran.returncode == 0, f"{words}: {ran.stdout}\n{ran.stderr}"
        return json.loads(ran.stdout)

    return run


def lines(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def test_from_prompts_to_a_student(studio, tmp_path):
    prompts = [{"prompt": f"Describe {subject} in one sentence."} for subject in SUBJECTS]
    studio("import", lines(tmp_path / "prompts.jsonl", prompts))
    prompt, answer = DUPLICATE
    twice = [
        {"prompt": prompt, "completion": answer},
        {"prompt": prompt.replace(",", ""), "completion": answer.replace(".", "!")},
    ]
    studio("import", lines(tmp_path / "twice.jsonl", twice))
    job = studio("generate", "--max-tokens", "40", "--temperature", "0", "--seed", "1")
    assert job["state"] == "done"
    generated = studio("list", "--job", job["id"], "--limit", "100")
    assert len(generated) == len(SUBJECTS)
    assert all(pair["answer"].strip() for pair in generated)

    report = studio("dedup", "--threshold", "0.9", "--no-filters")
    assert report["duplicates"] >= 1
    removed = studio("list", "--curation", "duplicate", "--search", "capital of France")
    assert len(removed) == 1  # of the two, one stands for both

    accepted = studio("decide", "accept", "--all")["count"]
    assert accepted == report["kept"] == studio("list", "--status", "accepted", "--count")["count"]
    snapshot = studio("freeze", "first", "--validation-share", "0.2")
    assert snapshot["train_rows"] + snapshot["validation_rows"] == accepted
    assert snapshot["validation_rows"] >= 3

    run = studio(
        "train", "first", "--student", "smollm2-135m-instruct:24", "--full", "--name", "first-sft",
        "--steps", str(STEPS), "--set", "learning_rate=2e-4", "--set", "max_length=96",
        "--set", f"eval_every={STEPS}",
    )  # fmt: skip
    assert run["state"] == "done"
    assert run["metrics"]["loss_after"] < run["metrics"]["loss_before"]

    _prefer_and_train(studio, tmp_path)
    _compare(studio)
    _export(studio, tmp_path, accepted)


def _prefer_and_train(studio: Studio, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"What would you do with {subject}?",
            "chosen": f"I would look at {subject} with care and write down what I see.",
            "rejected": f"Nothing. {subject} {subject} whatever whatever whatever.",
        }
        for subject in SUBJECTS
    ]
    report = studio("import", lines(tmp_path / "preferences.jsonl", rows))
    assert report["counts"]["preferences"] == len(SUBJECTS)
    snapshot = studio("freeze", "pairs", "--format", "preference", "--validation-share", "0.2")
    assert snapshot["format"] == "preference"
    run = studio(
        "train", "pairs", "--method", "dpo", "--student", "run:first-sft", "--name", "then-dpo",
        "--steps", str(DPO_STEPS), "--set", "max_length=96", "--set", f"eval_every={DPO_STEPS}",
    )  # fmt: skip
    assert run["state"] == "done"
    assert run["metrics"]["margin_after"] > run["metrics"]["margin_before"]


def _compare(studio: Studio) -> None:
    cards = {card["id"] for card in studio("list", "models")}
    assert {"student:first-sft", "student:then-dpo"} <= cards
    made = studio(
        "compare", "Describe the sea in one sentence.", "--max-tokens", "24",
        "--model", "student:first-sft", "--model", "student:then-dpo",
    )  # fmt: skip
    assert [answer["state"] for answer in made["answers"]] == ["done", "done"]
    assert all(answer["text"].strip() for answer in made["answers"])
    assert all(answer["stats"]["tokens_per_s"] > 0 for answer in made["answers"])


def _export(studio: Studio, tmp_path: Path, accepted: int) -> None:
    out = tmp_path / "accepted.jsonl"
    studio("export", "pairs", "--status", "accepted", "--from", "", "-o", str(out))
    assert len(out.read_text(encoding="utf-8").splitlines()) >= accepted
    archive = tmp_path / "student.zip"
    studio("export", "model", "then-dpo", "-o", str(archive))
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "student")
    folder = next((tmp_path / "student").rglob("config.json")).parent
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Describe the sea in one sentence."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    written = model.generate(**asked, max_new_tokens=12, do_sample=False)
    text = tokenizer.decode(written[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    assert text.strip()
