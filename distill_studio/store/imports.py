"""What is stored already of a file that is about to come in."""

from collections.abc import Sequence

from distill_studio.store.database import Database, Row


def seed_hashes(db: Database, hashes: Sequence[str]) -> set[str]:
    """Those of the content hashes that a seed has."""
    rows = db.rows(
        "SELECT content_hash FROM seeds WHERE content_hash IN (SELECT unnest(?::VARCHAR[]))",
        [list(hashes)],
    )
    return {row["content_hash"] for row in rows}


def pairs_like(db: Database, hashes: Sequence[str]) -> list[Row]:
    """Imported pairs with one of the content hashes, oldest first.

    Columns: `id`, `content_hash`, `teacher`, `reasoning_md5`, `status`.
    """
    return db.rows(
        """SELECT id, content_hash, teacher, md5(reasoning) AS reasoning_md5, status FROM pairs
        WHERE recipe = 'import' AND content_hash IN (SELECT unnest(?::VARCHAR[])) ORDER BY id""",
        [list(hashes)],
    )


def compared(db: Database, chosen_ids: Sequence[str]) -> set[tuple[str, str, str]]:
    """(chosen, rejected, judge) of the imported preferences for the better ones of `chosen_ids`.

    The judge is '' where a file named none.
    """
    rows = db.rows(
        """SELECT chosen_pair_id, rejected_pair_id,
        CASE source WHEN 'judge' THEN user_name ELSE '' END AS judge FROM preferences
        WHERE source IN ('import', 'judge') AND chosen_pair_id IN (SELECT unnest(?::VARCHAR[]))""",
        [list(chosen_ids)],
    )
    return {(row["chosen_pair_id"], row["rejected_pair_id"], row["judge"]) for row in rows}


def pending(db: Database, pair_ids: Sequence[str]) -> list[str]:
    """Those of the pairs that nobody has decided on."""
    rows = db.rows(
        "SELECT id FROM pairs WHERE status = 'pending' AND id IN (SELECT unnest(?::VARCHAR[]))",
        [list(pair_ids)],
    )
    return [row["id"] for row in rows]
