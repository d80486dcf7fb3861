"""Hashes and vectors of texts, and the near pairs found among them.

Vectors are kept once per text and model (`vectors_<dim>`, a table per dimension). What is compared
are *units*: distinct prompts, answers, or prompt-answer couples. Rows find their unit by the
hashes in `pair_texts`.
"""

from collections.abc import Sequence
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill_studio.core.protocols import FloatMatrix
from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import IS_ANSWER

Field = Literal["prompt", "answer", "both"]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

# What a row's text is known by: changes with an edit, and only then.
CONTENT_KEY = """(p.content_hash
    || CASE WHEN p.edited_answer IS NULL THEN '' ELSE md5(p.edited_answer) END)"""

_SIDES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt_hash",),
    "answer": ("answer_hash",),
    "both": ("prompt_hash", "answer_hash"),
}


def unit_hashes(field: Field) -> tuple[str, str]:
    """SQL for a row's (prompt_hash, answer_hash) as its unit of `field` has them; rows are `t`."""
    sides = _SIDES[field]
    prompt = "t.prompt_hash" if "prompt_hash" in sides else "''"
    return prompt, "t.answer_hash" if "answer_hash" in sides else "''"


def exact_key(field: Field) -> str:
    """SQL for what equal rows have in common; rows are `t`. '' where there is no text."""
    if field == "both":
        return (
            "CASE WHEN t.prompt_key = '' OR t.answer_key = '' THEN ''"
            " ELSE t.prompt_key || t.answer_key END"
        )
    return f"t.{field}_key"


# -- hashes of rows -------------------------------------------------------------------------


def rows_without_hashes(db: Database, limit: int) -> list[Row]:
    """Rows whose text is new or was edited: `pair_id`, `content_key`, `messages`, `answer`."""
    return db.rows(
        f"""SELECT p.id AS pair_id, {CONTENT_KEY} AS content_key, p.messages,
        coalesce(p.edited_answer, p.answer) AS answer
        FROM pairs p LEFT JOIN pair_texts t ON t.pair_id = p.id
        WHERE t.content_key IS DISTINCT FROM {CONTENT_KEY} ORDER BY p.id LIMIT ?""",
        [limit],
    )


def save_hashes(db: Database, rows: Sequence[Row]) -> None:
    """Store rows of `pair_texts`, in place of what was there for the same pairs."""
    if not rows:
        return
    with db.write() as cursor:
        cursor.register("incoming_texts", pa.Table.from_pylist(list(rows)))
        try:
            cursor.execute(
                """INSERT OR REPLACE INTO pair_texts
                SELECT pair_id, content_key, prompt_hash, answer_hash, prompt_key, answer_key
                FROM incoming_texts"""
            ).fetchall()
        finally:
            cursor.unregister("incoming_texts")


# -- vectors --------------------------------------------------------------------------------


def ensure_vectors(db: Database, dim: int) -> str:
    """The name of the table for vectors of this many dimensions, made when missing."""
    name = f"vectors_{int(dim)}"
    with db.write() as cursor:
        cursor.execute(
            f"""CREATE TABLE IF NOT EXISTS {name} (model VARCHAR NOT NULL,
            text_hash VARCHAR NOT NULL, window_no INTEGER NOT NULL,
            vector FLOAT[{int(dim)}] NOT NULL)"""
        )
    return name


def texts_without_vectors(
    db: Database, model: str, dim: int, field: Field
) -> list[tuple[str, str, str]]:
    """(text hash, id of a pair that has it, 'prompt' or 'answer'), the shortest rows first.

    Rejected rows and answers of comparisons are left out: they never take part.
    """
    table = ensure_vectors(db, dim)
    found = []
    for column in _SIDES[field]:
        found += db.rows(
            f"""SELECT t.{column} AS hash, min(t.pair_id) AS pair_id,
            any_value(strlen(p.prompt) + strlen(p.answer)) AS size, ? AS side
            FROM pair_texts t JOIN pairs p ON p.id = t.pair_id
            WHERE t.{column} <> '' AND p.status <> 'rejected' AND {IS_ANSWER} AND t.{column} NOT IN
                (SELECT text_hash FROM {table} WHERE model = ?)
            GROUP BY 1 ORDER BY size, pair_id""",
            [column.removesuffix("_hash"), model],
        )
    by_hash = {row["hash"]: (row["hash"], row["pair_id"], row["side"]) for row in found}
    return list(by_hash.values())


