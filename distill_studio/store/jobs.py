"""Jobs and their logs."""

import json
from collections.abc import Sequence
from typing import Any

from distill_studio.core.records import Job, JobState
from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row

_COLUMNS = """id, kind, title, state, user_name AS "user", params, result, done, total, note,
error, waits_for, cancel_requested, created_at, started_at, ended_at"""

_PROGRESS = {"done", "total", "note"}


def insert(db: Database, job: Job) -> None:
    """Store a new job."""
    row = job.model_dump(exclude={"user", "params", "result", "state"})
    row |= {
        "user_name": job.user,
        "state": job.state.value,
        "params": json.dumps(job.params, default=str),
        "result": json.dumps(job.result, default=str),
    }
    db.insert("jobs", [row])


def update(db: Database, job_id: str, **fields: Any) -> None:  # noqa: ANN401  (column values)
    """Set columns of a job."""
    for name in ("params", "result"):
        if name in fields:
            fields[name] = json.dumps(fields[name], default=str)
    if "state" in fields:
        fields["state"] = str(fields["state"])
    sets = ", ".join(f"{name} = ?" for name in fields)
    with db.write(is_quiet=fields.keys() <= _PROGRESS) as cursor:
        cursor.execute(f"UPDATE jobs SET {sets} WHERE id = ?", [*fields.values(), job_id])


def get(db: Database, job_id: str) -> Job | None:
    """One job."""
    row = db.row(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", [job_id])
    return _from_row(row) if row else None


def page(
    db: Database,
    *,
    kinds: Sequence[str] = (),
    states: Sequence[JobState] = (),
    limit: int = 50,
) -> list[Job]:
    """Newest first."""
    rows = db.rows(
        f"""SELECT {_COLUMNS} FROM jobs
        WHERE (len(?) = 0 OR list_contains(?, kind)) AND (len(?) = 0 OR list_contains(?, state))
        ORDER BY id DESC LIMIT ?""",
        [list(kinds), list(kinds), [s.value for s in states], [s.value for s in states], limit],
    )
    return [_from_row(row) for row in rows]


def log(db: Database, job_id: str, message: str) -> None:
    """Add a line to a job's log."""
    row = {"job_id": job_id, "made_at": utc_now(), "message": message}
    db.insert("job_events", [row], is_quiet=True)


def events(db: Database, job_id: str, limit: int = 200) -> list[Row]:
    """The newest log lines, oldest first: `made_at`, `message`."""
    rows = db.rows(
        "SELECT made_at, message FROM job_events WHERE job_id = ? ORDER BY made_at DESC LIMIT ?",
        [job_id, limit],
    )
    return rows[::-1]


def _from_row(row: Row) -> Job:
    return Job(**{**row, "params": json.loads(row["params"]), "result": json.loads(row["result"])})
