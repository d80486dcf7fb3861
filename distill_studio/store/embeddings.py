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
from distill_studio.store.pairs import CONTENT_KEY, IS_ANSWER

Field = Literal["prompt", "answer", "both"]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
WindowRows = dict[str, FloatMatrix]  # by text hash: (windows, dim)

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


def text_sides(field: Field) -> tuple[str, ...]:
    """Which texts of a row a field compares: prompt, answer."""
    return tuple(side.removesuffix("_hash") for side in _SIDES[field])


def has_text(field: Field) -> str:
    """SQL for rows that have the texts which a field compares; rows are `t`."""
    return " AND ".join(f"t.{side} <> ''" for side in _SIDES[field])


def exact_key(field: Field) -> str:
    """SQL for what equal rows have in common; rows are `t`. '' where there is no text."""
    if field == "both":
        return (
            "CASE WHEN t.prompt_key = '' OR t.answer_key = '' THEN ''"
            " ELSE t.prompt_key || t.answer_key END"
        )
    return f"t.{field}_key"


# -- hashes of rows -------------------------------------------------------------------------


_UNHASHED = f"""FROM pairs p LEFT JOIN pair_texts t ON t.pair_id = p.id WHERE
    (t.content_key IS DISTINCT FROM {CONTENT_KEY} OR t.version IS DISTINCT FROM $version)"""


def rows_without_hashes(db: Database, version: int, limit: int, after: str = "") -> list[Row]:
    """Rows whose text is new, was edited, or has keys of another version, from an id on.

    Columns: `pair_id`, `content_key`, `messages`, `answer`.
    """
    return db.rows(
        f"""SELECT p.id AS pair_id, {CONTENT_KEY} AS content_key, p.messages,
        coalesce(p.edited_answer, p.answer) AS answer
        {_UNHASHED} AND p.id > $after ORDER BY p.id LIMIT $limit""",
        {"version": version, "limit": limit, "after": after},
    )


def unhashed_count(db: Database, version: int) -> int:
    """How many rows `rows_without_hashes` would give."""
    return int(db.value(f"SELECT count(*) {_UNHASHED}", {"version": version}))


