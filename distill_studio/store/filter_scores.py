"""What the filters measured of each row. Thresholds are applied to it in `curation`."""

from collections.abc import Sequence

import pyarrow as pa

from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import CONTENT_KEY, IS_ANSWER


def rows_to_measure(db: Database, filters: str, limit: int, after: str = "") -> list[Row]:
    """Rows never measured, edited since, or measured by other versions of the filters; from an id
    on."""
    return db.rows(
        f"""SELECT p.id AS pair_id, {CONTENT_KEY} AS content_key, p.prompt, p.messages, p.reasoning,
        p.finish_reason,
        coalesce(p.edited_answer, p.answer) AS answer,
        CASE WHEN p.edited_answer IS NULL THEN p.params ELSE '{{}}' END AS provenance
        FROM pairs p LEFT JOIN measured_pairs m ON m.pair_id = p.id
        WHERE p.id > ? AND {IS_ANSWER}
        AND (m.content_key IS DISTINCT FROM {CONTENT_KEY} OR m.filters <> ?)
        ORDER BY p.id LIMIT ?""",
        [after, filters, limit],
    )


def unmeasured_count(db: Database, filters: str) -> int:
    """How many rows `rows_to_measure` would give."""
    return int(
        db.value(
            f"""SELECT count(*) FROM pairs p LEFT JOIN measured_pairs m ON m.pair_id = p.id
            WHERE {IS_ANSWER}
            AND (m.content_key IS DISTINCT FROM {CONTENT_KEY} OR m.filters <> ?)""",
            [filters],
        )
    )


def save_scores(db: Database, filters: str, rows: Sequence[Row], scores: Sequence[Row]) -> None:
    """Store the scores (`pair_id`, `measure`, `score`, `note`) of measured rows, old ones gone."""
    if not rows:
        return
    ids = [row["pair_id"] for row in rows]
    with db.write() as cursor:
        cursor.execute("DELETE FROM filter_scores WHERE pair_id IN (SELECT unnest(?))", [ids])
        db.insert("filter_scores", scores)
        cursor.register(
            "incoming_measured",
            pa.table({"pair_id": ids, "content_key": [row["content_key"] for row in rows]}),
        )
        try:
            cursor.execute(
                "INSERT OR REPLACE INTO measured_pairs"
                " SELECT pair_id, content_key, ? FROM incoming_measured",
                [filters],
            ).fetchall()
        finally:
            cursor.unregister("incoming_measured")


def privacy_flags(db: Database, pair_ids: list[str]) -> tuple[dict[str, int], int]:
    """Of these pairs: how many hold each kind of personal data (`email`, ..., `secret`), as the
    filters measured them, and how many were never measured."""
    ids = "SELECT unnest(?::VARCHAR[])"
    rows = db.rows(
        f"""SELECT measure, count(DISTINCT pair_id) AS n FROM filter_scores
        WHERE starts_with(measure, 'privacy.') AND score > 0 AND pair_id IN ({ids}) GROUP BY 1""",
        [pair_ids],
    )
    measured = db.row(
        f"SELECT count(*) AS n FROM measured_pairs WHERE pair_id IN ({ids})", [pair_ids]
    )
    kinds = {row["measure"].removeprefix("privacy."): row["n"] for row in rows}
    return kinds, len(set(pair_ids)) - (measured["n"] if measured else 0)


def scores_of(db: Database, pair_id: str) -> list[Row]:
    """All scores of a row: `measure`, `score`, `note`."""
    return db.rows(
        "SELECT measure, score, note FROM filter_scores WHERE pair_id = ? ORDER BY 1", [pair_id]
    )
