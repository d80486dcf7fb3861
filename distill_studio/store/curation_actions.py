"""What the curate stage applied and undid.

`apply` writes `pairs.curation` and the log that `undo` reads, in one transaction.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row

# What is to become of the rows that are not simply kept, a line each.
TARGETS = pa.schema([
    ("pair_id", pa.string()),
    ("curation", pa.string()),
    ("reason", pa.string()),
    ("code", pa.string()),
    ("score", pa.float64()),
    ("lost_to", pa.string()),
])


def apply(
    db: Database,
    user: str,
    targets: pa.Table,
    settings: Mapping[str, Any],
    report: Mapping[str, Any],
    pipeline: str = "",
) -> tuple[int, int]:
    """Make the rows' curation what `targets` say (all others are kept), with a log for `undo`.

    Args:
        db: The store.
        user: Who.
        targets: As `TARGETS` has it.
        settings: What made them.
        report: What they come to.
        pipeline: The pipeline's name, if any.

    Returns:
        (number of the action, rows changed); (0, 0) when nothing differs, settings included.
    """
    with db.write() as cursor:
        cursor.register("incoming_targets", targets)
        try:
            return _apply(db, user, settings, report, pipeline)
        finally:
            cursor.unregister("incoming_targets")


def _apply(
    db: Database,
    user: str,
    settings: Mapping[str, Any],
    report: Mapping[str, Any],
    pipeline: str,
) -> tuple[int, int]:
    cursor = db.cursor()
    number = int(db.value("SELECT nextval('curation_action_numbers')"))
    cursor.execute(
        """INSERT INTO curation_changes
        SELECT ?, p.id, p.curation, p.curation_reason, coalesce(t.curation, 'kept'),
            coalesce(t.reason, ''), coalesce(t.code, ''), t.score, coalesce(t.lost_to, '')
        FROM pairs p LEFT JOIN incoming_targets t ON t.pair_id = p.id
        WHERE p.curation <> coalesce(t.curation, 'kept')
            OR p.curation_reason <> coalesce(t.reason, '')""",
        [number],
    ).fetchall()
    changed = int(db.value("SELECT count(*) FROM curation_changes WHERE action = ?", [number]))
    latest = latest_action(db)
    is_same = latest and (latest["settings"], latest["pipeline"]) == (dict(settings), pipeline)
    if not changed and is_same:
        return 0, 0
    db.insert(
        "curation_actions",
        [
            {
                "number": number,
                "user_name": user,
                "settings": json.dumps(settings),
                "report": json.dumps(report),
                "made_at": utc_now(),
                "pipeline": pipeline,
            }
        ],
    )
    cursor.execute(
        """UPDATE pairs SET curation = c.curation, curation_reason = c.reason
        FROM curation_changes c WHERE c.action = ? AND c.pair_id = pairs.id""",
        [number],
    ).fetchall()
    return number, changed


def undo(db: Database, user: str) -> Row | None:
    """Take the newest action back exactly; returns it with `changed`, None when none is left."""
    with db.write() as cursor:
        action = latest_action(db)
        if action is None:
            return None
        number = action["number"]
        cursor.execute(
            """UPDATE pairs SET curation = c.curation_before, curation_reason = c.reason_before
            FROM curation_changes c WHERE c.action = ? AND c.pair_id = pairs.id""",
            [number],
        ).fetchall()
        cursor.execute(
            "UPDATE curation_actions SET undone_at = ?, undone_by = ? WHERE number = ?",
            [utc_now(), user, number],
        )
        changed = db.value("SELECT count(*) FROM curation_changes WHERE action = ?", [number])
    return {**action, "changed": int(changed)}


def latest_action(db: Database) -> Row | None:
    """The newest action in force: `number`, `user_name`, `settings`, `report`, `made_at`,
    `pipeline`."""
    row = db.row(
        "SELECT number, user_name, settings, report, made_at, pipeline FROM curation_actions"
        " WHERE undone_at IS NULL ORDER BY number DESC LIMIT 1"
    )
    return _parsed(row) if row else None


def actions(db: Database, limit: int) -> list[Row]:
    """Newest first, undone ones included, each with `changed` rows."""
    rows = db.rows(
        """SELECT a.number, a.user_name, a.settings, a.report, a.made_at, a.undone_at, a.undone_by,
        a.pipeline,
        (SELECT count(*) FROM curation_changes c WHERE c.action = a.number) AS changed
        FROM curation_actions a ORDER BY a.number DESC LIMIT ?""",
        [limit],
    )
    return [_parsed(row) for row in rows]


def last_change(db: Database, pair_id: str) -> Row | None:
    """What the newest action in force said of a row: `curation`, `reason`, `code`, `score`, ..."""
    return db.row(
        """SELECT c.curation, c.reason, c.code, c.score, c.lost_to, a.user_name, a.made_at
        FROM curation_changes c JOIN curation_actions a ON a.number = c.action
        WHERE c.pair_id = ? AND a.undone_at IS NULL ORDER BY c.action DESC LIMIT 1""",
        [pair_id],
    )


def _parsed(row: Row) -> Row:
    return {
        **row,
        "settings": json.loads(row["settings"]),
        "report": json.loads(row["report"]),
    }
