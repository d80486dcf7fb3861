"""Other datasets that rows are compared with: their items, how far that is, what is near.

What counts as near in the end is the view `reference_scores` (migration 0022), which the filter
`reference` reads as a score.
"""

from collections.abc import Sequence

import pyarrow as pa

from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row
from distill_studio.store.embeddings import Field, FloatArray, IntArray, has_text, unit_hashes
from distill_studio.store.pairs import IS_ANSWER

_OF_SET = ("reference_items", "reference_searches", "reference_hits")


def add(db: Database, reference: Row, items: Sequence[Row]) -> None:
    """Store a set (`id`, `name`, `source`, `user_name`) with its items."""
    with db.write():
        db.insert("reference_sets", [{**reference, "items": len(items), "made_at": utc_now()}])
        db.insert("reference_items", [{"reference": reference["id"], **item} for item in items])


def delete(db: Database, reference_id: str) -> None:
    """Forget a set and what was found with it."""
    with db.write() as cursor:
        for table in _OF_SET:
            cursor.execute(f"DELETE FROM {table} WHERE reference = ?", [reference_id])
        cursor.execute("DELETE FROM reference_sets WHERE id = ?", [reference_id])


def sets(db: Database) -> list[Row]:
    """All sets by name."""
    return db.rows("SELECT * FROM reference_sets ORDER BY name")


def by_name(db: Database, name: str) -> Row | None:
    """One set, or None."""
    return db.row("SELECT * FROM reference_sets WHERE name = ?", [name])


def rows_of(db: Database, limit: int) -> list[Row]:
    """Of a store the pairs in use, oldest first: `messages` (JSON) and `answer`."""
    return db.rows(
        f"""SELECT messages, coalesce(edited_answer, answer) AS answer FROM pairs
        WHERE status <> 'rejected' AND curation = 'kept' AND {IS_ANSWER} ORDER BY id LIMIT ?""",
        [limit],
    )


def items(db: Database, reference_id: str) -> list[Row]:
    """The items of a set in their order."""
    return db.rows(
        "SELECT * FROM reference_items WHERE reference = ? ORDER BY number", [reference_id]
    )


def begin(db: Database, reference_id: str, field: Field, model: str, floor: float) -> int:
    """The unit to go on from; another model or a lower floor begins anew."""
    key = [reference_id, field]
    with db.write() as cursor:
        known = db.row("SELECT * FROM reference_searches WHERE reference = ? AND field = ?", key)
        if known and known["model"] == model and known["floor"] <= floor:
            return int(known["compared_to"])
        cursor.execute("DELETE FROM reference_hits WHERE reference = ? AND field = ?", key)
        cursor.execute(
            "INSERT OR REPLACE INTO reference_searches VALUES (?, ?, ?, ?, 0)", [*key, model, floor]
        )
    return 0


def save_hits(
    db: Database,
    reference_id: str,
    field: Field,
    found: tuple[IntArray, IntArray, FloatArray],
    compared_to: int,
) -> None:
    """Store of some units the most alike item (unit, item, similarity), and how far this is."""
    unit, item, similarity = found
    key = [reference_id, field]
    with db.write() as cursor:
        cursor.register(
            "incoming_hits", pa.table({"unit": unit, "item": item, "similarity": similarity})
        )
        try:
            cursor.execute(
                """INSERT INTO reference_hits
                SELECT s.reference, s.field, u.prompt_hash, u.answer_hash, h.item, h.similarity
                FROM incoming_hits h JOIN reference_searches s ON s.reference = ? AND s.field = ?
                JOIN dedup_units u
                    ON u.model = s.model AND u.field = s.field AND u.number = h.unit""",
                key,
            ).fetchall()
        finally:
            cursor.unregister("incoming_hits")
        cursor.execute(
            "UPDATE reference_searches SET compared_to = ? WHERE reference = ? AND field = ?",
            [compared_to, *key],
        )


