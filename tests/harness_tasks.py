"""Small tasks of lm-evaluation-harness with their rows, and where the harness is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[1] / ".venv-lm-eval" / "bin" / "python"
LANDS = {
    "France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Peru": "Lima", "Spain": "Madrid",
    "Egypt": "Cairo", "Norway": "Oslo", "Ghana": "Accra", "Chile": "Santiago", "Cuba": "Havana",
}  # fmt: skip
_COMMON = """dataset_path: json
dataset_kwargs: {{data_files: {{test: {name}.jsonl}}}}
test_split: test
metadata: {{version: 1.0}}
task: {name}
"""
_CHOICE = """output_type: multiple_choice
doc_to_text: "The capital of {{land}} is"
doc_to_choice: "{{[city, other]}}"
doc_to_target: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
_TEXT = """output_type: generate_until
doc_to_text: "What is the capital of {{land}}?"
doc_to_target: "{{city}}"
generation_kwargs: {until: ["."], max_gen_toks: 8}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


def skip_without_harness() -> None:
    """Skip the test where `make lm-eval` was not run."""
    if not PYTHON.exists():
        pytest.skip("lm-evaluation-harness is not installed: make lm-eval")


def write_choice(folder: Path, name: str = "capital_choice", times: int = 1) -> list[Path]:
    """A multiple choice of two, in a file each for the task and its rows."""
    return _write(folder, name, _CHOICE, times)


def write_text(folder: Path, name: str = "capital_text") -> list[Path]:
    """Questions answered in text."""
    return _write(folder, name, _TEXT, 1)


def _write(folder: Path, name: str, body: str, times: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    cities = list(LANDS.values())
    rows = [
        {
            "land": f"{land} {turn}" if turn else land,
            "city": city,
            "other": cities[(place + 3) % 10],
        }
        for turn in range(times)
        for place, (land, city) in enumerate(LANDS.items())
    ]
    task, data = folder / f"{name}.yaml", folder / f"{name}.jsonl"
    task.write_text(_COMMON.format(name=name) + body, encoding="utf-8")
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [task, data]
