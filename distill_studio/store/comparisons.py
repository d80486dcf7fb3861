"""Which comparisons to show: open ones, candidates for new ones, repeats with sides swapped.

The comparisons themselves are stored by `preferences.add_tasks`, before they are shown. This file
is about two answers at a time; `rankings.py` about three or more.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from distill_studio.core.records import Pair
from distill_studio.core.records.labelling import Portion
from distill_studio.store import leases, pairs
from distill_studio.store.database import Database, Row

_DIFFER = "min(content_hash) <> max(content_hash)"  # far cheaper than distinct long texts
COMPARABLE = f"status <> 'rejected' AND curation = 'kept' AND {pairs.IS_CANDIDATE}"
_FROM_OPEN_TASKS = f"""FROM comparison_tasks t
ANTI JOIN (SELECT task_id FROM votes_standing WHERE user_name = $user AND outcome <> 'skip') v
    ON v.task_id = t.id
WHERE t.user_name = $user AND t.source = $source AND len(t.pair_ids) = 0
AND t.left_pair_id IN (SELECT id FROM pairs WHERE {COMPARABLE})
AND t.right_pair_id IN (SELECT id FROM pairs WHERE {COMPARABLE})
AND (t.repeats <> '' OR coalesce(t.is_final, false)
     OR (least(t.left_pair_id, t.right_pair_id), greatest(t.left_pair_id, t.right_pair_id)) NOT IN (
        SELECT (least(left_pair_id, right_pair_id), greatest(left_pair_id, right_pair_id))
        FROM votes_in_force WHERE user_name = $user AND is_ranking AND outcome <> 'skip'))"""

# Comparisons of others that are voted on or in somebody's hands now, and how many they are for each
# two answers. Skips, swapped repeats and an adjudicator's do not count.
BUSY = """busy AS (
    SELECT task_id, left_pair_id, right_pair_id, user_name, seed_id, is_ranking
    FROM comparison_couples
    WHERE source = 'person' AND repeats = '' AND NOT is_final AND user_name <> $user
      AND (task_id IN (SELECT item_id FROM leases WHERE bench = 'prefer' AND until > $now)
           OR task_id IN (SELECT task_id FROM votes_standing WHERE outcome <> 'skip'))
), couples AS (
    SELECT least(left_pair_id, right_pair_id) AS first_id,
           greatest(left_pair_id, right_pair_id) AS second_id,
           count(DISTINCT user_name) AS n, any_value(seed_id) AS seed_id
    FROM busy GROUP BY ALL
)"""

# The couples of this person that they need not be shown again: those made for {kind}, voted on or
# not, and those that they voted on the other way. What was made the other way and waits for a vote
# does not count: a person may turn from couples to rankings and back at any time.
_SHOWN = """shown AS (
    SELECT left_pair_id, right_pair_id FROM comparison_couples
    WHERE user_name = $user AND source = 'person' AND ({kind} OR task_id IN (
        SELECT task_id FROM votes_standing WHERE user_name = $user AND outcome <> 'skip'))
)"""
SHOWN_COUPLES, SHOWN_RANKINGS = (_SHOWN.format(kind=k) for k in ("NOT is_ranking", "is_ranking"))

# All votes are in, and no say has more than every other.
_DISPUTED = """says AS (
    SELECT first_id, second_id, any_value(seed_id) AS seed_id, say, count(*) AS n
    FROM couple_votes WHERE NOT is_final GROUP BY first_id, second_id, say
), disputed AS (
    SELECT first_id, second_id, any_value(seed_id) AS seed_id
    FROM (SELECT *, rank() OVER (PARTITION BY first_id, second_id ORDER BY n DESC) AS place,
                 sum(n) OVER (PARTITION BY first_id, second_id) AS votes FROM says)
    ANTI JOIN (SELECT first_id, second_id FROM couple_votes WHERE is_final) f
        USING (first_id, second_id)
    WHERE place = 1 AND votes >= (SELECT overlap FROM labelling_overlap)
      AND (SELECT overlap FROM labelling_overlap) > 1
    GROUP BY first_id, second_id HAVING count(*) > 1
)"""


def open_tasks(
    db: Database,
    user: str,
    limit: int,
    *,
    after: str = "",
    source: str = "person",
    now: datetime | None = None,
    overlap: int = 1,
    is_final: bool = False,
) -> list[Row]:
    """Comparisons made for this user, not voted on or skipped, both pairs comparable; oldest first.

    With `now`, those are left out that as many others have done, or have in hand, as the overlap
    asks for. `is_final` gives an adjudicator's instead.
    """
    taken = f"""AND t.id NOT IN (
        WITH {BUSY} SELECT m.id FROM comparison_tasks m JOIN couples c
            ON c.first_id = least(m.left_pair_id, m.right_pair_id)
            AND c.second_id = greatest(m.left_pair_id, m.right_pair_id)
        WHERE m.user_name = $user AND m.repeats = '' AND len(m.pair_ids) = 0
          AND c.n >= $overlap)"""
    params = {"user": user, "source": source, "after": after, "limit": limit, "final": is_final}
    if now is not None and not is_final:
        params |= {"now": now, "overlap": overlap}
    return db.rows(
        f"""SELECT t.id, t.seed_id, t.left_pair_id, t.right_pair_id, t.repeats {_FROM_OPEN_TASKS}
        AND t.id > $after AND coalesce(t.is_final, false) = $final
        {taken if "now" in params else ""} ORDER BY t.id LIMIT $limit""",
        params,
    )


def count_tasks(db: Database, user: str, source: str = "person") -> int:
    """How many comparisons `open_tasks` would give without a limit."""
    return int(db.value(f"SELECT count(*) {_FROM_OPEN_TASKS}", {"user": user, "source": source}))


# How far the votes on two answers are apart: the share that is not the most frequent one's; and
# where a judge's stored preference says what no person does.
_ODDS = """odds AS (
    SELECT first_id, second_id, 1 - max(n) / sum(n) AS apart
    FROM (SELECT first_id, second_id, say, count(*) AS n FROM couple_votes
          WHERE NOT is_final GROUP BY ALL)
    GROUP BY ALL
), judged AS (
    SELECT DISTINCT first_id, second_id, true AS is_alone FROM (
        SELECT least(chosen_pair_id, rejected_pair_id) AS first_id,
               greatest(chosen_pair_id, rejected_pair_id) AS second_id, chosen_pair_id AS say
        FROM preferences WHERE source = 'judge' AND outcome = 'win')
    ANTI JOIN couple_votes USING (first_id, second_id, say)
)"""


def joinable(
    db: Database, portion: Portion, now: datetime, limit: int, *, at_odds_first: bool = False
) -> list[Row]:
    """Two answers that others compare and that want more votes: `seed_id`, `first_id`, `second_id`.

    Only those that this person has not been shown, of their portion; oldest first, or first those
    whose votes so far differ most, then those where no person says what a judge does.
    """
    mine, params = leases.portion_values(portion)
    order = "apart DESC NULLS LAST, apart IS NOT NULL AND is_alone DESC NULLS LAST, "
    return db.rows(
        f"""WITH {BUSY}, {SHOWN_COUPLES}, {_ODDS}
        SELECT c.seed_id, first_id, second_id
        FROM couples c ANTI JOIN (
            SELECT least(left_pair_id, right_pair_id) AS first_id,
                   greatest(left_pair_id, right_pair_id) AS second_id FROM shown
        ) USING (first_id, second_id)
        LEFT JOIN odds USING (first_id, second_id) LEFT JOIN judged USING (first_id, second_id)
        WHERE c.n < $overlap
          AND first_id IN (SELECT id FROM pairs WHERE {COMPARABLE} AND {mine})
          AND second_id IN (SELECT id FROM pairs WHERE {COMPARABLE})
        ORDER BY {order if at_odds_first else ""}first_id LIMIT $limit""",
        {"user": portion.user, "now": now, "overlap": portion.overlap, "limit": limit, **params},
    )


def disputed(db: Database, user: str, limit: int) -> list[Row]:
    """Two answers whose voters are even, unsettled, and not shown to this adjudicator yet."""
    return db.rows(
        f"""WITH {_DISPUTED} SELECT seed_id, first_id, second_id FROM disputed
        ANTI JOIN (SELECT least(left_pair_id, right_pair_id) AS first_id,
                          greatest(left_pair_id, right_pair_id) AS second_id
                   FROM comparison_tasks WHERE is_final AND user_name = $user
        ) USING (first_id, second_id) ORDER BY first_id LIMIT $limit""",
        {"user": user, "limit": limit},
    )


def count_disputed(db: Database) -> int:
    """How many comparisons wait for an adjudicator."""
    return int(db.value(f"WITH {_DISPUTED} SELECT count(*) FROM disputed"))


def free_candidates(
    db: Database, portion: Portion, now: datetime, seeds: int, lot: str = "", least: int = 2
) -> Iterator[list[Pair]]:
    """Candidates that this person was not shown and nobody else compares, some seeds at a time.

    Only of seeds that have enough different ones; none come twice.

    Args:
        db: The store.
        portion: For whom, and what part.
        now: Leases that end later are live.
        seeds: Seeds at a time.
        lot: '' gives the oldest seeds first, another text an order drawn by it.
        least: How many different candidates a seed needs: 2, or more for rankings.
    """
    free, params = _free(portion, now, SHOWN_RANKINGS if least > 2 else SHOWN_COUPLES)
    differ = f"count(DISTINCT content_hash) >= {least:d}" if least > 2 else _DIFFER
    place = "md5(concat(seed_id, $lot))" if lot else "seed_id"
    params |= {"seeds": seeds} | ({"lot": lot} if lot else {})
    after = ""
    while True:
        rows = db.rows(
            f"""WITH {BUSY}, {free}, chosen AS (
                SELECT seed_id, {place} AS place FROM free WHERE {place} > $after
                GROUP BY seed_id HAVING {differ} ORDER BY place LIMIT $seeds
            )
            SELECT id, place FROM free JOIN chosen USING (seed_id)""",
            {**params, "after": after},
        )
        if not rows:
            return
        after = max(row["place"] for row in rows)
        yield pairs.get(db, [row["id"] for row in rows])


def couples_of_models(
    db: Database, portion: Portion, now: datetime, each: int, lot: str
) -> list[Row]:
    """Free candidates of different models that could meet, up to `each` of every two models.

    Drawn by `lot`, so that another text draws others: `first_id`, `second_id` and the models
    `first`, `second`. A candidate may be in several of them, with different models.
    """
    free, params = _free(portion, now)
    return db.rows(
        f"""WITH {BUSY}, {free}, drawn AS (
            SELECT *, row_number() OVER (PARTITION BY seed_id, model ORDER BY md5(concat(id, $lot)))
                AS place FROM free WHERE model <> ''
        )
        SELECT a.id AS first_id, b.id AS second_id, a.model AS first, b.model AS second
        FROM drawn a JOIN drawn b USING (seed_id, place)
        WHERE a.model < b.model AND a.content_hash <> b.content_hash
        QUALIFY row_number() OVER (PARTITION BY first, second
            ORDER BY md5(concat(first_id, second_id, $lot))) <= $each
        ORDER BY md5(concat(first_id, second_id, $lot))""",
        {**params, "each": each, "lot": lot},
    )


def models_asked(db: Database, user: str, now: datetime) -> list[Row]:
    """`first`, `second`: the models of comparisons that wait for a vote.

    This person's open ones, and what others have in hand; no swapped repeats.
    """
    return db.rows(
        f"""SELECT {pairs.MODEL.format(p="l")} AS first, {pairs.MODEL.format(p="r")} AS second
        FROM comparison_couples t
        JOIN pairs l ON l.id = t.left_pair_id JOIN pairs r ON r.id = t.right_pair_id
        WHERE t.source = 'person' AND t.repeats = '' AND t.task_id IN (
            SELECT t.id {_FROM_OPEN_TASKS}
            UNION SELECT item_id FROM leases WHERE bench = 'prefer' AND until > $now)
        AND first <> '' AND second <> ''""",
        {"user": user, "source": "person", "now": now},
    )


def _free(
    portion: Portion, now: datetime, shown: str = SHOWN_COUPLES
) -> tuple[str, dict[str, Any]]:
    """The tables `shown` and `free`, to follow `BUSY`, and the parameters of all."""
    mine, params = leases.portion_values(portion)
    table = f"""{shown}, free AS (
        SELECT id, seed_id, content_hash, {pairs.MODEL.format(p="pairs")} AS model FROM pairs
        WHERE {COMPARABLE} AND {mine}
        AND id NOT IN (SELECT unnest([left_pair_id, right_pair_id]) FROM shown)
        AND id NOT IN (SELECT unnest([left_pair_id, right_pair_id]) FROM busy)
    )"""
    return table, {"user": portion.user, "now": now, **params}


def seed_counts(db: Database, portion: Portion, now: datetime) -> Row:
    """`all`: seeds with two or more different candidates; `open`: still wanting this person's.

    What others have in hand or have done, as often as the overlap asks, is not open.
    """
    mine, params = leases.portion_values(portion)
    return (
        db.row(
            f"""WITH {BUSY}, {SHOWN_COUPLES}, compared AS (
                SELECT unnest([left_pair_id, right_pair_id]) AS id FROM shown
                UNION SELECT unnest([first_id, second_id]) FROM couples WHERE n >= $overlap
                UNION SELECT id FROM pairs WHERE NOT ({mine})
            ), by_seed AS (
                SELECT {_DIFFER} AS differ,
                    min(content_hash) FILTER (c.id IS NULL)
                        <> max(content_hash) FILTER (c.id IS NULL) AS differ_open
                FROM pairs p LEFT JOIN compared c ON c.id = p.id
                WHERE {COMPARABLE} GROUP BY seed_id HAVING count(*) > 1
            )
            SELECT count(*) FILTER (differ) AS "all", count(*) FILTER (differ_open) AS "open"
            FROM by_seed""",
            {"user": portion.user, "now": now, "overlap": portion.overlap, **params},
        )
        or {}
    )


def candidate_places(db: Database, seed_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(number by age from 1, how many there are) of each answer, of any status, to these seeds."""
    rows = db.rows(
        f"""SELECT id, row_number() OVER (PARTITION BY seed_id ORDER BY id) AS place,
        count(*) OVER (PARTITION BY seed_id) AS n
        FROM pairs WHERE seed_id IN (SELECT unnest(?::VARCHAR[])) AND {pairs.IS_CANDIDATE}""",
        [list(dict.fromkeys(seed_ids))],
    )
    return {r["id"]: (r["place"], r["n"]) for r in rows}


