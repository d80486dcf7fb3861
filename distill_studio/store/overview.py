"""Counts over all tables, for the home page: one short query per table."""

from distill_studio.store import pairs
from distill_studio.store.database import Database, Row
from distill_studio.store.preferences import RANKS_ONLY


def counts(db: Database) -> Row:
    """Numbers per stage.

    `seeds`, `unanswered` (seeds with no pair, be it a comparison's), the counts of
    `pairs.counts`, `comparable` (seeds with two candidates or more), `preferences`, `snapshots`,
    `runs`, `students` (finished runs) and `comparisons`.
    """
    found = db.row(
        f"""SELECT
        (SELECT count(*) FROM seeds) AS seeds,
        (SELECT count(*) FROM seeds ANTI JOIN pairs ON seeds.id = pairs.seed_id) AS unanswered,
        (SELECT count(*) FROM (SELECT seed_id FROM pairs WHERE {pairs.IS_ANSWER}
            GROUP BY 1 HAVING count(*) > 1)) AS comparable,
        (SELECT count(*) FROM preferences p WHERE outcome = 'win'
            AND NOT {RANKS_ONLY.format(p="p")}) AS preferences,
        (SELECT count(*) FROM snapshots) AS snapshots,
        (SELECT count(*) FROM runs) AS runs,
        (SELECT count(*) FROM runs WHERE state = 'done') AS students,
        (SELECT count(*) FROM comparisons) AS comparisons"""
    )
    return {**pairs.counts(db), **(found or {})}