def texts_of(db: Database, pair_ids: Sequence[str]) -> dict[str, Row]:
    """`messages` (JSON) and `answer` of pairs, by id."""
    rows = db.rows(
        "SELECT id, messages, coalesce(edited_answer, answer) AS answer FROM pairs"
        " WHERE id IN (SELECT unnest(?))",
        [list(pair_ids)],
    )
    return {row["id"]: row for row in rows}


def save_vectors(
    db: Database, model: str, hashes: Sequence[str], windows: Sequence[int], vectors: FloatMatrix
) -> None:
    """Store the vectors of whole texts: for each its hash and its number of windows."""
    dim = vectors.shape[1]
    table = ensure_vectors(db, dim)
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    incoming = pa.table({
        "text_hash": pa.array(np.repeat(np.array(hashes, dtype=object), windows)),
        "window_no": pa.array(np.concatenate([np.arange(n, dtype=np.int32) for n in windows])),
        "vector": pa.FixedSizeListArray.from_arrays(flat, dim),
    })
    with db.write() as cursor:
        cursor.register("incoming_vectors", incoming)
        try:
            cursor.execute(
                f"INSERT INTO {table} SELECT ?, text_hash, window_no, vector FROM incoming_vectors"
                f" WHERE text_hash NOT IN (SELECT text_hash FROM {table} WHERE model = ?)",
                [model, model],
            ).fetchall()
        finally:
            cursor.unregister("incoming_vectors")


# -- units ----------------------------------------------------------------------------------


def add_units(db: Database, model: str, dim: int, field: Field) -> int:
    """Number the units that are embedded and not numbered yet; returns how many there are now."""
    table = ensure_vectors(db, dim)
    prompt, answer = unit_hashes(field)
    embedded = " AND ".join(
        f"t.{side} IN (SELECT text_hash FROM {table} WHERE model = $model)"
        for side in _SIDES[field]
    )
    with db.write() as cursor:
        cursor.execute(
            f"""INSERT INTO dedup_units
            SELECT $model, $field, row_number() OVER (ORDER BY first_id) - 1 + (
                SELECT count(*) FROM dedup_units WHERE model = $model AND field = $field),
                prompt_hash, answer_hash
            FROM (
                SELECT {prompt} AS prompt_hash, {answer} AS answer_hash, min(t.pair_id) AS first_id
                FROM pair_texts t JOIN pairs p ON p.id = t.pair_id
                WHERE p.status <> 'rejected' AND {IS_ANSWER} AND {embedded} GROUP BY 1, 2
            ) fresh
            ANTI JOIN (SELECT * FROM dedup_units WHERE model = $model AND field = $field) known
            USING (prompt_hash, answer_hash)""",
            {"model": model, "field": field},
        ).fetchall()
        return int(
            db.value(
                "SELECT count(*) FROM dedup_units WHERE model = ? AND field = ?", [model, field]
            )
        )


