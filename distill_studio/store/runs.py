"""Runs: one row per training."""

import json
from datetime import datetime
from typing import Any

from distill_studio.core.records import Run
from distill_studio.store.database import Database, Row

_COLUMNS = """id, name, method, snapshot_id, config, state, job_id, pid, pid_started, metrics,
error, user_name AS "user", created_at, ended_at"""


def insert(db: Database, run: Run) -> None:
    """Store a new run."""
    row = run.model_dump(exclude={"user", "config", "metrics", "state"})
    row |= {
        "user_name": run.user,
        "state": run.state.value,
        "config": json.dumps(run.config),
        "metrics": json.dumps(run.metrics),
    }
    db.insert("runs", [row])


def update(db: Database, name: str, **fields: Any) -> None:  # noqa: ANN401  (column values)
    """Set columns of a run."""
    for key in ("config", "metrics"):
        if key in fields:
            fields[key] = json.dumps(fields[key])
    if "state" in fields:
        fields["state"] = str(fields["state"])
    sets = ", ".join(f"{column} = ?" for column in fields)
    with db.write() as cursor:
        cursor.execute(f"UPDATE runs SET {sets} WHERE name = ?", [*fields.values(), name])


def is_after(db: Database, name: str, moment: datetime) -> bool:
    """True when the run of that name is newer: what was then so called is another model."""
    run = get(db, name)
    return run is not None and run.created_at > moment


def get(db: Database, name: str) -> Run | None:
    """The run of that name."""
    row = db.row(f"SELECT {_COLUMNS} FROM runs WHERE name = ?", [name])
    return _from_row(row) if row else None


def page(db: Database, *, after: str = "", limit: int = 50) -> list[Run]:
    """Newest first, from the id `after` on."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM runs WHERE ? = '' OR id < ? ORDER BY id DESC LIMIT ?",
        [after, after, limit],
    )
    return [_from_row(row) for row in rows]


def unfinished(db: Database) -> list[Run]:
    """All runs that are not done, newest first."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM runs WHERE state <> 'done' ORDER BY id DESC")
    return [_from_row(row) for row in rows]


def delete(db: Database, name: str) -> None:
    """Forget a run and what was noted of it."""
    with db.write() as cursor:
        cursor.execute(
            "DELETE FROM run_notes WHERE run_id IN (SELECT id FROM runs WHERE name = ?)", [name]
        ).fetchall()
        cursor.execute("DELETE FROM runs WHERE name = ?", [name])


def _from_row(row: Row) -> Run:
    decoded = {"config": json.loads(row["config"]), "metrics": json.loads(row["metrics"])}
    return Run(**{**row, **decoded})