def save_hashes(db: Database, version: int, rows: Sequence[Row]) -> None:
    """Store rows of `pair_texts`, in place of what was there for the same pairs."""
    if not rows:
        return
    with db.write() as cursor:
        cursor.register("incoming_texts", pa.Table.from_pylist(list(rows)))
        try:
            cursor.execute(
                """INSERT OR REPLACE INTO pair_texts
                (pair_id, content_key, prompt_hash, answer_hash, prompt_key, answer_key, version)
                SELECT pair_id, content_key, prompt_hash, answer_hash, prompt_key, answer_key, ?
                FROM incoming_texts""",
                [version],
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


def hashes_with_vectors(db: Database, model: str, dim: int, hashes: Sequence[str]) -> set[str]:
    """Those of some text hashes whose texts have vectors from a model."""
    rows = db.rows(
        f"""SELECT DISTINCT text_hash FROM {ensure_vectors(db, dim)}
        WHERE model = ? AND text_hash IN (SELECT unnest(?))""",
        [model, list(hashes)],
    )
    return {row["text_hash"] for row in rows}


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


def search_state(db: Database, field: Field, model: str) -> Row | None:
    """The search of a field by a model, None if none: `model`, `dim`, `floor`, `searched_to`.

    Also `recall`, `recall_low`, `recall_high`, `recall_pairs`; None where the search was exact.
    """
    return db.row(
        """SELECT model, dim, floor, searched_to, recall, recall_low, recall_high, recall_pairs
        FROM near_searches_in_force WHERE field = ? AND model = ?""",
        [field, model],
    )


def searched_by(db: Database, field: Field, preferred: str) -> str:
    """The preferred model where it has searched a field, else the one that did so last; else ''."""
    found = db.row(
        """SELECT model FROM near_searches_in_force WHERE field = ?
        ORDER BY model = ? DESC, updated_at DESC LIMIT 1""",
        [field, preferred],
    )
    return str(found["model"]) if found else ""


def begin_search(db: Database, model: str, dim: int, field: Field, floor: float) -> Row:
    """The search to go on with: `generation`, `floor`, `searched_to`, `recall_pairs`.

    The oldest one that was asked for a floor as low as this; where there is none, a new one from
    the beginning, whose pairs count once `finish_search` ends it. Pairs that an interrupted search
    stored beyond its mark are dropped.
    """
    key = [model, field]
    with db.write() as cursor:
        searches = db.rows(
            """SELECT generation, asked_floor, floor, searched_to, recall_pairs FROM near_searches
            WHERE model = ? AND field = ? ORDER BY generation""",
            key,
        )
        fitting = [one for one in searches if one["asked_floor"] <= floor]
        state = fitting[0] if fitting else _new_search(db, model, dim, field, floor, searches)
        found = [*key, state["generation"]]
        cursor.execute(
            f"UPDATE near_searches SET updated_at = ? WHERE {_SEARCH}", [utc_now(), *found]
        )
        cursor.execute(
            f"DELETE FROM near_pairs WHERE {_SEARCH} AND b >= ?", [*found, state["searched_to"]]
        )
    return {name: state[name] for name in ("generation", "floor", "searched_to", "recall_pairs")}


_SEARCH = "model = ? AND field = ? AND generation = ?"


def _new_search(
    db: Database, model: str, dim: int, field: Field, floor: float, others: Sequence[Row]
) -> Row:
    """A search from the beginning, beside the one in force (the first), in place of newer ones."""
    for one in others[1:]:
        _forget_search(db, model, field, one["generation"])
    row = {
        "model": model,
        "field": field,
        "generation": others[0]["generation"] + 1 if others else 0,
        "dim": dim,
        "asked_floor": floor,
        "floor": floor,
        "searched_to": 0,
        "updated_at": utc_now(),
    }
    db.insert("near_searches", [row])
    return {**row, "recall_pairs": None}


def _forget_search(db: Database, model: str, field: Field, generation: int) -> None:
    for table in ("near_searches", "near_pairs"):
        db.cursor().execute(f"DELETE FROM {table} WHERE {_SEARCH}", [model, field, generation])


def finish_search(db: Database, model: str, field: Field, generation: int) -> bool:
    """Put a search that has come to its end in force: older ones are forgotten.

    Where there were so many pairs that its floor was raised above that of the one in force, it is
    forgotten itself: that one knows more, and counts as what was asked for from then on.

    Returns:
        Whether it is in force.
    """
    with db.write() as cursor:
        older = db.rows(
            """SELECT generation, floor FROM near_searches
            WHERE model = ? AND field = ? AND generation < ? ORDER BY generation""",
            [model, field, generation],
        )
        own = [model, field, generation]
        mine = db.row(f"SELECT asked_floor, floor FROM near_searches WHERE {_SEARCH}", own) or {}
        if older and mine["floor"] > older[0]["floor"]:
            kept = [mine["asked_floor"], model, field, older[0]["generation"]]
            cursor.execute(f"UPDATE near_searches SET asked_floor = ? WHERE {_SEARCH}", kept)
            _forget_search(db, model, field, generation)
            return False
        for row in older:
            _forget_search(db, model, field, row["generation"])
    return True


def save_recall(
    db: Database,
    model: str,
    field: Field,
    generation: int,
    share: float,
    interval: tuple[float, float],
    pairs: int,
) -> None:
    """Store how much an approximate search finds; 0 pairs: not measured yet."""
    with db.write() as cursor:
        cursor.execute(
            f"""UPDATE near_searches SET recall = ?, recall_low = ?, recall_high = ?,
            recall_pairs = ? WHERE {_SEARCH}""",
            [share, *interval, pairs, model, field, generation],
        )


def pairs_of_units(
    db: Database, model: str, field: Field, generation: int, units: IntArray
) -> tuple[IntArray, IntArray]:
    """Near pairs (a, b) that a search stored, whose newer unit b is one of `units`."""
    columns = (
        db
        .cursor()
        .execute(
            f"""SELECT a, b FROM near_pairs
            WHERE {_SEARCH} AND b IN (SELECT unnest(?::BIGINT[]))""",
            [model, field, generation, units.tolist()],
        )
        .fetchnumpy()
    )
    return np.asarray(columns["a"], np.int64), np.asarray(columns["b"], np.int64)


def save_near_pairs(
    db: Database,
    model: str,
    field: Field,
    generation: int,
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
                    """INSERT INTO near_pairs (model, field, a, b, similarity, generation)
                    SELECT ?, ?, a, b, similarity, ? FROM incoming_near""",
                    [model, field, generation],
                ).fetchall()
            finally:
                cursor.unregister("incoming_near")
        cursor.execute(
            f"""UPDATE near_searches SET searched_to = greatest(searched_to, ?), updated_at = ?
            WHERE {_SEARCH}""",
            [searched_to, utc_now(), model, field, generation],
        )


def near_pair_count(db: Database, model: str, field: Field, generation: int) -> int:
    """How many near pairs a search has stored."""
    return int(
        db.value(f"SELECT count(*) FROM near_pairs WHERE {_SEARCH}", [model, field, generation])
    )


def raise_floor(db: Database, model: str, field: Field, generation: int) -> float:
    """Keep the more alike half of a search's near pairs; returns the new floor.

    For data where nearly everything resembles everything: the store must not fill up with pairs
    that nobody would call duplicates.
    """
    key = [model, field, generation]
    with db.write() as cursor:
        half = db.value(
            f"SELECT quantile_disc(similarity, 0.5) FROM near_pairs WHERE {_SEARCH}", key
        )
        if half is None:
            raise LookupError("no near pairs to raise the floor of")
        before = db.value(f"SELECT floor FROM near_searches WHERE {_SEARCH}", key)
        floor = float(min(1.0, max(half, before + 0.01)))
        cursor.execute(f"DELETE FROM near_pairs WHERE {_SEARCH} AND similarity < ?", [*key, floor])
        cursor.execute(f"UPDATE near_searches SET floor = ? WHERE {_SEARCH}", [floor, *key])
    return floor


def near_pairs(
    db: Database, model: str, field: Field, at_least: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Near pairs of units (a, b, similarity) of the search in force, in order of a, b."""
    columns = (
        db
        .cursor()
        .execute(
            """SELECT a, b, similarity FROM near_pairs_in_force
            WHERE model = ? AND field = ? AND similarity >= ? ORDER BY a, b""",
            [model, field, at_least],
        )
        .fetchnumpy()
    )
    return (
        np.asarray(columns["a"], dtype=np.int64),
        np.asarray(columns["b"], dtype=np.int64),
        np.asarray(columns["similarity"], dtype=np.float64),
    )


def similarity_of(db: Database, field: Field, model: str, a_id: str, b_id: str) -> float | None:
    """The stored similarity of two rows; None when it lies below the floor or is unknown."""
    prompt, answer = unit_hashes(field)
    hashes = db.rows(
        f"""SELECT {prompt} AS prompt_hash, {answer} AS answer_hash FROM pair_texts t
        WHERE pair_id IN (?, ?)""",
        [a_id, b_id],
    )
    if len(hashes) < 2:
        return None
    units = db.rows(  # by values: joins would read all units and near pairs
        """SELECT number, prompt_hash, answer_hash FROM dedup_units WHERE model = ? AND field = ?
        AND prompt_hash IN (?, ?) AND answer_hash IN (?, ?)""",
        [
            *(model, field),
            *(row["prompt_hash"] for row in hashes),
            *(row["answer_hash"] for row in hashes),
        ],
    )
    numbers = {(row["prompt_hash"], row["answer_hash"]): int(row["number"]) for row in units}
    wanted = [(row["prompt_hash"], row["answer_hash"]) for row in hashes]
    ends = sorted(numbers[unit] for unit in wanted if unit in numbers)
    if len(ends) < 2:
        return None
    if ends[0] == ends[1]:
        return 1.0
    value = db.value(
        """SELECT similarity FROM near_pairs_in_force
        WHERE a = ? AND b = ? AND model = ? AND field = ?""",
        [*ends, model, field],
    )
    return None if value is None else float(value)


def unembedded_count(db: Database, model: str, field: Field) -> int:
    """Rows with text that no search has compared yet (rejected ones apart)."""
    prompt, answer = unit_hashes(field)
    return int(
        db.value(
            f"""SELECT count(*) FROM pairs p JOIN pair_texts t ON t.pair_id = p.id
            WHERE p.status <> 'rejected' AND {IS_ANSWER} AND {has_text(field)} AND NOT EXISTS (
                SELECT 1 FROM dedup_units u JOIN near_searches_in_force s USING (model, field)
                WHERE u.model = $model AND u.field = $field AND u.number < s.searched_to
                AND u.prompt_hash = {prompt} AND u.answer_hash = {answer})""",
            {"model": model, "field": field},
        )
    )


def _arrow(cursor: duckdb.DuckDBPyConnection, sql: str, params: list[Any]) -> pa.Table:
    return cursor.sql(sql, params=params).to_arrow_table()
