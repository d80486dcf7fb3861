"""Chain of thought as a mixture: which rows keep their reasoning. Torch-free.

Reasoning stands in answers as `<think> ... </think>`, as Freeze writes it. `encode_answer` decides
per row, by a hash of the row and the run's seed, so the choice does not depend on the order of
rows, on how many are read, or on the process that reads them.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import AnswerRun, BaseRun, RunConfig, learned_turns
from distill_studio.distill.data import Encoded, Row, encode_sft
from distill_studio.distill.findings import Finding

_THOUGHT = re.compile(r"^\s*<think>(.*?)</think>\s*", re.DOTALL)
Fate = Literal["none", "kept", "left_out", "over_budget"]


def split_thought(text: str) -> tuple[str, str]:
    """(reasoning, answer); the reasoning is '' where there is none."""
    found = _THOUGHT.match(text)
    return (found[1].strip(), text[found.end() :]) if found else ("", text)


def is_mixed(config: BaseRun) -> bool:
    """True when a run treats reasoning otherwise than it was frozen."""
    if not isinstance(config, AnswerRun):
        return False
    return config.reasoning_share is not None or config.reasoning_budget is not None


def mixed(tokenizer: ChatTokenizer, config: AnswerRun, row: Row) -> tuple[Row, Fate]:
    """The row as this run learns it, and what became of its reasoning.

    A row loses its reasoning when its share of the hash's range is used up, or when a thought of it
    has more tokens than the budget; it then teaches its answer alone.
    """
    column = "completion" if "completion" in row else "messages"
    thoughts = [split_thought(m["content"] or "")[0] for m in _answers(row, column)]
    if not any(thoughts):
        return row, "none"
    fate: Fate = "kept"
    share, budget = config.reasoning_share, config.reasoning_budget
    if share is not None and _place(row, config.seed) >= share:
        fate = "left_out"
    elif budget is not None and any(len(tokenizer.encode(t)) > budget for t in thoughts):
        fate = "over_budget"
    if fate == "kept":
        return row, fate
    turns = [
        {**m, "content": split_thought(m["content"] or "")[1]} if m["role"] == "assistant" else m
        for m in row[column]
    ]
    return {**row, column: turns}, fate


def encode_answer(tokenizer: ChatTokenizer, config: BaseRun, row: Row) -> Encoded:
    """Tokens and labels of a row of answers for this run, uncut.

    Raises:
        InvalidInput: As `encode_sft`.
    """
    if isinstance(config, AnswerRun) and is_mixed(config):
        row = mixed(tokenizer, config, row)[0]
    return encode_sft(tokenizer, row, learned_turns(config))


def reasoning_findings(
    tokenizer: ChatTokenizer, config: RunConfig, rows: Sequence[Row]
) -> list[Finding]:
    """What the mixture makes of these rows."""
    if not isinstance(config, AnswerRun) or not is_mixed(config):
        return []
    fates = Counter(mixed(tokenizer, config, row)[1] for row in rows)
    having = len(rows) - fates["none"]
    if not having:
        return [
            Finding(
                level="warning",
                code="no_reasoning",
                message="No row has reasoning, so there is nothing to mix.",
                hint="Freeze again with the chain of thought before the answer, or leave the share"
                " and the budget of reasoning empty.",
            )
        ]
    message = f"{fates['kept']} of {having} rows with reasoning keep it"
    details = []
    if fates["left_out"]:
        details.append(f"{fates['left_out']} learn the answer alone by the share")
    if fates["over_budget"]:
        details.append(
            f"{fates['over_budget']} because it is longer than {config.reasoning_budget} tokens"
        )
    if fates["none"]:
        details.append(f"{fates['none']} never had any")
    text = f"{message}; {', '.join(details)}." if details else f"{message}."
    return [Finding(level="info", code="reasoning", message=text)]


def _answers(row: Row, column: str) -> list[Row]:
    return [m for m in row[column] if m["role"] == "assistant"]


def _place(row: Row, seed: int) -> float:
    """Where a row stands between 0 and 1, evenly over rows."""
    name = row.get("id") or json.dumps(row, sort_keys=True, default=str)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
