"""What the demo's rules read."""

from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import IS_ANSWER


def finished_over_cut(db: Database) -> list[Row]:
    """Per seed a candidate that ended by itself and one cut off: `seed_id`, `chosen`, `rejected`.

    Only candidates that the curate stage did not set aside as duplicates; one row per seed.
    """
    return db.rows(
        f"""SELECT seed_id, min(id) FILTER (finish_reason = 'stop') AS chosen,
        min(id) FILTER (finish_reason = 'length') AS rejected
        FROM pairs WHERE curation <> 'duplicate' AND {IS_ANSWER} GROUP BY seed_id
        HAVING chosen IS NOT NULL AND rejected IS NOT NULL ORDER BY seed_id"""
    )


def has_rule_preferences(db: Database) -> bool:
    """True once the rule was applied."""
    return bool(db.value("SELECT count(*) > 0 FROM preferences WHERE source = 'rule'"))
