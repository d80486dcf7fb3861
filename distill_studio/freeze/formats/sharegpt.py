"""`sharegpt`: conversations of `from` and `value`."""

from typing import Any

import pyarrow as pa

from distill_studio.core.records import Message, Pair
from distill_studio.freeze.options import FreezeOptions, shaped_answer, shaped_prompt

_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
SCHEMA = pa.schema([
    ("id", pa.string()),
    ("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))),
])


def to_row(pair: Pair, options: FreezeOptions) -> dict[str, Any]:
    """One row."""
    answer = Message(role="assistant", content=shaped_answer(pair, options))
    messages = [*shaped_prompt(pair.messages, options), answer]
    return {
        "id": pair.id,
        "conversations": [{"from": _NAMES[m.role], "value": m.content} for m in messages],
    }
