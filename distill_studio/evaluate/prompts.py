"""Held-out prompts: the conversations of a snapshot's validation split, answers left out."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from distill_studio.core.records.seed import Message

_COLUMNS = ("prompt", "messages")  # prompt/completion and prompt/chosen/rejected, or messages


def held_out_prompts(split: Path, limit: int) -> list[list[Message]]:
    """The first `limit` different conversations of a Parquet split, each ending in a user turn."""
    return list(islice(_different(split), limit))


def unseen_prompts(
    split: Path, trains: Iterable[Path], key: Callable[[Sequence[Message]], str], limit: int
) -> list[list[Message]]:
    """The first `limit` conversations of a split that no row of the train splits has.

    Args:
        split: Where they are looked for.
        trains: Other splits, whose prompts are left out.
        key: What a prompt is known by.
        limit: How many at most.
    """
    left: dict[str, list[Message]] = {}
    for messages in _different(split):
        left.setdefault(key(messages), messages)
    for train in trains:
        for messages in _conversations(train):
            left.pop(key(messages), None)
    return list(islice(left.values(), limit))


def prompt_of_row(row: Mapping[str, Any]) -> list[Message]:
    """The conversation of a row up to its last user turn; empty when there is none."""
    turns = row.get("prompt") or row.get("messages") or []
    if isinstance(turns, str):
        return [Message(role="user", content=turns)]
    messages = [Message(role=turn["role"], content=turn["content"] or "") for turn in turns]
    while messages and messages[-1].role != "user":
        messages.pop()
    return messages


def _different(split: Path) -> Iterator[list[Message]]:
    seen: set[str] = set()
    for messages in _conversations(split):
        said = json.dumps([m.content for m in messages])
        if said not in seen:
            seen.add(said)
            yield messages


def _conversations(split: Path) -> Iterator[list[Message]]:
    with pq.ParquetFile(split) as file:
        wanted = [name for name in _COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=64, columns=wanted):
            for row in batch.to_pylist():
                if messages := prompt_of_row(row):
                    yield messages
