"""Replies on a unit's way through a recipe of several steps, and the units that are through."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from distill_studio.core.protocols import ChatReply, ChatRequest
from distill_studio.core.records import Record
from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row


class StoredStep(Record):
    """One request of a unit and its reply."""

    job_id: str = Field(description="The generation.")
    seed_id: str = Field(description="The seed of the unit.")
    sample: int = Field(ge=0, description="The unit's number among those of the seed.")
    step: str = Field(description="Recipe step.")
    teacher: str = Field(description="Who was asked.")
    request: ChatRequest = Field(description="What was sent.")
    reply: ChatReply = Field(description="What came.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")


def save(db: Database, steps: Sequence[StoredStep]) -> None:
    """Store replies. A unit's step is asked once, so none of them is there already."""
    rows = [
        {
            **step.model_dump(exclude={"request", "reply"}),
            "request": step.request.model_dump_json(exclude_defaults=True),
            "reply": step.reply.model_dump_json(exclude_defaults=True),
            "tokens": step.reply.completion_tokens or 0,
        }
        for step in steps
    ]
    db.insert("generation_steps", rows)


def forget(db: Database, job_id: str, seed_id: str, sample: int, steps: Sequence[str]) -> None:
    """Remove replies of a unit, so that they are asked again."""
    if steps:
        with db.write() as cursor:
            cursor.execute(
                "DELETE FROM generation_steps WHERE job_id = ? AND seed_id = ? AND sample = ?"
                " AND step IN (SELECT unnest(?))",
                [job_id, seed_id, sample, list(steps)],
            ).fetchall()


def replies(
    db: Database, job_id: str, first_id: str, last_id: str
) -> dict[tuple[str, int], dict[str, ChatReply]]:
    """(seed, sample) -> step -> reply, for the seeds between two ids."""
    rows = db.rows(
        "SELECT seed_id, sample, step, reply FROM generation_steps"
        " WHERE job_id = ? AND seed_id BETWEEN ? AND ?",
        [job_id, first_id, last_id],
    )
    found: dict[tuple[str, int], dict[str, ChatReply]] = defaultdict(dict)
    for row in rows:
        reply = ChatReply.model_validate_json(row["reply"])
        found[(row["seed_id"], row["sample"])][row["step"]] = reply
    return found


def of_unit(db: Database, job_id: str, seed_id: str, sample: int) -> list[StoredStep]:
    """All steps of a unit in the order in which they were stored."""
    rows = db.rows(
        "SELECT job_id, seed_id, sample, step, teacher, request, reply, created_at"
        " FROM generation_steps WHERE job_id = ? AND seed_id = ? AND sample = ?"
        " ORDER BY created_at, step",
        [job_id, seed_id, sample],
    )
    return [
        StoredStep(**{
            **row,
            "request": json.loads(row["request"]),
            "reply": json.loads(row["reply"]),
        })
        for row in rows
    ]


def end_units(db: Database, job_id: str, units: Sequence[tuple[str, int, int]]) -> None:
    """Mark units, (seed, sample, pairs made), as through."""
    rows: list[Row] = [
        {"job_id": job_id, "seed_id": seed_id, "sample": sample, "pairs": pairs}
        for seed_id, sample, pairs in units
    ]
    db.insert("generation_units", rows)


def through(db: Database, job_id: str) -> int:
    """How many units are through."""
    return int(db.value("SELECT count(*) FROM generation_units WHERE job_id = ?", [job_id]))


def units_through(db: Database, job_id: str, first_id: str, last_id: str) -> set[tuple[str, int]]:
    """(seed, sample) of the units that are through, for the seeds between two ids."""
    rows = db.rows(
        "SELECT seed_id, sample FROM generation_units WHERE job_id = ? AND seed_id BETWEEN ? AND ?",
        [job_id, first_id, last_id],
    )
    return {(row["seed_id"], row["sample"]) for row in rows}
