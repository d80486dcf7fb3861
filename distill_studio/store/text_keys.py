"""Keys that an older normal form made, of items to compare with (migration 0043).

Verdicts and opinions name an item by its key. Those from before are said of the item under its new
key as well; the old lines stay, for another item may have that key now.
"""

from collections.abc import Sequence

import pyarrow as pa

from distill_studio.store.database import Database, Row

_VERDICT = "seq, user_name, text_hash, verdict, made_at"
_OPINION = """seq, text_hash, teacher, model, prompt_version, said, reason, job_id, user_name,
    made_at"""


def outdated_items(db: Database, version: int) -> int:
    """How many items have keys of another version."""
    return int(
        db.value(
            """SELECT (SELECT count(*) FROM reference_items WHERE version <> $version)
            + (SELECT count(*) FROM leak_items WHERE version <> $version)""",
            {"version": version},
        )
    )


def reference_items(db: Database, version: int, limit: int) -> list[Row]:
    """Items of other datasets whose keys are outdated: `owner`, `number`, `prompt`, `answer`."""
    return db.rows(
        """SELECT reference AS owner, number, prompt, answer FROM reference_items
        WHERE version <> ? LIMIT ?""",
        [version, limit],
    )


def leak_items(db: Database, version: int, limit: int) -> list[Row]:
    """Items of benchmarks whose keys are outdated: `owner`, `number`, `prompt`, `answer`."""
    return db.rows(
        """SELECT pack AS owner, number, prompt, answer FROM leak_items
        WHERE version <> ? LIMIT ?""",
        [version, limit],
    )


def save_reference_keys(db: Database, version: int, rows: Sequence[Row]) -> None:
    """Store keys: `owner`, `number`, `prompt_key`, `answer_key`."""
    with db.write() as cursor:
        cursor.register("incoming_keys", pa.Table.from_pylist(list(rows)))
        try:
            cursor.execute(
                """UPDATE reference_items SET prompt_key = k.prompt_key,
                answer_key = k.answer_key, version = ? FROM incoming_keys k
                WHERE reference = k.owner AND reference_items.number = k.number""",
                [version],
            ).fetchall()
        finally:
            cursor.unregister("incoming_keys")


def save_leak_keys(db: Database, version: int, rows: Sequence[Row]) -> None:
    """Store keys (`owner`, `number`, `item_key`, `former_key`), and what was said by the former."""
    with db.write() as cursor:
        cursor.register("incoming_keys", pa.Table.from_pylist(list(rows)))
        try:
            cursor.execute(
                """UPDATE leak_items SET item_key = k.item_key, version = ? FROM incoming_keys k
                WHERE pack = k.owner AND leak_items.number = k.number""",
                [version],
            ).fetchall()
            _say_again(db, version)
        finally:
            cursor.unregister("incoming_keys")


def item_keys(db: Database, pack_id: str) -> list[str]:
    """The keys of a benchmark's items in their order."""
    rows = db.rows("SELECT item_key FROM leak_items WHERE pack = ? ORDER BY number", [pack_id])
    return [row["item_key"] for row in rows]


def save_content_hash(db: Database, pack_id: str, content_hash: str) -> None:
    """Store what a benchmark is recognised by when it comes again."""
    with db.write() as cursor:
        cursor.execute(
            "UPDATE leak_packs SET content_hash = ? WHERE id = ?", [content_hash, pack_id]
        )


def _say_again(db: Database, version: int) -> None:
    changed = """(SELECT DISTINCT former_key, item_key FROM incoming_keys
        WHERE former_key <> item_key) k"""
    cursor = db.cursor()
    cursor.execute(
        f"""INSERT OR IGNORE INTO leak_verdicts (id, item_key, version, {_VERDICT})
        SELECT v.id || ' ' || k.item_key, k.item_key, ?, {_VERDICT}
        FROM leak_verdicts v JOIN {changed} ON k.former_key = v.item_key WHERE v.version <> ?""",
        [version, version],
    ).fetchall()
    cursor.execute(
        f"""INSERT INTO leak_opinions (item_key, version, {_OPINION})
        SELECT k.item_key, ?, {_OPINION}
        FROM leak_opinions o JOIN {changed} ON k.former_key = o.item_key
        WHERE o.version <> ? AND NOT EXISTS (
            SELECT 1 FROM leak_opinions n WHERE n.item_key = k.item_key AND n.seq = o.seq)""",
        [version, version],
    ).fetchall()
