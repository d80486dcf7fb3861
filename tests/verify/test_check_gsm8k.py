"""The independent script agrees with the gold answers and catches a wrong row."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "check_gsm8k.py"
ROWS = [
    {"question": "Two and two?", "answer": "2+2=4\n#### 4"},
    {"question": "A thousand and one half?", "answer": "so\n#### 1,000.5"},
]


def check(tmp_path, pairs, gold) -> subprocess.CompletedProcess[str]:
    files = {"export.jsonl": pairs, "gold.jsonl": gold}
    for name, rows in files.items():
        (tmp_path / name).write_text("\n".join(json.dumps(r) for r in rows), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), *(str(tmp_path / n) for n in files), "--asked", "10"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def pair(question: str, answer: str) -> dict[str, object]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns}


@pytest.mark.parametrize(
    "answer",
    [
        "The answer is 4.",
        r"<think>5</think> \boxed{4}",
        "2+2=4",
        "#### $4.00",
        "**Answer:** 4 eggs",
    ],
)
def test_right_rows_pass(answer, tmp_path):
    run = check(tmp_path, [pair("Two  and two?", answer)], ROWS)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == "1 of 1 rows verify; 1 questions of 10 asked, yield 10.0%\n"


@pytest.mark.parametrize(
    "row",
    [
        pair("Two and two?", "#### 5"),
        pair("Two and two?", "none"),
        pair("Never asked?", "#### 4"),
        {"prompt": "Two and two?", "completion": r"4, no: \boxed{3}"},
        {"instruction": "Two and two?", "output": "44"},
    ],
)
def test_a_wrong_row_fails(row, tmp_path):
    run = check(tmp_path, [pair("Two and two?", "4"), row], ROWS)
    assert run.returncode == 1
    assert "row 2: says" in run.stdout
    assert "1 of 2 rows verify" in run.stdout


def test_an_empty_export_proves_nothing(tmp_path):
    assert check(tmp_path, [], ROWS).returncode == 1


def test_all_gold_solutions_verify(tmp_path, shared_data):
    lines = (shared_data / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    run = check(tmp_path, [pair(r["question"], r["answer"]) for r in rows], rows)
    assert run.stdout.startswith("1319 of 1319 rows verify"), run.stdout[-500:]
