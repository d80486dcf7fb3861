"""What models said of candidates: is a prompt a benchmark's item in other words?

Opinions rank and explain the queue; a verdict of a person always wins (`leaks`). They are
append-only; what counts is the view `leak_opinions_in_force` (migration 0025).
"""

from collections.abc import Sequence

from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row
from distill_studio.store.leaks import CANDIDATES, IS_OPEN

NOTHING_SAID = ("unreadable", "failed")


def to_ask(
    db: Database, pack_ids: Sequence[str], teacher: str, prompt_version: str, most: int
) -> list[Row]:
    """Of the first `most` candidates that no person judged, those this teacher has not read.

    One line for each item and text, likely leaks first: `item_key`, `text_hash`, `prompt` and
    `answer` of the item, `pair_id` of a row with that text. What the teacher said with another
    version of the prompt, and replies that were no use, do not count as read.
    """
    return db.rows(
        f"""WITH first AS (
            SELECT i.item_key, c.text_hash, any_value(i.prompt) AS prompt,
            any_value(i.answer) AS answer, any_value(r.pair_id) AS pair_id, max(c.rank) AS rank
            FROM {CANDIDATES} WHERE {IS_OPEN} AND c.pack IN (SELECT unnest($packs::VARCHAR[]))
            GROUP BY 1, 2 ORDER BY 6 DESC, 1, 2 LIMIT $most)
        SELECT f.item_key, f.text_hash, f.prompt, f.answer, f.pair_id
        FROM first f ANTI JOIN (
            SELECT item_key, text_hash FROM leak_opinions WHERE teacher = $teacher
            AND prompt_version = $version AND NOT list_contains($useless, said)
        ) k ON k.item_key = f.item_key AND k.text_hash = f.text_hash
        ORDER BY f.rank DESC, f.item_key, f.text_hash""",
        {
            "packs": list(pack_ids),
            "most": most,
            "teacher": teacher,
            "version": prompt_version,
            "useless": list(NOTHING_SAID),
        },
    )


def save(db: Database, opinions: Sequence[Row]) -> None:
    """Append opinions: `item_key`, `text_hash`, `teacher`, `model`, `prompt_version`, `said`,
    `reason`, `job_id`, `user_name`."""
    now = utc_now()
    db.insert("leak_opinions", [{**row, "made_at": now} for row in opinions])


def counts_of_job(db: Database, job_id: str) -> dict[str, int]:
    """What a job's opinions say, each item and text once, the newest: said -> how many."""
    rows = db.rows(
        """SELECT said, count(*) AS count FROM (
            SELECT said FROM leak_opinions WHERE job_id = ?
            QUALIFY row_number() OVER (PARTITION BY item_key, text_hash ORDER BY seq DESC) = 1)
        GROUP BY 1 ORDER BY 2 DESC, 1""",
        [job_id],
    )
    return {row["said"]: row["count"] for row in rows}
