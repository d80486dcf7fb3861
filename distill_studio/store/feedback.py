"""Feedback: one row per step back from a suite to the data."""

from collections.abc import Sequence

from distill_studio.core.records.feedback import Feedback
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import WAY_BACK

_COLUMNS = """id, trial_id, suite_id, student, kind, numbers, job_id, user_name AS "user",
created_at"""


def insert(db: Database, feedback: Feedback) -> None:
    """Store a new step."""
    row = feedback.model_dump(exclude={"user", "kind", "numbers"})
    row |= {
        "user_name": feedback.user,
        "kind": feedback.kind.value,
        "numbers": list(feedback.numbers),
    }
    db.insert("feedback", [row])


def set_job(db: Database, feedback_id: str, job_id: str) -> None:
    """Name the job that makes the seeds."""
    with db.write() as cursor:
        cursor.execute("UPDATE feedback SET job_id = ? WHERE id = ?", [job_id, feedback_id])


def get(db: Database, feedback_id: str) -> Feedback | None:
    """One step."""
    row = db.row(f"SELECT {_COLUMNS} FROM feedback WHERE id = ?", [feedback_id])
    return Feedback(**row) if row else None


def of_suite(db: Database, suite_id: str) -> list[Feedback]:
    """All steps of a suite, oldest first."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM feedback WHERE suite_id = ? ORDER BY id", [suite_id])
    return [Feedback(**row) for row in rows]


def was_sent_back(db: Database, suite_id: str, prompt_hashes: Sequence[str]) -> bool:
    """Whether anything was made of a suite's losses, or of these prompts on another suite."""
    return bool(
        db.value(
            """SELECT EXISTS (SELECT 1 FROM feedback WHERE suite_id = ?) OR EXISTS (
                SELECT 1 FROM pairs p JOIN seeds s ON s.id = p.seed_id
                WHERE p.recipe = ? AND s.content_hash IN (SELECT unnest(?::VARCHAR[])))""",
            [suite_id, WAY_BACK, list(prompt_hashes)],
        )
    )


def seeds_of(db: Database, feedback_id: str) -> list[Row]:
    """`prompt` and `batch` of the seeds that a step has brought so far."""
    return db.rows(
        """SELECT prompt, CAST(json_extract_string(extra, '$.batch') AS INTEGER) AS batch
        FROM seeds WHERE json_extract_string(extra, '$.feedback') = ?""",
        [feedback_id],
    )
