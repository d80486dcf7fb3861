"""Benchmark packs, the rows that hold their items, candidates, and what people said of them.

What counts as a leak in the end is the view `leak_scores` (migration 0016), which the filter
`contaminated` reads as a score.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np

from distill_studio.core.protocols import FloatMatrix
from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row
from distill_studio.store.embeddings import CONTENT_KEY, IntArray
from distill_studio.store.pairs import IS_ANSWER

_STALE = f"""LEFT JOIN leak_checked c ON c.pair_id = p.id AND c.pack = ?
WHERE {IS_ANSWER} AND (c.content_key IS DISTINCT FROM {CONTENT_KEY} OR c.rules <> ?)"""
_OF_PACK = ("leak_items", "leak_checked", "leak_hits", "leak_candidates")
_CANDIDATES = """leak_candidates c JOIN leak_items i ON i.pack = c.pack AND i.number = c.item
JOIN leak_packs k ON k.id = c.pack
JOIN (SELECT t.prompt_hash, min(p.id) AS pair_id, count(*) AS rows,
      count(*) FILTER (p.status = 'accepted') AS accepted
      FROM pair_texts t JOIN pairs p ON p.id = t.pair_id
      WHERE p.status <> 'rejected' AND p.recipe <> 'compare' GROUP BY 1
) r ON r.prompt_hash = c.text_hash
LEFT JOIN leak_verdicts_in_force v ON v.item_key = i.item_key AND v.text_hash = c.text_hash"""


# -- packs ----------------------------------------------------------------------------------


def add_pack(db: Database, pack: Row, items: Sequence[Row]) -> None:
    """Store a pack (`id`, `name`, `source`, `content_hash`, `user_name`) with its items."""
    with db.write():
        db.insert("leak_packs", [{**pack, "items": len(items), "made_at": utc_now()}])
        db.insert("leak_items", [{"pack": pack["id"], **item} for item in items])


def packs(db: Database, rules: str) -> list[Row]:
    """All packs by name, each with `unchecked` rows, and with rows that it hits by rule."""
    return db.rows(
        f"""SELECT k.*, (SELECT count(*) FROM pairs p WHERE {IS_ANSWER}) - (
            SELECT count(*) FROM leak_checked c JOIN pairs p ON p.id = c.pair_id
            WHERE c.pack = k.id AND c.rules = ? AND {IS_ANSWER}
            AND c.content_key = {CONTENT_KEY}) AS unchecked
        FROM leak_packs k ORDER BY k.name""",
        [rules],
    )


def pack(db: Database, name: str) -> Row | None:
    """One pack by its name, or None."""
    return db.row("SELECT * FROM leak_packs WHERE name = ?", [name])


def pack_with_hash(db: Database, content_hash: str) -> Row | None:
    """The pack that holds the very same items, or None."""
    return db.row("SELECT * FROM leak_packs WHERE content_hash = ?", [content_hash])


def delete_pack(db: Database, pack_id: str) -> None:
    """Forget a pack and what was found with it; verdicts stay, for when it comes again."""
    with db.write() as cursor:
        for table in _OF_PACK:
            cursor.execute(f"DELETE FROM {table} WHERE pack = ?", [pack_id])
        cursor.execute("DELETE FROM leak_packs WHERE id = ?", [pack_id])


def items(db: Database, pack_id: str) -> list[Row]:
    """The items of a pack in their order."""
    return db.rows("SELECT * FROM leak_items WHERE pack = ? ORDER BY number", [pack_id])


# -- the check ------------------------------------------------------------------------------


def rows_to_check(db: Database, pack_id: str, rules: str, limit: int) -> list[Row]:
    """Rows new, edited, or checked by other rules: `pair_id`, `content_key` and their texts."""
    return db.rows(
        f"""SELECT p.id AS pair_id, {CONTENT_KEY} AS content_key, p.messages,
        coalesce(p.edited_answer, p.answer) AS answer, p.reasoning
        FROM pairs p {_STALE} ORDER BY p.id LIMIT ?""",
        [pack_id, rules, limit],
    )


def unchecked_count(db: Database, pack_id: str, rules: str) -> int:
    """How many rows `rows_to_check` would give."""
    return int(db.value(f"SELECT count(*) FROM pairs p {_STALE}", [pack_id, rules]))


def save_check(
    db: Database, pack_id: str, rules: str, checked: Sequence[Row], hits: Sequence[Row]
) -> None:
    """Store what a check of some rows (`pair_id`, `content_key`) found, in place of older finds."""
    ids = [row["pair_id"] for row in checked]
    with db.write() as cursor:
        for table in ("leak_checked", "leak_hits"):
            cursor.execute(
                f"DELETE FROM {table} WHERE pack = ? AND pair_id IN (SELECT unnest(?))",
                [pack_id, ids],
            )
        db.insert("leak_hits", [{"pack": pack_id, **hit} for hit in hits])
        db.insert(
            "leak_checked",
            [
                {
                    "pack": pack_id,
                    "pair_id": row["pair_id"],
                    "content_key": row["content_key"],
                    "rules": rules,
                }
                for row in checked
            ],
        )


def hit_counts(db: Database, pack_id: str) -> Row:
    """`rows` with hits, `items` hit, `accepted` rows, `denied` finds, and finds by rule."""
    found = db.row(
        f"""SELECT count(DISTINCT h.pair_id) AS rows, count(DISTINCT h.item) AS items,
        count(DISTINCT h.pair_id) FILTER (h.rule = 'exact') AS exact,
        count(DISTINCT h.pair_id) FILTER (h.rule = 'ngram') AS ngram,
        count(DISTINCT h.pair_id) FILTER (h.rule = 'coverage') AS coverage,
        count(DISTINCT h.pair_id) FILTER (p.status = 'accepted') AS accepted,
        count(*) FILTER (v.verdict = 'not_leak') AS denied
        FROM leak_hits h JOIN pairs p ON p.id = h.pair_id
        JOIN leak_items i ON i.pack = h.pack AND i.number = h.item
        LEFT JOIN leak_verdicts_in_force v
            ON v.item_key = i.item_key AND v.text_hash = h.text_hash
        WHERE h.pack = ? AND p.status <> 'rejected' AND {IS_ANSWER}""",
        [pack_id],
    )
    return found or {}


def hits(db: Database, pack_id: str, rule: str, limit: int, offset: int) -> list[Row]:
    """Finds of a pack, the most covered first, with the item's texts and the verdict on them."""
    where, params = ("", []) if not rule else ("AND h.rule = ?", [rule])
    found = db.rows(
        f"""SELECT h.*, i.label, i.item_key, i.prompt, i.answer, p.status,
        coalesce(v.verdict, '') AS verdict
        FROM leak_hits h JOIN pairs p ON p.id = h.pair_id
        JOIN leak_items i ON i.pack = h.pack AND i.number = h.item
        LEFT JOIN leak_verdicts_in_force v
            ON v.item_key = i.item_key AND v.text_hash = h.text_hash
        WHERE h.pack = ? AND p.status <> 'rejected' AND {IS_ANSWER} {where}
        ORDER BY h.coverage DESC, h.pair_id, h.item LIMIT ? OFFSET ?""",
        [pack_id, *params, limit, offset],
    )
    return [{**row, "shared": json.loads(row["shared"])} for row in found]


