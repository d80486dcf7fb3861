"""Check a verified GSM8K export again, with nothing of the package.

Every pair's final number is compared with the gold answer of its question, by a reading of numbers
of its own. Ends with 1 when a row does not verify or its question is unknown.

    python tests/check_gsm8k.py export.jsonl gsm8k_test.jsonl [gsm8k_train.jsonl ...] [--asked N]

`export.jsonl`: rows with `messages` (OpenAI) or `prompt` and `completion` (text or messages) or
`conversations` (ShareGPT) or `instruction` and `output` (Alpaca). `--asked`: how many questions
were put to the teacher, for the yield.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

USER, ASSISTANT = {"user", "human"}, {"assistant", "gpt"}
NUMBER = re.compile(r"-?[0-9][0-9,]*(?:\.[0-9]+)?")
# A number right after the mark; "#### Step 2" and "#### 2. Total" are headings of a reply.
MARKED = re.compile(r"^ *#### *(\$?-?\$?[0-9][0-9,]*(?:\.[0-9]+)?)%?(?=\.?(?:$| [^-+*/=]))", re.M)


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def said(turn: dict[str, Any]) -> tuple[str, str]:
    """Who spoke and what, in OpenAI's or ShareGPT's words."""
    return str(turn.get("role") or turn.get("from")), str(turn.get("content") or turn.get("value"))


def question_and_answer(row: dict[str, Any]) -> tuple[str, str]:
    """The last thing the user said and what was answered."""
    if "instruction" in row:
        return f"{row['instruction']}\n{row.get('input') or ''}".strip(), row["output"]
    turns = row.get("messages") or row.get("conversations")
    if turns is None:
        prompt, completion = row["prompt"], row.get("completion") or row.get("answer")
        as_turns = isinstance(prompt, list)
        turns = prompt if as_turns else [{"role": "user", "content": prompt}]
        last = completion if isinstance(completion, list) else []
        turns = [*turns, *(last or [{"role": "assistant", "content": completion}])]
    spoken = [said(turn) for turn in turns]
    question = next(text for who, text in reversed(spoken) if who in USER)
    answer = next(text for who, text in reversed(spoken) if who in ASSISTANT)
    return question, answer


def number(text: str) -> Decimal | None:
    try:
        return Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None


def boxed(text: str) -> str | None:
    """What the last box of a reply holds."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed")
    for i, sign in enumerate(text[begin:], begin):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return text[begin + 1 : i]
    return None


def numbers_in(text: str) -> list[str]:
    text = text.replace("{,}", ",").replace("\\,", "").replace("−", "-").replace("$", "")
    return [n.rstrip(",") for n in NUMBER.findall(re.sub(r"(?<=[\d)])-", " ", text))]


def final_number(reply: str) -> Decimal | None:
    """After the reasoning: in the last `####` line, else the last box, else after "answer is",
    else the last number of all."""
    reply = reply.rsplit("</think>", 1)[-1]
    marked = MARKED.findall(reply)
    phrase = re.split(r"(?i)\banswer(?:\s+is|\s*[:=])", reply)
    part = marked[-1] if marked else boxed(reply)
    if part is None and len(phrase) > 1:
        part = re.split(r"[.!?](?:\s|$)|\n", phrase[-1].strip(" \n*:"), maxsplit=1)[0]
    if part is not None:
        found = numbers_in(part.rsplit("=", 1)[-1])
        return number(found[0]) if found else None
    found = numbers_in(reply)
    return number(found[-1]) if found else None


def key(question: str) -> str:
    """White space and case do not tell questions apart."""
    return " ".join(question.split()).casefold()


def gold_of(paths: list[Path]) -> dict[str, Decimal]:
    gold = {}
    for path in paths:
        for row in rows_of(path):
            value = number(row["answer"].rsplit("####", 1)[1].strip())
            assert value is not None, row
            gold[key(row["question"])] = value
    return gold


def find_gold(question: str, gold: dict[str, Decimal]) -> Decimal | None:
    """The gold answer, also when a recipe put an instruction before or after the question."""
    asked = key(question)
    if asked in gold:
        return gold[asked]
    inside = [known for known in gold if known in asked]
    return gold[max(inside, key=len)] if inside else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export", type=Path)
    parser.add_argument("gold", type=Path, nargs="+")
    parser.add_argument("--asked", type=int, default=None)
    options = parser.parse_args()
    gold = gold_of(options.gold)
    rows = right = 0
    questions = set()
    for rows, row in enumerate(rows_of(options.export), start=1):
        question, answer = question_and_answer(row)
        wanted, found = find_gold(question, gold), final_number(answer)
        questions.add(key(question))
        if wanted is not None and found == wanted:
            right += 1
        else:
            sys.stdout.write(f"row {rows}: says {found}, gold {wanted}: {question[:80]!r}\n")
    sys.stdout.write(f"{right} of {rows} rows verify; {len(questions)} questions")
    if options.asked:
        sys.stdout.write(f" of {options.asked} asked, yield {len(questions) / options.asked:.1%}")
    sys.stdout.write("\n")
    return 0 if rows and right == rows else 1


if __name__ == "__main__":
    sys.exit(main())
