"""Which comparisons to show: open ones, candidates for new ones, repeats with sides swapped.

The comparisons themselves are stored by `preferences.add_tasks`, before they are shown.
"""

from collections.abc import Sequence

from distill_studio.core.records import Pair
from distill_studio.store import pairs
from distill_studio.store.database import Database, Row

_DIFFER = "min(content_hash) <> max(content_hash)"  # far cheaper than distinct long texts
_COMPARABLE = f"status <> 'rejected' AND curation = 'kept' AND {pairs.IS_ANSWER}"
_FROM_OPEN_TASKS = f"""FROM comparison_tasks t
ANTI JOIN (SELECT task_id FROM votes_in_force WHERE user_name = $user) v ON v.task_id = t.id
WHERE t.user_name = $user AND t.source = $source
AND t.left_pair_id IN (SELECT id FROM pairs WHERE {_COMPARABLE})
AND t.right_pair_id IN (SELECT id FROM pairs WHERE {_COMPARABLE})"""


def open_tasks(
    db: Database, user: str, limit: int, *, after: str = "", source: str = "person"
) -> list[Row]:
    """Comparisons made for this user, not voted on, both pairs still comparable; oldest first."""
    return db.rows(
        f"""SELECT t.id, t.seed_id, t.left_pair_id, t.right_pair_id, t.repeats {_FROM_OPEN_TASKS}
        AND t.id > $after ORDER BY t.id LIMIT $limit""",
        {"user": user, "source": source, "after": after, "limit": limit},
    )


def count_tasks(db: Database, user: str, source: str = "person") -> int:
    """How many comparisons `open_tasks` would give without a limit."""
    return int(db.value(f"SELECT count(*) {_FROM_OPEN_TASKS}", {"user": user, "source": source}))


def free_candidates(db: Database, user: str, after_seed: str, seeds: int) -> list[Pair]:
    """Candidates in none of this user's comparisons, of the next seeds that have two or more.

    Args:
        db: The store.
        user: For whom.
        after_seed: Keyset: seeds with a greater id only.
        seeds: Seeds at most.
    """
    rows = db.rows(
        f"""WITH free AS (
            SELECT id, seed_id, content_hash FROM pairs
            WHERE {_COMPARABLE} AND seed_id > $after AND id NOT IN (
                SELECT unnest([left_pair_id, right_pair_id]) FROM comparison_tasks
                WHERE user_name = $user AND source = 'person')
        ), chosen AS (
            SELECT seed_id FROM free GROUP BY seed_id
            HAVING {_DIFFER} ORDER BY seed_id LIMIT $seeds
        )
        SELECT id FROM free SEMI JOIN chosen USING (seed_id)""",
        {"after": after_seed, "user": user, "seeds": seeds},
    )
    return pairs.get(db, [r["id"] for r in rows])


def seed_counts(db: Database, user: str) -> Row:
    """`all`: seeds with two or more different candidates; `open`: not compared by this user yet."""
    return (
        db.row(
            f"""WITH compared AS (
                SELECT DISTINCT unnest([left_pair_id, right_pair_id]) AS id FROM comparison_tasks
                WHERE user_name = ? AND source = 'person'
            ), by_seed AS (
                SELECT {_DIFFER} AS differ,
                    min(content_hash) FILTER (c.id IS NULL)
                        <> max(content_hash) FILTER (c.id IS NULL) AS differ_open
                FROM pairs p LEFT JOIN compared c ON c.id = p.id
                WHERE {_COMPARABLE} GROUP BY seed_id HAVING count(*) > 1
            )
            SELECT count(*) FILTER (differ) AS "all", count(*) FILTER (differ_open) AS "open"
            FROM by_seed""",
            [user],
        )
        or {}
    )


def candidate_places(db: Database, seed_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(number by age from 1, how many there are) of each answer, of any status, to these seeds."""
    rows = db.rows(
        f"""SELECT id, row_number() OVER (PARTITION BY seed_id ORDER BY id) AS place,
        count(*) OVER (PARTITION BY seed_id) AS n
        FROM pairs WHERE seed_id IN (SELECT unnest(?::VARCHAR[])) AND {pairs.IS_ANSWER}""",
        [list(dict.fromkeys(seed_ids))],
    )
    return {r["id"]: (r["place"], r["n"]) for r in rows}


def repeatable(db: Database, user: str, min_votes_since: int, limit: int) -> list[Row]:
    """Tasks to show again with sides swapped: voted on long enough ago, not repeated yet."""
    return db.rows(
        f"""WITH mine AS (
            SELECT *, row_number() OVER (ORDER BY seq DESC) AS age FROM votes_in_force
            WHERE user_name = $user AND source = 'person' AND repeats = '' AND outcome <> 'skip')
        SELECT task_id AS id, seed_id, left_pair_id, right_pair_id FROM mine
        WHERE age > $age
          AND task_id NOT IN (SELECT repeats FROM comparison_tasks WHERE user_name = $user)
          AND left_pair_id IN (SELECT id FROM pairs WHERE {_COMPARABLE})
          AND right_pair_id IN (SELECT id FROM pairs WHERE {_COMPARABLE})
        ORDER BY seq LIMIT $limit""",
        {"user": user, "age": min_votes_since, "limit": limit},
    )


def repeat_count(db: Database, user: str) -> int:
    """How many swapped repeats were made for this user."""
    return int(
        db.value(
            "SELECT count(*) FROM comparison_tasks WHERE user_name = ? AND repeats <> ''", [user]
        )
    )


def repeat_outcomes(db: Database, user: str) -> list[Row]:
    """For each repeat voted on: the `first` outcome and the `again` one, as seen on each screen."""
    return db.rows(
        """SELECT o.outcome AS first, r.outcome AS again
        FROM votes_in_force r
        JOIN votes_in_force o ON o.task_id = r.repeats AND o.user_name = r.user_name
        WHERE r.user_name = ? AND r.repeats <> '' AND r.outcome <> 'skip' AND o.outcome <> 'skip'
        ORDER BY r.seq""",
        [user],
    )