def near(db: Database, reference_id: str, field: Field, at_least: float) -> tuple[int, int]:
    """(rows near to a set's items, those of them that are equal); rejected ones apart."""
    row = db.row(
        f"""SELECT count(DISTINCT n.pair_id) AS rows,
        count(DISTINCT n.pair_id) FILTER (n.is_exact) AS exact
        FROM reference_near n JOIN pairs p ON p.id = n.pair_id
        WHERE n.reference = ? AND n.field = ? AND n.similarity >= ? AND p.status <> 'rejected'
        AND {IS_ANSWER}""",
        [reference_id, field, at_least],
    )
    return (int(row["rows"]), int(row["exact"])) if row else (0, 0)


def page(
    db: Database, reference_id: str, field: Field, at_least: float, limit: int, offset: int
) -> list[Row]:
    """Rows, each beside the most alike item, the least alike first: `pair_id`, `similarity`,
    `is_exact`, and the item's `number`, `prompt` and `answer`."""
    return db.rows(
        f"""SELECT n.pair_id, n.similarity, n.is_exact, i.number, i.prompt, i.answer FROM (
            SELECT n.* FROM reference_near n JOIN pairs p ON p.id = n.pair_id
            WHERE n.reference = $reference AND n.field = $field AND n.similarity >= $least
            AND p.status <> 'rejected' AND {IS_ANSWER}
            QUALIFY row_number() OVER (PARTITION BY n.pair_id
                ORDER BY n.similarity DESC, n.is_exact DESC, n.item) = 1) n
        JOIN reference_items i ON i.reference = n.reference AND i.number = n.item
        ORDER BY n.similarity, n.pair_id LIMIT $limit OFFSET $offset""",
        {
            "reference": reference_id,
            "field": field,
            "least": at_least,
            "limit": limit,
            "offset": offset,
        },
    )


def uncompared(db: Database, reference_id: str, field: Field) -> int | None:
    """Numbered texts that were not compared with a set yet; None when none ever was."""
    return db.value(  # type: ignore[no-any-return]
        """SELECT (SELECT count(*) FROM dedup_units u WHERE u.model = s.model
            AND u.field = s.field AND u.number >= s.compared_to)
        FROM reference_searches s WHERE s.reference = ? AND s.field = ?""",
        [reference_id, field],
    )


# Texts that were compared with all of some sets.
_COMPARED = """compared AS (
    SELECT u.prompt_hash, u.answer_hash FROM reference_searches s
    JOIN dedup_units u ON u.model = s.model AND u.field = s.field AND u.number < s.compared_to
    WHERE s.field = $field AND list_contains($sets, s.reference) GROUP BY 1, 2
    HAVING count(*) >= len($sets))"""


def uncompared_rows(db: Database, field: Field, names: Sequence[str] | None = None) -> int:
    """Rows with text, rejected ones apart, that one of these sets (None: any) was not compared
    with yet."""
    wanted = [row["id"] for row in sets(db) if names is None or row["name"] in names]
    if not wanted:
        return 0
    prompt, answer = unit_hashes(field)
    return int(
        db.value(
            f"""WITH {_COMPARED} SELECT count(*) FROM pairs p
            JOIN pair_texts t ON t.pair_id = p.id
            WHERE p.status <> 'rejected' AND {IS_ANSWER} AND {has_text(field)} AND NOT EXISTS (
                SELECT 1 FROM compared c
                WHERE c.prompt_hash = {prompt} AND c.answer_hash = {answer})""",
            {"field": field, "sets": wanted},
        )
    )


def behind(db: Database, field: Field, *, with_new: bool) -> list[str]:
    """Names of the sets to compare with where any row lacks it.

    Sets that were never compared with by this field only `with_new`.
    """
    rows = db.rows(
        """SELECT k.name FROM reference_sets k LEFT JOIN reference_searches s
            ON s.reference = k.id AND s.field = $field
        WHERE s.reference IS NOT NULL OR $all ORDER BY 1""",
        {"field": field, "all": with_new},
    )
    names = [row["name"] for row in rows]
    return names if uncompared_rows(db, field, names) else []
