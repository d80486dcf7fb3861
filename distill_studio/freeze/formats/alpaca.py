"""`alpaca`: instruction and output, with `system` and `history` for longer conversations."""

from typing import Any

import pyarrow as pa

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Message, Pair
from distill_studio.freeze.options import FreezeOptions, shaped_answer, shaped_prompt

SCHEMA = pa.schema([
    ("id", pa.string()),
    ("instruction", pa.string()),
    ("input", pa.string()),
    ("output", pa.string()),
    ("system", pa.string()),
    ("history", pa.list_(pa.list_(pa.string()))),
])


def to_row(pair: Pair, options: FreezeOptions) -> dict[str, Any]:
    """One row.

    Raises:
        InvalidInput: The turns do not alternate, which this form cannot say.
    """
    messages = shaped_prompt(pair.messages, options)
    system = messages[0].content if messages[0].role == "system" else ""
    turns = messages[1:] if messages[0].role == "system" else messages
    return {
        "id": pair.id,
        "instruction": turns[-1].content,
        "input": "",
        "output": shaped_answer(pair, options),
        "system": system,
        "history": _history(turns[:-1], pair.id),
    }


def _history(turns: list[Message], pair_id: str) -> list[list[str]]:
    asked, answered = turns[::2], turns[1::2]
    alternates = len(asked) == len(answered) and all(
        a.role == "user" and b.role == "assistant" for a, b in zip(asked, answered, strict=True)
    )
    if not alternates:
        raise InvalidInput(
            f"Pair {pair_id} does not alternate between user and assistant.",
            "Alpaca rows cannot hold such a conversation; choose messages or ShareGPT.",
        )
    return [[a.content, b.content] for a, b in zip(asked, answered, strict=True)]
