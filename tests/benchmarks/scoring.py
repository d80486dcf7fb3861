"""GSM8K answers a second by the scorer `math` of suites, verdicts beside an independent check.

`python -m tests.benchmarks.scoring gsm8k_test.jsonl [--form solution]`
`python -m tests.benchmarks.scoring example_model_solutions.jsonl [--first 50]`

The second is the file of published model solutions beside GSM8K (openai/grade-school-math): rows
with `question`, `ground_truth`, whose last line is `A: 18`, and for each of four models `solution`
and `is_correct`. Their texts are scored as they are, steps, calculator marks, cut-off endings and
all, and each verdict is compared with the published one and with the independent check.

The first file is read as a suite is (`question`, `answer` with `#### N`). The answers are its own
gold solutions; of every other one the final number is made wrong (one more, ten times, negative, a
half more, in turn), and nothing else. `--form boxed` and `said` end them as models do, in a box or
with "The answer is"; `formula` is no plain number, so that sympy has to look. The verdicts are
compared with `tests/check_gsm8k.py`, which shares no code with the package, and with what was done
to each answer.

Prints one JSON object. Exit code 1 when it took longer than 60 s or any verdict differs.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from distill_studio.core.records.suite import SuiteItem, SuiteScorer
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services.suite_items import read_items
from distill_studio.services.suite_scoring import Scored, score_answer
from tests.check_gsm8k import final_number, number

LIMIT_S = 60.0
MARK = "#### "
PUBLISHED = "published"  # the form of solutions that models wrote
GROUND_TRUTH, SOLUTION, IS_CORRECT = "ground_truth", "solution", "is_correct"
ANSWER = "A:"  # before the final answer in published solutions and their ground truth
FORMS: dict[str, Callable[[str], str]] = {
    "solution": lambda value: f"{MARK}{value}",
    "boxed": lambda value: f"So the result is $\\boxed{{{value}}}$.",
    "said": lambda value: f"The answer is {value}.",
    "formula": lambda value: f"So the result is $\\boxed{{{value.replace(',', '')} + 0x}}$.",
}
WRONG: Sequence[Callable[[Decimal], Decimal]] = (
    lambda value: value + 1,
    lambda value: value * 10 + 1,  # 0 stays wrong too
    lambda value: -value - 1,
    lambda value: value + Decimal("0.5"),
)


def answers_of(items: Sequence[SuiteItem], form: str) -> list[tuple[str, bool]]:
    """Each item's gold solution in this form, and whether its number was left as it is."""
    made = []
    for n, item in enumerate(items):
        steps, _, gold = item.reference.rpartition(MARK)
        is_right = n % 2 == 0
        text = gold.strip() if is_right else str(WRONG[n // 2 % len(WRONG)](value_of(item)))
        made.append((steps + FORMS[form](text), is_right))
    return made


def value_of(item: SuiteItem) -> Decimal:
    """The gold number of an item."""
    value = number(item.reference.rpartition(MARK)[2].strip())
    assert value is not None, item.reference
    return value


def is_published(path: Path) -> bool:
    """Whether a file has published model solutions, by its first row."""
    with path.open(encoding="utf-8") as file:
        return GROUND_TRUTH in json.loads(file.readline())


def published(path: Path, first: int) -> tuple[list[SuiteItem], list[tuple[str, bool]]]:
    """An item and a solution with its published verdict, for each of the models of each row."""
    mapping = ColumnMapping(prompt="question", reference=GROUND_TRUTH)
    items: list[SuiteItem] = []
    answers: list[tuple[str, bool]] = []
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    read = read_items(path, SuiteScorer.MATH, mapping).items
    for item, row in list(zip(read, rows, strict=True))[: first or None]:
        gold = item.reference.rpartition(ANSWER)[2].strip()
        for said in row.values():
            if isinstance(said, dict):
                items.append(item.model_copy(update={"reference": gold}))
                answers.append((said[SOLUTION], said[IS_CORRECT]))
    return items, answers


def run(path: Path, form: str, first: int = 0) -> dict[str, Any]:
    """Score all answers once, one after another, and compare.

    Args:
        path: The file; published model solutions are known by their columns.
        form: How gold solutions end; not for published ones.
        first: Only so many rows; 0: all.
    """
    if is_published(path):
        form = PUBLISHED
        items, answers = published(path, first)
    else:
        items = read_items(path, SuiteScorer.MATH, None).items[: first or None]
        answers = answers_of(items, form)
    started = time.perf_counter()
    verdicts: list[Scored] = [
        score_answer(SuiteScorer.MATH, text, item)
        for (text, _), item in zip(answers, items, strict=True)
    ]
    took_s = time.perf_counter() - started
    differ = [
        {
            "item": item.number, "scored": said.score, "right": is_right,
            "reason": said.reason, "gold": item.reference[-20:], "ends": text[-120:],
        }
        for (text, is_right), item, said in zip(answers, items, verdicts, strict=True)
        if not said.score == float(is_right) == float(final_number(text) == value_of(item))
    ]  # fmt: skip
    return {
        "form": form,
        "answers": len(answers),
        "right": sum(said.score == 1 for said in verdicts),
        "wrong": sum(said.score == 0 for said in verdicts),
        "differ": len(differ),
        "differ_from_given": sum(
            said.score != float(is_right)
            for (_, is_right), said in zip(answers, verdicts, strict=True)
        ),
        "examples": differ[:5],
        "seconds": round(took_s, 2),
        "answers_per_s": round(len(answers) / took_s) if took_s else 0,
        "limit_s": LIMIT_S,
        "load": round(os.getloadavg()[0], 1),
        "cpus": os.cpu_count(),
        "missed": took_s > LIMIT_S or bool(differ),
    }


def main() -> int:
    """Print the figures; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, help="rows with `question` and `answer`, or published solutions"
    )
    parser.add_argument("--form", choices=list(FORMS), default="solution")
    parser.add_argument("--first", type=int, default=0, help="only so many rows; 0: all")
    options = parser.parse_args()
    result = run(options.data, options.form, options.first)
    print(json.dumps(result, ensure_ascii=False))
    return 1 if result["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
