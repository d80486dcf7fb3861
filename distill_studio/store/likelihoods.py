"""Losses of answers under language models: which rows lack them, saving, looking up."""

from collections.abc import Sequence

from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import CONTENT_KEY, IS_ANSWER

_MISSING = f"""FROM pairs p LEFT JOIN answer_likelihoods a ON a.pair_id = p.id AND a.model = $model
    WHERE {IS_ANSWER} AND p.status <> 'rejected' AND a.content_key IS DISTINCT FROM {CONTENT_KEY}
    AND trim(coalesce(p.edited_answer, p.answer)) <> ''"""
_LENGTH = "(length(p.messages) + length(coalesce(p.edited_answer, p.answer)))"


def missing(db: Database, model: str, limit: int) -> list[Row]:
    """New and edited rows that the model has not scored, the shortest first.

    Columns: `pair_id`, `content_key`, `messages`, `answer`, `characters`.
    """
    return db.rows(
        f"""SELECT p.id AS pair_id, {CONTENT_KEY} AS content_key, p.messages,
        coalesce(p.edited_answer, p.answer) AS answer, {_LENGTH} AS characters
        {_MISSING} ORDER BY characters, p.id LIMIT $limit""",
        {"model": model, "limit": limit},
    )


def missing_count(db: Database, model: str) -> tuple[int, int]:
    """(rows, characters) that `missing` would give in all."""
    row = db.row(
        f"SELECT count(*) AS rows, coalesce(sum({_LENGTH}), 0) AS characters {_MISSING}",
        {"model": model},
    )
    return (int(row["rows"]), int(row["characters"])) if row else (0, 0)


def save(db: Database, model: str, rows: Sequence[Row]) -> None:
    """Store rows of `answer_likelihoods` (without `model`), in place of what was there."""
    if not rows:
        return
    ids = [row["pair_id"] for row in rows]
    with db.write() as cursor:
        cursor.execute(
            "DELETE FROM answer_likelihoods WHERE model = ? AND pair_id IN (SELECT unnest(?))",
            [model, ids],
        )
        db.insert("answer_likelihoods", [{**row, "model": model} for row in rows])


def use(db: Database, model: str, number_format: str) -> None:
    """Make a model the one that filters without a name mean."""
    with db.write() as cursor:
        cursor.execute(
            "INSERT OR REPLACE INTO likelihood_models VALUES (?, ?, ?)",
            [model, number_format, utc_now()],
        )


def models(db: Database) -> list[Row]:
    """Models that scored, the one used last first: `model`, `number_format`, `used_at`, `rows`."""
    return db.rows(
        """SELECT m.model, m.number_format, m.used_at, (SELECT count(*) FROM answer_likelihoods a
        WHERE a.model = m.model) AS rows FROM likelihood_models m ORDER BY m.used_at DESC"""
    )


def of_pair(db: Database, pair_id: str) -> list[Row]:
    """What models found of a row as it is now: `model`, `tokens`, `loss_given`, `loss_alone`."""
    return db.rows(
        f"""SELECT a.model, a.tokens, a.loss_given, a.loss_alone FROM answer_likelihoods a
        JOIN pairs p ON p.id = a.pair_id
        WHERE a.pair_id = ? AND a.content_key = {CONTENT_KEY} ORDER BY a.model""",
        [pair_id],
    )
