"""The benchmark of scoring takes published model solutions as they are, and notices differences."""

import json
from pathlib import Path

from tests.benchmarks.scoring import is_published, run


def row(question: str, gold: str, **said: tuple[str, bool]) -> dict[str, object]:
    told = {name: {"is_correct": ok, "solution": text} for name, (text, ok) in said.items()}
    return {"question": question, "ground_truth": f"Step <<1+1=2>>2.\nA: {gold}", **told}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def test_published_solutions_are_scored_as_they_are(tmp_path):
    rows = [
        row(
            "Two hens lay 600 eggs each. How many?", "1,200",
            small=("They lay 2 * 600 = <<2*600=1200>>1200 eggs\nA: 1200", True),
            large=("They lay 600 eggs a hen\nA: 600", False),
            cut=("They lay 2 * 600 = <<2*600=12", False),
        ),
        row("Half of five?", "2.5", small=("5/2=<<5/2=2.5>>2.5\nA: 2.5", True)),
    ]  # fmt: skip
    path = write(tmp_path / "solutions.jsonl", rows)
    assert is_published(path)
    found = run(path, "solution")
    assert (found["form"], found["answers"], found["right"], found["wrong"]) == (
        "published", 4, 2, 2,
    )  # fmt: skip
    assert (found["differ"], found["differ_from_given"]) == (0, 0)
    assert run(path, "solution", first=1)["answers"] == 3


def test_a_verdict_that_is_not_the_published_one_is_counted(tmp_path):
    rows = [row("One and one?", "2", small=("It is two.\nA: 2", False))]
    found = run(write(tmp_path / "solutions.jsonl", rows), "solution")
    assert (found["differ"], found["differ_from_given"], found["missed"]) == (1, 1, True)
