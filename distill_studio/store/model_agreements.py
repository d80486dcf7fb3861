"""Samples of texts to compare two embedding models on, and what came of it."""

import json
from collections.abc import Sequence

import numpy as np

from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row
from distill_studio.store.embeddings import Field, WindowRows, has_text, text_sides, unit_hashes
from distill_studio.store.pairs import IS_ANSWER


def sample_units(db: Database, field: Field, limit: int) -> list[Row]:
    """Distinct texts (or couples) at random, the same ones each time.

    Columns: `prompt_hash`, `answer_hash`, `pair_id` (a row that has them).
    """
    prompt, answer = unit_hashes(field)
    return db.rows(
        f"""SELECT {prompt} AS prompt_hash, {answer} AS answer_hash, min(t.pair_id) AS pair_id
        FROM pair_texts t JOIN pairs p ON p.id = t.pair_id
        WHERE p.status <> 'rejected' AND {IS_ANSWER} AND {has_text(field)}
        GROUP BY 1, 2 ORDER BY md5({prompt} || {answer}) LIMIT ?""",
        [limit],
    )


def sample_near(db: Database, model: str, field: Field, limit: int) -> list[Row]:
    """Both ends of stored near pairs of a model, drawn evenly over their similarity.

    Columns as `sample_units`; the same ones each time.
    """
    prompt, answer = unit_hashes(field)
    return db.rows(
        f"""WITH drawn AS (
            SELECT a, b, row_number() OVER (
                PARTITION BY floor(similarity * 50) ORDER BY md5(a || '-' || b)) AS turn
            FROM near_pairs_in_force WHERE model = $model AND field = $field
            ORDER BY turn, md5(a || '-' || b) LIMIT $limit),
        ends AS (SELECT a AS number FROM drawn UNION SELECT b FROM drawn)
        SELECT u.prompt_hash, u.answer_hash, min(t.pair_id) AS pair_id
        FROM dedup_units u JOIN ends USING (number)
        JOIN pair_texts t ON {prompt} = u.prompt_hash AND {answer} = u.answer_hash
        JOIN pairs p ON p.id = t.pair_id
        WHERE u.model = $model AND u.field = $field AND p.status <> 'rejected' AND {IS_ANSWER}
        GROUP BY 1, 2 ORDER BY 1, 2""",
        {"model": model, "field": field, "limit": limit},
    )


def texts_of_units(units: Sequence[Row], field: Field) -> list[tuple[str, str, str]]:
    """(text hash, id of a pair that has it, 'prompt' or 'answer') of units, each text once."""
    found = {
        unit[f"{side}_hash"]: (unit[f"{side}_hash"], unit["pair_id"], side)
        for side in text_sides(field)
        for unit in units
    }
    return list(found.values())


def windows_of(db: Database, model: str, dim: int, hashes: Sequence[str]) -> WindowRows:
    """Stored vectors by text hash, a row per window; texts without vectors are left out."""
    rows = db.rows(
        f"""SELECT text_hash, vector FROM vectors_{int(dim)}
        WHERE model = ? AND text_hash IN (SELECT unnest(?)) ORDER BY text_hash, window_no""",
        [model, list(hashes)],
    )
    found: dict[str, list[np.ndarray]] = {}
    for row in rows:
        found.setdefault(row["text_hash"], []).append(np.asarray(row["vector"], np.float32))
    return {digest: np.stack(windows) for digest, windows in found.items()}


def save(db: Database, row: Row) -> None:
    """Store a row of `model_agreements` (without `measured_at`), in place of the former one."""
    columns = (
        "model", "field", "reference", "threshold", "units", "texts", "pairs", "spearman",
    )  # fmt: skip
    with db.write() as cursor:
        cursor.execute(
            f"""INSERT OR REPLACE INTO model_agreements
            ({", ".join(columns)}, matches, measured_at) VALUES ({"?, " * len(columns)} ?, ?)""",
            [*(row[name] for name in columns), json.dumps(row["matches"]), utc_now()],
        )


def get(db: Database, model: str, field: Field) -> Row | None:
    """The newest measurement of a model and field, `matches` as a list."""
    row = db.row("SELECT * FROM model_agreements WHERE model = ? AND field = ?", [model, field])
    return {**row, "matches": json.loads(row["matches"])} if row else None
