"""GSM8K answers a second by the scorer `math` of suites, verdicts beside an independent check.

`python -m tests.benchmarks.scoring gsm8k_test.jsonl [--form solution]`

The file is read as a suite is (`question`, `answer` with `#### N`). The answers are its own gold
solutions; of every other one the final number is made wrong (one more, ten times, negative, a
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
from distill_studio.services.suite_items import read_items
from distill_studio.services.suite_scoring import Scored, score_answer
from tests.check_gsm8k import final_number, number

LIMIT_S = 60.0
MARK = "#### "
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


def run(path: Path, form: str) -> dict[str, Any]:
    """Score all answers once, one after another, and compare."""
    items = read_items(path, SuiteScorer.MATH, None)
    answers = answers_of(items, form)
    started = time.perf_counter()
    verdicts: list[Scored] = [
        score_answer(SuiteScorer.MATH, text, item)
        for (text, _), item in zip(answers, items, strict=True)
    ]
    took_s = time.perf_counter() - started
    differ = [
        {"item": item.number, "scored": said.score, "reason": said.reason, "ends": text[-120:]}
        for (text, is_right), item, said in zip(answers, items, verdicts, strict=True)
        if not said.score == float(is_right) == float(final_number(text) == value_of(item))
    ]
    return {
        "form": form,
        "answers": len(answers),
        "right": sum(said.score == 1 for said in verdicts),
        "wrong": sum(said.score == 0 for said in verdicts),
        "differ": len(differ),
        "examples": differ[:5],
        "seconds": round(took_s, 2),
        "answers_per_s": round(len(answers) / took_s),
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
    parser.add_argument("data", type=Path, help="rows with `question` and `answer`")
    parser.add_argument("--form", choices=list(FORMS), default="solution")
    options = parser.parse_args()
    result = run(options.data, options.form)
    print(json.dumps(result, ensure_ascii=False))
    return 1 if result["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