def repeatable(db: Database, user: str, min_votes_since: int, limit: int) -> list[Row]:
    """Tasks to show again with sides swapped: voted on long enough ago, not repeated yet."""
    return db.rows(
        f"""WITH mine AS (
            SELECT *, row_number() OVER (ORDER BY seq DESC) AS age FROM votes_in_force
            WHERE user_name = $user AND source = 'person' AND repeats = '' AND outcome <> 'skip'
              AND NOT is_ranking)
        SELECT task_id AS id, seed_id, left_pair_id, right_pair_id FROM mine
        WHERE age > $age
          AND task_id NOT IN (SELECT repeats FROM comparison_tasks WHERE user_name = $user)
          AND left_pair_id IN (SELECT id FROM pairs WHERE {COMPARABLE})
          AND right_pair_id IN (SELECT id FROM pairs WHERE {COMPARABLE})
        ORDER BY seq LIMIT $limit""",
        {"user": user, "age": min_votes_since, "limit": limit},
    )


def repeat_count(db: Database, user: str) -> int:
    """How many swapped repeats were made for this user."""
    return int(
        db.value(
            "SELECT count(*) FROM comparison_tasks"
            " WHERE user_name = ? AND repeats <> '' AND len(pair_ids) = 0",
            [user],
        )
    )


def repeat_outcomes(db: Database, user: str) -> list[Row]:
    """For each repeat voted on: the `first` outcome and the `again` one, as seen on each screen.

    A ranking that was repeated counts once for every two of its answers; `task` tells which.
    """
    return db.rows(
        """SELECT r.task_id AS task, o.outcome AS first, r.outcome AS again
        FROM votes_in_force r
        JOIN votes_in_force o ON o.task_id = r.repeats AND o.user_name = r.user_name
            AND o.left_pair_id = r.right_pair_id AND o.right_pair_id = r.left_pair_id
        WHERE r.user_name = ? AND r.repeats <> '' AND r.outcome <> 'skip' AND o.outcome <> 'skip'
        ORDER BY r.seq""",
        [user],
    )