# -- candidates -----------------------------------------------------------------------------


def prompt_vectors(
    db: Database, model: str, dim: int, per_block: int
) -> Iterator[tuple[list[str], FloatMatrix, IntArray]]:
    """Blocks of the rows' embedded prompts: (hashes, their windows end to end, window counts)."""
    hashes = [
        row["prompt_hash"]
        for row in db.rows(
            f"""SELECT DISTINCT t.prompt_hash FROM pair_texts t JOIN pairs p ON p.id = t.pair_id
            WHERE t.prompt_hash <> '' AND p.status <> 'rejected' AND {IS_ANSWER} ORDER BY 1"""
        )
    ]
    for start in range(0, len(hashes), per_block):
        yield vectors_of(db, model, dim, hashes[start : start + per_block])


def vectors_of(
    db: Database, model: str, dim: int, hashes: Sequence[str]
) -> tuple[list[str], FloatMatrix, IntArray]:
    """Of those texts that have vectors: (hashes, windows end to end, counts)."""
    arrow = (
        db
        .cursor()
        .sql(
            f"""SELECT text_hash, vector FROM vectors_{int(dim)}
            WHERE model = ? AND text_hash IN (SELECT unnest(?::VARCHAR[]))
            ORDER BY text_hash, window_no""",
            params=[model, list(hashes)],
        )
        .to_arrow_table()
    )
    flat = arrow["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    names, counts = np.unique(
        np.array(arrow["text_hash"].to_pylist(), dtype=object), return_counts=True
    )
    return [str(n) for n in names], flat.reshape(-1, dim), counts.astype(np.int64)


def prompts_of(db: Database, hashes: Sequence[str]) -> dict[str, str]:
    """Of prompts by hash the conversation as JSON."""
    rows = db.rows(
        """SELECT t.prompt_hash, any_value(p.messages) AS messages FROM pair_texts t
        JOIN pairs p ON p.id = t.pair_id
        WHERE t.prompt_hash IN (SELECT unnest(?::VARCHAR[])) GROUP BY 1""",
        [list(hashes)],
    )
    return {row["prompt_hash"]: row["messages"] for row in rows}


def found_verbatim(db: Database, pack_id: str) -> set[tuple[int, str]]:
    """(item, hash of the row's text) that the rules found already."""
    rows = db.rows("SELECT DISTINCT item, text_hash FROM leak_hits WHERE pack = ?", [pack_id])
    return {(row["item"], row["text_hash"]) for row in rows}


