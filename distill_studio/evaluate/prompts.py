"""Held-out prompts: the conversations of a snapshot's validation split, answers left out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from distill_studio.core.records.seed import Message

_COLUMNS = ("prompt", "messages")  # prompt/completion and prompt/chosen/rejected, or messages


def held_out_prompts(split: Path, limit: int) -> list[list[Message]]:
    """The first `limit` different conversations of a Parquet split, each ending in a user turn."""
    with pq.ParquetFile(split) as file:
        wanted = [name for name in _COLUMNS if name in file.schema_arrow.names]
        found: dict[str, list[Message]] = {}
        for batch in file.iter_batches(batch_size=64, columns=wanted):
            for row in batch.to_pylist():
                messages = prompt_of_row(row)
                if messages:
                    found.setdefault(json.dumps([m.content for m in messages]), messages)
                if len(found) >= limit:
                    return list(found.values())
    return list(found.values())


def prompt_of_row(row: Mapping[str, Any]) -> list[Message]:
    """The conversation of a row up to its last user turn; empty when there is none."""
    turns = row.get("prompt") or row.get("messages") or []
    if isinstance(turns, str):
        return [Message(role="user", content=turns)]
    messages = [Message(role=turn["role"], content=turn["content"] or "") for turn in turns]
    while messages and messages[-1].role != "user":
        messages.pop()
    return messages
