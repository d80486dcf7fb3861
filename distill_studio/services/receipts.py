"""A comparison as a sealed text that its voter's browser keeps until the backup has the vote.

A comparison is stored before it is shown, but where the disk goes before a backup of it, the vote
that comes again would be about nothing. With its receipt the comparison can be stored again just as
it was: who it was shown to and which answer stood where cannot be changed without the seal's key,
which only the studio and its backup have.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from distill_studio.core.records import Vote
from distill_studio.store import pairs, preferences
from distill_studio.store.database import Database, Row

_KEPT = (
    "id", "seed_id", "left_pair_id", "right_pair_id", "pair_ids", "source", "repeats", "is_final",
    "created_at",
)  # fmt: skip


def receipts(db: Database, key: str, user: str, votes: Sequence[Vote]) -> dict[str, str]:
    """Vote id -> receipt of its comparison."""
    rows = {row["id"]: row for row in preferences.tasks(db, user, [v.task_id for v in votes])}
    sealed = {task_id: _seal(key, user, row) for task_id, row in rows.items()}
    return {v.id: sealed[v.task_id] for v in votes if v.task_id in sealed}


def store_missing(db: Database, key: str, user: str, votes: Sequence[Vote]) -> int:
    """Store the comparisons that votes bring along and that are not there; returns how many.

    One with a wrong seal, or whose answers are gone, is left out: its vote is then refused.
    """
    brought = {v.task_id: v.receipt for v in votes if v.receipt}
    there = {row["id"] for row in preferences.tasks(db, user, list(brought))}
    rows = [
        row
        for task_id, receipt in brought.items()
        if task_id not in there
        and (row := _opened(key, user, receipt)) is not None
        and row["id"] == task_id
    ]
    answers = {i for row in rows for i in (row["left_pair_id"], row["right_pair_id"])}
    answers |= {i for row in rows for i in row["pair_ids"]}
    known = {pair.id for pair in pairs.get(db, sorted(answers))}
    rows = [
        row
        for row in rows
        if {row["left_pair_id"], row["right_pair_id"], *row["pair_ids"]} <= known
    ]
    preferences.add_tasks(db, rows)
    return len(rows)


def _seal(key: str, user: str, row: Row) -> str:
    kept = {name: row[name] for name in _KEPT}
    text = json.dumps({**kept, "created_at": kept["created_at"].isoformat()}, sort_keys=True)
    return f"{_mark(key, user, text)} {text}"


def _opened(key: str, user: str, receipt: str) -> dict[str, Any] | None:
    mark, _, text = receipt.partition(" ")
    if not hmac.compare_digest(mark, _mark(key, user, text)):
        return None
    row: dict[str, Any] = json.loads(text)
    made = datetime.fromisoformat(row["created_at"])
    return {**row, "user_name": user, "created_at": made}


def _mark(key: str, user: str, text: str) -> str:
    return hmac.new(key.encode(), f"{user}\n{text}".encode(), hashlib.sha256).hexdigest()