def save_candidates(db: Database, pack_id: str, found: Sequence[Row]) -> None:
    """Put candidates in place of the pack's older ones; those with a verdict stay."""
    with db.write() as cursor:
        cursor.execute(
            """DELETE FROM leak_candidates WHERE pack = $pack AND NOT EXISTS (
                SELECT 1 FROM leak_items i JOIN leak_verdicts_in_force v
                ON v.item_key = i.item_key AND v.verdict <> 'clear'
                WHERE i.pack = leak_candidates.pack AND i.number = leak_candidates.item
                AND v.text_hash = leak_candidates.text_hash)""",
            {"pack": pack_id},
        )
        kept = {
            (row["item"], row["text_hash"])
            for row in db.rows(
                "SELECT item, text_hash FROM leak_candidates WHERE pack = ?", [pack_id]
            )
        }
        fresh = [row for row in found if (row["item"], row["text_hash"]) not in kept]
        db.insert("leak_candidates", [{"pack": pack_id, **row} for row in fresh])


def candidates(
    db: Database, pack_id: str, *, is_open: bool, limit: int, offset: int = 0
) -> list[Row]:
    """The queue of a pack ('' = of all), likely leaks first; open ones, or those judged."""
    judged = "coalesce(v.verdict, 'clear') <> 'clear'"
    return db.rows(
        f"""SELECT c.pack, k.name, c.item, c.text_hash, c.similarity, c.rank, i.label, i.item_key,
        i.prompt, i.answer, r.pair_id, r.rows, r.accepted,
        CASE WHEN {judged} THEN v.verdict ELSE '' END AS verdict,
        coalesce(v.user_name, '') AS judged_by
        FROM {_CANDIDATES} WHERE (? = '' OR c.pack = ?) AND {"NOT" if is_open else ""} ({judged})
        ORDER BY c.rank DESC, c.pack, c.item, c.text_hash LIMIT ? OFFSET ?""",
        [pack_id, pack_id, limit, offset],
    )


def candidate_counts(db: Database, pack_id: str) -> Row:
    """`open`, `leak` and `not_leak` candidates of a pack ('' = of all)."""
    found = db.row(
        f"""SELECT count(*) FILTER (coalesce(v.verdict, 'clear') = 'clear') AS open,
        count(*) FILTER (v.verdict = 'leak') AS leak,
        count(*) FILTER (v.verdict = 'not_leak') AS not_leak
        FROM {_CANDIDATES} WHERE (? = '' OR c.pack = ?)""",
        [pack_id, pack_id],
    )
    return found or {}


# -- verdicts -------------------------------------------------------------------------------


def is_known(db: Database, pack_id: str, item: int, text_hash: str) -> str:
    """The item's key when the rules or the search brought it together with the text, else ''."""
    return str(
        db.value(
            """SELECT i.item_key FROM leak_items i WHERE i.pack = $pack AND i.number = $item
            AND $hash IN (
                SELECT text_hash FROM leak_candidates WHERE pack = $pack AND item = $item
                UNION ALL
                SELECT text_hash FROM leak_hits WHERE pack = $pack AND item = $item)""",
            {"pack": pack_id, "item": item, "hash": text_hash},
        )
        or ""
    )


def add_verdict(
    db: Database,
    user: str,
    verdict_id: str,
    said: tuple[str, str, str],
    made_at: datetime | None = None,
) -> None:
    """Append (item key, text hash, verdict); the same (user, id) again changes nothing."""
    item_key, text_hash, verdict = said
    row = {
        "user_name": user,
        "id": verdict_id,
        "item_key": item_key,
        "text_hash": text_hash,
        "verdict": verdict,
        "made_at": made_at or utc_now(),
    }
    db.insert("leak_verdicts", [row], or_ignore=True)


def checked_pairs(db: Database, pair_ids: Sequence[str], rules: str) -> list[Row]:
    """What some rows were checked against.

    For each pack `name`, `source`, `content_hash`, `items`, and of the rows how many are
    `unchecked` and how many are `leaked`.
    """
    return db.rows(
        f"""WITH chosen AS MATERIALIZED (
            SELECT p.id, {CONTENT_KEY} AS content_key FROM pairs p
            WHERE p.id IN (SELECT unnest(?::VARCHAR[])))
        SELECT k.name, k.source, k.content_hash, k.items,
        (SELECT count(*) FROM chosen) - (
            SELECT count(*) FROM leak_checked c
            JOIN chosen x ON x.id = c.pair_id AND x.content_key = c.content_key
            WHERE c.pack = k.id AND c.rules = ?) AS unchecked,
        (SELECT count(DISTINCT e.pair_id) FROM leak_evidence e
            JOIN chosen x ON x.id = e.pair_id WHERE e.pack = k.id) AS leaked
        FROM leak_packs k ORDER BY k.name""",
        [list(pair_ids), rules],
    )
