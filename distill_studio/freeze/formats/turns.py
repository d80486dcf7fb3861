"""Lists of messages as Parquet holds them."""

from collections.abc import Iterable

import pyarrow as pa

from distill_studio.core.records import Message

TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def turns(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages as plain values."""
    return [{"role": m.role, "content": m.content} for m in messages]


def answer_turn(text: str) -> list[dict[str, str]]:
    """One turn of the assistant."""
    return [{"role": "assistant", "content": text}]
