"""Which rankings to show: open ones, those that others have begun, repeats the other way round.

A ranking is a comparison of three or more answers; stored by `preferences.add_tasks` before it is
shown, and voted on like one of two. Candidates for new ones: `comparisons.free_candidates`.
"""

from datetime import datetime

from distill_studio.core.records.labelling import Portion
from distill_studio.core.records.preference import FEWEST_RANKED
from distill_studio.store import leases
from distill_studio.store.comparisons import BUSY, COMPARABLE, SHOWN_RANKINGS
from distill_studio.store.database import Database, Row

# Rankings with an answer that is not comparable any more.
_SPOILT = f"""SELECT id FROM (
    SELECT id, unnest(pair_ids) AS pair_id FROM comparison_tasks WHERE len(pair_ids) > 0
) WHERE pair_id NOT IN (SELECT id FROM pairs WHERE {COMPARABLE})"""
_COUPLE = "least(k.left_pair_id, k.right_pair_id), greatest(k.left_pair_id, k.right_pair_id)"


def open_rankings(
    db: Database, user: str, limit: int, *, now: datetime, overlap: int, after: str = ""
) -> list[Row]:
    """Rankings made for this user that want their vote, oldest first: `id`, `pair_ids`, `repeats`.

    Left out are those of which an answer is not comparable any more, those of which this person
    has compared two by themselves, and those of which two have as many votes, or are in as many
    others' hands, as the overlap asks for.
    """
    return db.rows(
        f"""WITH {BUSY}, unwanted AS (
            SELECT k.task_id FROM comparison_couples k JOIN couples c
                ON (c.first_id, c.second_id) = ({_COUPLE})
            WHERE k.user_name = $user AND k.is_ranking AND k.repeats = '' AND c.n >= $overlap
            UNION ALL
            SELECT k.task_id FROM comparison_couples k JOIN couple_votes v
                ON (v.first_id, v.second_id) = ({_COUPLE})
            WHERE k.user_name = $user AND k.is_ranking AND k.repeats = ''
              AND v.user_name = $user AND NOT v.is_final
        )
        SELECT t.id, t.seed_id, t.left_pair_id, t.right_pair_id, t.pair_ids, t.repeats
        FROM comparison_tasks t
        ANTI JOIN (SELECT task_id FROM votes_standing
                   WHERE user_name = $user AND outcome <> 'skip') v ON v.task_id = t.id
        WHERE t.user_name = $user AND t.source = 'person' AND len(t.pair_ids) > 0 AND t.id > $after
          AND t.id NOT IN (SELECT task_id FROM unwanted) AND t.id NOT IN ({_SPOILT})
        ORDER BY t.id LIMIT $limit""",
        {"user": user, "limit": limit, "now": now, "overlap": overlap, "after": after},
    )


def joinable(db: Database, portion: Portion, now: datetime, limit: int) -> list[Row]:
    """Answers that others rank and that want more votes: `seed_id`, `pair_ids` in no order.

    Only where this person has been shown none of them, of their portion; oldest first.
    """
    mine, params = leases.portion_values(portion)
    return db.rows(
        f"""WITH {BUSY}, {SHOWN_RANKINGS}, begun AS (
            SELECT list_sort(pair_ids) AS pair_ids, min(id) AS id, any_value(seed_id) AS seed_id
            FROM comparison_tasks
            WHERE id IN (SELECT task_id FROM busy WHERE is_ranking)
              AND id NOT IN (
                SELECT k.task_id FROM comparison_couples k JOIN couples c
                    ON (c.first_id, c.second_id) = ({_COUPLE}) WHERE c.n >= $overlap)
              AND id NOT IN ({_SPOILT})
            GROUP BY 1
        )
        SELECT seed_id, pair_ids FROM begun
        WHERE pair_ids[1] IN (SELECT id FROM pairs WHERE {mine})
          AND id NOT IN (SELECT id FROM (SELECT id, unnest(pair_ids) AS pair_id FROM begun)
            WHERE pair_id IN (SELECT unnest([left_pair_id, right_pair_id]) FROM shown))
        ORDER BY id LIMIT $limit""",
        {"user": portion.user, "now": now, "overlap": portion.overlap, "limit": limit, **params},
    )


def count_open(db: Database, portion: Portion, now: datetime) -> int:
    """About how many rankings are left: open ones, and prompts with enough answers for a new one.

    Those that others have begun and that want more votes are counted as well.
    """
    mine, params = leases.portion_values(portion)
    values = {"user": portion.user, "now": now, "overlap": portion.overlap}
    free = db.value(
        f"""WITH {BUSY}, {SHOWN_RANKINGS}
        SELECT count(*) FROM (
            SELECT seed_id FROM pairs WHERE {COMPARABLE} AND {mine}
              AND id NOT IN (SELECT unnest([left_pair_id, right_pair_id]) FROM shown)
              AND id NOT IN (SELECT unnest([first_id, second_id]) FROM couples WHERE n >= $overlap)
            GROUP BY seed_id HAVING count(DISTINCT content_hash) >= {FEWEST_RANKED})""",
        {**values, **params},
    )
    waiting = open_rankings(db, portion.user, 10_000, now=now, overlap=portion.overlap)
    return int(free) + len(waiting)


def count_seeds(db: Database) -> int:
    """Prompts with enough different answers for a ranking."""
    return int(
        db.value(
            f"""SELECT count(*) FROM (SELECT seed_id FROM pairs WHERE {COMPARABLE}
            GROUP BY seed_id HAVING count(DISTINCT content_hash) >= {FEWEST_RANKED})"""
        )
    )


def repeatable(db: Database, user: str, min_votes_since: int, limit: int) -> list[Row]:
    """Rankings to show again the other way round: voted on long enough ago, not repeated yet."""
    return db.rows(
        f"""WITH mine AS (
            SELECT v.seq, t.id, t.seed_id, t.pair_ids,
                row_number() OVER (ORDER BY v.seq DESC) AS age
            FROM votes_standing v JOIN comparison_tasks t ON t.id = v.task_id
            WHERE v.user_name = $user AND v.outcome <> 'skip' AND t.source = 'person'
              AND t.repeats = '' AND len(t.pair_ids) > 0
        )
        SELECT id, seed_id, pair_ids FROM mine
        WHERE age > $age
          AND id NOT IN (SELECT repeats FROM comparison_tasks WHERE user_name = $user)
          AND id NOT IN ({_SPOILT})
        ORDER BY seq LIMIT $limit""",
        {"user": user, "age": min_votes_since, "limit": limit},
    )


def repeat_count(db: Database, user: str) -> int:
    """How many rankings were made for this user to be done again."""
    return int(
        db.value(
            "SELECT count(*) FROM comparison_tasks"
            " WHERE user_name = ? AND repeats <> '' AND len(pair_ids) > 0",
            [user],
        )
    )