def unit_vectors(
    db: Database, model: str, dim: int, field: Field, start: int, stop: int
) -> list[tuple[FloatMatrix, IntArray]]:
    """Vectors of units start to stop-1, one entry per side (prompt, answer).

    Each entry: all windows of all units in order, (sum of counts, dim), and the counts (N,).
    """
    loaded = []
    for side in _SIDES[field]:
        arrow = _arrow(
            db.cursor(),
            f"""SELECT u.number, v.vector FROM dedup_units u
            JOIN vectors_{int(dim)} v ON v.model = u.model AND v.text_hash = u.{side}
            WHERE u.model = ? AND u.field = ? AND u.number >= ? AND u.number < ?
            ORDER BY u.number, v.window_no""",
            [model, field, start, stop],
        )
        vectors = arrow["vector"].combine_chunks()
        rows = np.asarray(vectors.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
        numbers = arrow["number"].to_numpy() - start
        counts = np.bincount(numbers, minlength=stop - start).astype(np.int64)
        loaded.append((rows.reshape(-1, dim), counts))
    return loaded


# -- near pairs -----------------------------------------------------------------------------


def search_state(db: Database, field: Field) -> Row | None:
    """The newest search of a field: `model`, `dim`, `floor`, `searched_to`; None if none."""
    return db.row(
        "SELECT model, dim, floor, searched_to FROM near_searches WHERE field = ?"
        " ORDER BY updated_at DESC LIMIT 1",
        [field],
    )


def begin_search(db: Database, model: str, dim: int, field: Field, floor: float) -> Row:
    """The state to search on from: `floor`, `searched_to`. A lower floor begins anew.

    Pairs that an interrupted search stored beyond its mark are dropped.
    """
    key = [model, field]
    with db.write() as cursor:
        state = db.row(
            "SELECT floor, searched_to FROM near_searches WHERE model = ? AND field = ?", key
        )
        if state is None or floor < state["floor"]:
            state = {"floor": floor, "searched_to": 0}
        cursor.execute(
            "INSERT OR REPLACE INTO near_searches VALUES (?, ?, ?, ?, ?, ?)",
            [*key, dim, state["floor"], state["searched_to"], utc_now()],
        )
        cursor.execute(
            "DELETE FROM near_pairs WHERE model = ? AND field = ? AND b >= ?",
            [*key, state["searched_to"]],
        )
    return state


def save_near_pairs(
    db: Database,
    model: str,
    field: Field,
    pairs: tuple[IntArray, IntArray, FloatArray],
    searched_to: int,
) -> None:
    """Store near pairs (a, b, similarity) and how far the search is, in one transaction."""
    a, b, similarity = pairs
    with db.write() as cursor:
        if len(a):
            cursor.register(
                "incoming_near",
                pa.table({"a": pa.array(a), "b": pa.array(b), "similarity": pa.array(similarity)}),
            )
            try:
                cursor.execute(
                    "INSERT INTO near_pairs SELECT ?, ?, a, b, similarity FROM incoming_near",
                    [model, field],
                ).fetchall()
            finally:
                cursor.unregister("incoming_near")
        cursor.execute(
            "UPDATE near_searches SET searched_to = greatest(searched_to, ?), updated_at = ?"
            " WHERE model = ? AND field = ?",
            [searched_to, utc_now(), model, field],
        )


def near_pair_count(db: Database, model: str, field: Field) -> int:
    """How many near pairs are stored."""
    return int(
        db.value("SELECT count(*) FROM near_pairs WHERE model = ? AND field = ?", [model, field])
    )


def raise_floor(db: Database, model: str, field: Field) -> float:
    """Keep the more alike half of the near pairs; returns the new floor.

    For data where nearly everything resembles everything: the store must not fill up with pairs
    that nobody would call duplicates.
    """
    with db.write() as cursor:
        row = db.row(
            """SELECT quantile_disc(n.similarity, 0.5) AS half, any_value(s.floor) AS floor
            FROM near_pairs n JOIN near_searches s USING (model, field)
            WHERE model = ? AND field = ?""",
            [model, field],
        )
        if row is None or row["half"] is None:
            raise LookupError("no near pairs to raise the floor of")
        floor = float(min(1.0, max(row["half"], row["floor"] + 0.01)))
        cursor.execute(
            "DELETE FROM near_pairs WHERE model = ? AND field = ? AND similarity < ?",
            [model, field, floor],
        )
        cursor.execute(
            "UPDATE near_searches SET floor = ? WHERE model = ? AND field = ?",
            [floor, model, field],
        )
    return floor


def near_pairs(
    db: Database, model: str, field: Field, at_least: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Stored near pairs of units (a, b, similarity), in order of a, b."""
    columns = (
        db
        .cursor()
        .execute(
            """SELECT n.a, n.b, n.similarity FROM near_pairs n
            JOIN near_searches s USING (model, field)
            WHERE model = ? AND field = ? AND similarity >= ? AND n.b < s.searched_to
            ORDER BY n.a, n.b""",
            [model, field, at_least],
        )
        .fetchnumpy()
    )
    return (
        np.asarray(columns["a"], dtype=np.int64),
        np.asarray(columns["b"], dtype=np.int64),
        np.asarray(columns["similarity"], dtype=np.float64),
    )


def similarity_of(db: Database, field: Field, a_id: str, b_id: str) -> float | None:
    """The stored similarity of two rows; None when it lies below the floor or is unknown."""
    prompt, answer = unit_hashes(field)
    value = db.value(
        f"""WITH u AS (
            SELECT t.pair_id, u.model, u.number FROM pair_texts t
            JOIN dedup_units u ON u.field = $field AND u.prompt_hash = {prompt}
                AND u.answer_hash = {answer}
            WHERE t.pair_id IN ($a, $b))
        SELECT CASE WHEN x.number = y.number THEN 1.0 ELSE n.similarity END
        FROM u x JOIN u y ON x.model = y.model AND x.pair_id = $a AND y.pair_id = $b
        LEFT JOIN near_pairs n ON n.model = x.model AND n.field = $field
            AND n.a = least(x.number, y.number) AND n.b = greatest(x.number, y.number)
        LIMIT 1""",
        {"field": field, "a": a_id, "b": b_id},
    )
    return None if value is None else float(value)


def unembedded_count(db: Database, model: str, field: Field) -> int:
    """Rows with text that no search has compared yet (rejected ones apart)."""
    prompt, answer = unit_hashes(field)
    has_text = " AND ".join(f"t.{side} <> ''" for side in _SIDES[field])
    return int(
        db.value(
            f"""SELECT count(*) FROM pairs p JOIN pair_texts t ON t.pair_id = p.id
            WHERE p.status <> 'rejected' AND {IS_ANSWER} AND {has_text} AND NOT EXISTS (
                SELECT 1 FROM dedup_units u JOIN near_searches s USING (model, field)
                WHERE u.model = $model AND u.field = $field AND u.number < s.searched_to
                AND u.prompt_hash = {prompt} AND u.answer_hash = {answer})""",
            {"model": model, "field": field},
        )
    )


def split_links(
    db: Database, pair_ids: Sequence[str], at_least: float
) -> tuple[list[Row], list[Row]]:
    """What ties rows together: (`pair_id`, `seed_id`, `prompt_key`) and near (`a_id`, `b_id`).

    Near pairs are those of prompts and of couples, by the newest model of each, among the rows.
    """
    rows = db.rows(
        """SELECT p.id AS pair_id, p.seed_id, t.prompt_key FROM pairs p
        JOIN pair_texts t ON t.pair_id = p.id WHERE p.id IN (SELECT unnest(?)) ORDER BY p.id""",
        [list(pair_ids)],
    )
    near: list[Row] = []
    fields: tuple[Field, ...] = ("prompt", "both")
    for field in fields:
        state = search_state(db, field)
        if state is None:
            continue
        prompt, answer = unit_hashes(field)
        near += db.rows(
            f"""WITH u AS (
                SELECT u.number, min(t.pair_id) AS pair_id, list(t.pair_id) AS ids
                FROM pair_texts t JOIN dedup_units u ON u.model = $model AND u.field = $field
                    AND u.prompt_hash = {prompt} AND u.answer_hash = {answer}
                WHERE t.pair_id IN (SELECT unnest($ids)) GROUP BY 1)
            SELECT x.pair_id AS a_id, y.pair_id AS b_id FROM near_pairs n
            JOIN u x ON x.number = n.a JOIN u y ON y.number = n.b
            WHERE n.model = $model AND n.field = $field AND n.similarity >= $least
            UNION ALL SELECT pair_id, unnest(ids) FROM u WHERE len(ids) > 1""",
            {
                "model": state["model"],
                "field": field,
                "ids": list(pair_ids),
                "least": at_least,
            },
        )
    return rows, near


def _arrow(cursor: duckdb.DuckDBPyConnection, sql: str, params: list[Any]) -> pa.Table:
    return cursor.sql(sql, params=params).to_arrow_table()
