"""Requests that failed: kept as rows with their reason until they are answered."""

from collections.abc import Sequence

from distill_studio.core.records import Failure
from distill_studio.store.database import Database, Row

_COLUMNS = "job_id, seed_id, step, sample, teacher, code, reason, text, attempts, created_at"


def save(db: Database, failures: Sequence[Failure]) -> None:
    """Store failures, one for each unit (seed and sample): the newest takes the place."""
    with db.write() as cursor:
        for failure in failures:
            cursor.execute(
                "DELETE FROM failures"
                " WHERE job_id = ? AND seed_id = ? AND sample = ? AND step <> ?",
                [failure.job_id, failure.seed_id, failure.sample, failure.step],
            ).fetchall()
            cursor.execute(
                f"""INSERT INTO failures ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET teacher = excluded.teacher, code = excluded.code,
                reason = excluded.reason, text = excluded.text, created_at = excluded.created_at,
                attempts = excluded.attempts, due = FALSE""",
                [getattr(failure, name) for name in _COLUMNS.split(", ")],
            ).fetchall()


def forget(db: Database, job_id: str, units: Sequence[tuple[str, int]]) -> None:
    """Remove the failures of units, (seed, sample)."""
    if not units or not db.value("SELECT 1 FROM failures WHERE job_id = ? LIMIT 1", [job_id]):
        return
    with db.write() as cursor:
        for seed_id, sample in units:
            cursor.execute(
                "DELETE FROM failures WHERE job_id = ? AND seed_id = ? AND sample = ?",
                [job_id, seed_id, sample],
            ).fetchall()


def make_due(db: Database, job_id: str, *, but_codes: Sequence[str] = ()) -> None:
    """Have the failures of a generation asked again, those with `but_codes` not."""
    with db.write() as cursor:
        cursor.execute(
            "UPDATE failures SET due = TRUE WHERE job_id = ? AND NOT list_contains(?, code)",
            [job_id, list(but_codes)],
        ).fetchall()


def standing(
    db: Database, job_id: str, first_id: str, last_id: str
) -> dict[tuple[str, int], tuple[int, bool]]:
    """(seed, sample) -> how often its replies were no use, and whether it is to be asked again."""
    rows = db.rows(
        "SELECT seed_id, sample, attempts, due FROM failures"
        " WHERE job_id = ? AND seed_id BETWEEN ? AND ?",
        [job_id, first_id, last_id],
    )
    return {(r["seed_id"], r["sample"]): (r["attempts"], bool(r["due"])) for r in rows}


def page(db: Database, job_id: str, limit: int = 50) -> list[Failure]:
    """A generation's failures, newest first."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM failures WHERE job_id = ?"
        " ORDER BY created_at DESC, seed_id, step, sample LIMIT ?",
        [job_id, limit],
    )
    return [Failure(**row) for row in rows]


def count(db: Database, job_id: str) -> int:
    """How many units of a generation have failed, those aside that are being asked again."""
    return int(db.value("SELECT count(*) FROM failures WHERE job_id = ? AND NOT due", [job_id]))


def by_reason(db: Database, job_id: str, limit: int = 5) -> list[Row]:
    """`teacher`, `code`, `reason`, `count`, `text` (one reply): the most frequent reasons first."""
    return db.rows(
        """SELECT teacher, code, reason, count(*) AS count, max(text) AS text
        FROM failures WHERE job_id = ?
        GROUP BY teacher, code, reason ORDER BY count DESC, reason LIMIT ?""",
        [job_id, limit],
    )
