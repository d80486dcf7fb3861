"""What judges said of stored comparisons, and whose votes count in the arena.

Verdicts are append-only; what counts is the view `arena_verdicts_in_force` (migration 0039). The
vote that follows from one is a row of `preferences` with source `judge`, kept in step by `save`.
"""

from collections.abc import Iterator, Sequence

from distill_studio.core.records import Preference
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.comparison import Comparison
from distill_studio.store import evaluations, preferences
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import WAY_BACK

NOTHING_SAID = ("unreadable", "failed")
_A_PAGE = 200


def comparisons(db: Database) -> Iterator[Comparison]:
    """All stored comparisons: those that people voted on first, then the newest; no verdicts."""
    for is_voted in (True, False):
        before = ""
        while True:
            found = evaluations.page_by_vote(db, is_voted, before=before, limit=_A_PAGE)
            yield from found
            if len(found) < _A_PAGE:
                break
            before = found[-1].id


def couples_read(
    db: Database, voter: str, prompt_version: str, comparison_ids: Sequence[str]
) -> dict[str, set[tuple[int, int]]]:
    """The couples (places) of these comparisons that this judge has read, with these texts.

    Replies that were no use do not count as read.
    """
    rows = db.rows(
        """SELECT comparison_id, left_place, right_place FROM arena_verdicts_in_force
        WHERE voter = ? AND prompt_version = ? AND NOT list_contains(?, said)
          AND comparison_id IN (SELECT unnest(?::VARCHAR[]))""",
        [voter, prompt_version, list(NOTHING_SAID), list(comparison_ids)],
    )
    found: dict[str, set[tuple[int, int]]] = {}
    for row in rows:
        found.setdefault(row["comparison_id"], set()).add((row["left_place"], row["right_place"]))
    return found


def comparisons_of_job(db: Database, job_id: str) -> list[str]:
    """The comparisons of which a job has stored a verdict, a useless one as well."""
    rows = db.rows(
        "SELECT DISTINCT comparison_id FROM arena_verdicts WHERE job_id = ? ORDER BY 1", [job_id]
    )
    return [row["comparison_id"] for row in rows]


def save(db: Database, verdict: Row, preference: Preference | None) -> None:
    """Append a verdict; its preference takes the place of what this voter said of them before.

    Args:
        db: The store.
        verdict: The columns of `arena_verdicts` but `seq`, `preference_id` and `made_at`.
        preference: None where nothing was said; then an earlier one stays.
    """
    with db.write() as cursor:
        if preference is not None:
            cursor.execute(
                """DELETE FROM preferences WHERE id IN (
                    SELECT preference_id FROM arena_verdicts WHERE voter = ? AND comparison_id = ?
                      AND left_place = ? AND right_place = ? AND preference_id <> '')""",
                [verdict[k] for k in ("voter", "comparison_id", "left_place", "right_place")],
            ).fetchall()
            preferences.insert(db, [preference])
        made = preference.id if preference else ""
        db.insert("arena_verdicts", [{**verdict, "preference_id": made, "made_at": utc_now()}])


def counts_of_job(db: Database, job_id: str) -> dict[str, int]:
    """What a job's verdicts say, each two answers once, the newest: said -> how many."""
    rows = db.rows(
        """SELECT said, count(*) AS count FROM (
            SELECT said FROM arena_verdicts WHERE job_id = ? QUALIFY row_number() OVER (
                PARTITION BY comparison_id, left_place, right_place ORDER BY seq DESC) = 1)
        GROUP BY 1 ORDER BY 2 DESC, 1""",
        [job_id],
    )
    return {row["said"]: row["count"] for row in rows}


def readings(db: Database) -> list[Row]:
    """Verdicts in force: `voter`, `judge`, `model`, `prompt`, `said`, `forward`, `swapped`.

    `prompt` stands for the conversation; `said` is left, right, tie, unreadable or failed.
    """
    return db.rows(
        """SELECT v.voter, v.judge, v.model, md5(c.messages::VARCHAR) AS prompt, v.said,
        v.forward, v.swapped
        FROM arena_verdicts_in_force v JOIN comparisons c ON c.id = v.comparison_id
        ORDER BY v.voter, v.seq"""
    )


def read_counts(db: Database) -> dict[str, int]:
    """Voter -> comparisons of which it has said something."""
    rows = db.rows(
        """SELECT voter, count(DISTINCT comparison_id) AS n FROM arena_verdicts
        WHERE NOT list_contains(?, said) GROUP BY 1""",
        [list(NOTHING_SAID)],
    )
    return {row["voter"]: row["n"] for row in rows}


def compared_models(db: Database) -> list[Row]:
    """The models of all comparisons: `id` (role:name), `label`, `model`."""
    return db.rows(
        """SELECT DISTINCT json_extract_string(card, '$.id') AS id,
        json_extract_string(card, '$.label') AS label,
        json_extract_string(card, '$.model') AS model
        FROM (SELECT unnest(json_extract(answers, '$[*].card')) AS card FROM comparisons)
        ORDER BY ALL"""
    )


def counts(db: Database) -> Row:
    """`comparisons` side by side; `way_back`: people's votes that do not count, since what is
    compared there was chosen for having been lost."""
    return (
        db.row(
            f"""SELECT (SELECT count(*) FROM comparisons) AS comparisons,
            (SELECT count(*) FROM preferences f JOIN pairs c ON c.id = f.chosen_pair_id
             WHERE f.source = 'person' AND c.recipe = '{WAY_BACK}') AS way_back"""
        )
        or {}
    )
