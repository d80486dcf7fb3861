"""Feedback: one row per step back from a suite to the data."""

from collections.abc import Sequence

from distill_studio.core.records.base import utc_now
from distill_studio.core.records.feedback import Feedback
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import WAY_BACK

_COLUMNS = """id, trial_id, suite_id, student, kind, numbers, job_id, made, sent_at, undone_at,
undone_by, user_name AS "user", created_at"""
_MADE_BY = """(id IN (SELECT unnest(made) FROM feedback WHERE id = $step)
    OR (SELECT len(made) = 0 FROM feedback WHERE id = $step) AND source IN ('rule', 'judge')
        AND chosen_pair_id IN (SELECT id FROM pairs WHERE job_id = $step))"""
_SEEDS_OF = "json_extract_string(extra, '$.feedback') = $step"


def insert(db: Database, feedback: Feedback) -> None:
    """Store a new step."""
    row = feedback.model_dump(exclude={"user", "kind", "numbers", "made"})
    row |= {
        "user_name": feedback.user,
        "kind": feedback.kind.value,
        "numbers": list(feedback.numbers),
        "made": list(feedback.made),
    }
    db.insert("feedback", [row])


def mark_sent(db: Database, feedback_id: str) -> None:
    """Something of the step is data now; a mark that is there stays."""
    with db.write() as cursor:
        cursor.execute(
            "UPDATE feedback SET sent_at = ? WHERE id = ? AND sent_at IS NULL",
            [utc_now(), feedback_id],
        )


def mark_undone(db: Database, feedback_id: str, user: str) -> None:
    """The step counts no more."""
    with db.write() as cursor:
        cursor.execute(
            "UPDATE feedback SET undone_at = ?, undone_by = ? WHERE id = ?",
            [utc_now(), user, feedback_id],
        )


def get(db: Database, feedback_id: str) -> Feedback | None:
    """One step."""
    row = db.row(f"SELECT {_COLUMNS} FROM feedback WHERE id = ?", [feedback_id])
    return Feedback(**row) if row else None


def of_suite(db: Database, suite_id: str) -> list[Feedback]:
    """All steps of a suite, oldest first."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM feedback WHERE suite_id = ? ORDER BY id", [suite_id])
    return [Feedback(**row) for row in rows]


def live_of_students(db: Database, students: Sequence[str]) -> list[Feedback]:
    """Steps that sent back what these students (ids of cards) lost, those undone left out."""
    rows = db.rows(
        f"""SELECT {_COLUMNS} FROM feedback WHERE sent_at IS NOT NULL AND undone_at IS NULL
        AND student IN (SELECT unnest(?::VARCHAR[])) ORDER BY id""",
        [list(students)],
    )
    return [Feedback(**row) for row in rows]


def was_sent_back(db: Database, suite_id: str, prompt_hashes: Sequence[str]) -> bool:
    """Whether anything was made of a suite's losses, or of these prompts on another suite.

    What sent nothing, or was undone, does not count.
    """
    return bool(
        db.value(
            """SELECT EXISTS (SELECT 1 FROM feedback WHERE suite_id = ? AND sent_at IS NOT NULL
                AND undone_at IS NULL) OR EXISTS (
                SELECT 1 FROM pairs p JOIN seeds s ON s.id = p.seed_id
                WHERE p.recipe = ? AND s.content_hash IN (SELECT unnest(?::VARCHAR[]))
                AND p.job_id NOT IN (SELECT id FROM feedback WHERE undone_at IS NOT NULL))""",
            [suite_id, WAY_BACK, list(prompt_hashes)],
        )
    )


def seeds_of(db: Database, feedback_id: str) -> list[Row]:
    """`id`, `prompt` and `batch` of the seeds that a step has brought so far."""
    return db.rows(
        f"""SELECT id, prompt, CAST(json_extract_string(extra, '$.batch') AS INTEGER) AS batch
        FROM seeds WHERE {_SEEDS_OF}""",
        {"step": feedback_id},
    )


def rows_of(db: Database, feedback_id: str) -> Row:
    """What a step made: ids of its `preferences` and of the `pairs` of these; how many `votes` by
    people are on them, and how many `answers` its new prompts have."""
    found = db.rows(
        f"SELECT id, chosen_pair_id, rejected_pair_id FROM preferences WHERE {_MADE_BY}",
        {"step": feedback_id},
    )
    pairs = sorted({r[side] for r in found for side in ("chosen_pair_id", "rejected_pair_id")})
    votes = db.value(
        """SELECT count(*) FROM votes v JOIN comparison_tasks t ON t.id = v.task_id
        WHERE t.left_pair_id IN (SELECT unnest($pairs::VARCHAR[]))
        OR t.right_pair_id IN (SELECT unnest($pairs::VARCHAR[]))
        OR list_has_any(t.pair_ids, $pairs::VARCHAR[])""",
        {"pairs": pairs},
    )
    answers = db.value(
        f"""SELECT count(*) FROM pairs WHERE recipe <> $recipe
        AND seed_id IN (SELECT id FROM seeds WHERE {_SEEDS_OF})""",
        {"recipe": WAY_BACK, "step": feedback_id},
    )
    return {
        "preferences": [row["id"] for row in found],
        "pairs": pairs,
        "votes": int(votes or 0),
        "answers": int(answers or 0),
    }


def forget(db: Database, feedback_id: str) -> None:
    """Delete what a step made and nobody has touched: preferences, their pairs, new prompts.

    A pair or prompt that another step needs stays.
    """
    made = rows_of(db, feedback_id)
    with db.write() as cursor:
        cursor.execute(
            "DELETE FROM preferences WHERE id IN (SELECT unnest(?::VARCHAR[]))",
            [made["preferences"]],
        )
        free = [
            row["id"]
            for row in db.rows(
                """SELECT id FROM pairs WHERE id IN (SELECT unnest($pairs::VARCHAR[]))
                AND recipe = $recipe
                AND id NOT IN (SELECT chosen_pair_id FROM preferences)
                AND id NOT IN (SELECT rejected_pair_id FROM preferences)""",
                {"pairs": made["pairs"], "recipe": WAY_BACK},
            )
        ]
        cursor.execute(
            """DELETE FROM comparison_tasks WHERE left_pair_id IN (SELECT unnest($1::VARCHAR[]))
            OR right_pair_id IN (SELECT unnest($1::VARCHAR[]))
            OR list_has_any(pair_ids, $1::VARCHAR[])""",
            [free],
        )
        cursor.execute("DELETE FROM pairs WHERE id IN (SELECT unnest(?::VARCHAR[]))", [free])
        cursor.execute(
            f"DELETE FROM seeds WHERE {_SEEDS_OF} AND id NOT IN (SELECT seed_id FROM pairs)",
            {"step": feedback_id},
        )
