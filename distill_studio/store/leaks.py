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
from distill_studio.store.embeddings import IntArray
from distill_studio.store.pairs import CONTENT_KEY, IS_ANSWER

_STALE = f"""LEFT JOIN leak_checked c ON c.pair_id = p.id AND c.pack = ?
WHERE {IS_ANSWER} AND (c.content_key IS DISTINCT FROM {CONTENT_KEY} OR c.rules <> ?)"""
_OF_PACK = ("leak_items", "leak_checked", "leak_hits", "leak_candidates")
_FOLLOWS = {  # what goes along with an item: the table, and its columns beside pack and item
    "leak_hits": "pair_id, rule, item_side, row_side, coverage, shared, text_hash",
    "leak_candidates": "text_hash, similarity, rank, model",
}
CANDIDATES = f"""leak_candidates c JOIN leak_items i ON i.pack = c.pack AND i.number = c.item
JOIN leak_packs k ON k.id = c.pack
JOIN (SELECT t.prompt_hash, min(p.id) AS pair_id, count(*) AS rows,
      count(*) FILTER (p.status = 'accepted') AS accepted
      FROM pair_texts t JOIN pairs p ON p.id = t.pair_id
      WHERE p.status <> 'rejected' AND {IS_ANSWER}
      AND t.prompt_hash IN (SELECT text_hash FROM leak_candidates) GROUP BY 1
) r ON r.prompt_hash = c.text_hash
LEFT JOIN leak_verdicts_in_force v ON v.item_key = i.item_key AND v.text_hash = c.text_hash
LEFT JOIN leak_opinions_in_force o ON o.item_key = i.item_key AND o.text_hash = c.text_hash"""
IS_OPEN = "coalesce(v.verdict, 'clear') = 'clear'"


# -- packs ----------------------------------------------------------------------------------


def add_pack(db: Database, pack: Row, items: Sequence[Row]) -> None:
    """Store a pack (`id`, `name`, `source`, `content_hash`, `user_name`) with its items.

    `kind` and `origin` belong to packs that are the workspace's own evaluation sets.
    """
    with db.write():
        db.insert("leak_packs", [{**pack, "items": len(items), "made_at": utc_now()}])
        db.insert("leak_items", [{"pack": pack["id"], **item} for item in items])


def packs(db: Database, rules: str) -> list[Row]:
    """All packs by name, own evaluation sets last, each with `unchecked` rows."""
    return db.rows(
        f"""SELECT k.*, (SELECT count(*) FROM pairs p WHERE {IS_ANSWER}) - (
            SELECT count(*) FROM leak_checked c JOIN pairs p ON p.id = c.pair_id
            WHERE c.pack = k.id AND c.rules = ? AND {IS_ANSWER}
            AND c.content_key = {CONTENT_KEY}) AS unchecked
        FROM leak_packs k ORDER BY k.kind <> 'benchmark', k.name""",
        [rules],
    )


def names(db: Database) -> list[str]:
    """The names of all packs, own evaluation sets last."""
    rows = db.rows("SELECT name FROM leak_packs ORDER BY kind <> 'benchmark', name")
    return [row["name"] for row in rows]


def pack(db: Database, name: str) -> Row | None:
    """One pack by its name, or None."""
    return db.row("SELECT * FROM leak_packs WHERE name = ?", [name])


def pack_with_hash(db: Database, content_hash: str) -> Row | None:
    """The benchmark that holds the very same items, or None; own evaluation sets are none."""
    return db.row(
        "SELECT * FROM leak_packs WHERE content_hash = ? AND kind = 'benchmark'", [content_hash]
    )


def own_packs(db: Database) -> list[Row]:
    """The workspace's own evaluation sets: `id`, `name`, `kind`, `origin`, `content_hash`."""
    return db.rows(
        "SELECT id, name, kind, origin, content_hash FROM leak_packs WHERE kind <> 'benchmark'"
    )


def delete_pack(db: Database, pack_id: str) -> None:
    """Forget a pack and what was found with it; verdicts stay, for when it comes again."""
    with db.write() as cursor:
        for table in _OF_PACK:
            cursor.execute(f"DELETE FROM {table} WHERE pack = ?", [pack_id])
        cursor.execute("DELETE FROM leak_packs WHERE id = ?", [pack_id])


def renew_pack(db: Database, old_id: str, pack: Row, items: Sequence[Row]) -> None:
    """Store a pack in place of an older one of the same name, with what was found of its items.

    Finds and candidates follow their items (by `item_key`) to the new numbers, and with them what
    people and models said. No row counts as checked: the other items are new to all of them.
    """
    with db.write() as cursor:
        db.insert("leak_items", [{"pack": pack["id"], **item} for item in items])
        for table, columns in _FOLLOWS.items():
            cursor.execute(
                f"""INSERT INTO {table} (pack, item, {columns})
                SELECT n.pack, n.number, {columns}
                FROM {table} f JOIN leak_items o ON o.pack = f.pack AND o.number = f.item
                JOIN leak_items n ON n.item_key = o.item_key AND n.pack = $new
                WHERE f.pack = $old""",
                {"old": old_id, "new": pack["id"]},
            ).fetchall()
        delete_pack(db, old_id)
        db.insert("leak_packs", [{**pack, "items": len(items), "made_at": utc_now()}])


def items(db: Database, pack_id: str) -> list[Row]:
    """The items of a pack in their order."""
    return db.rows("SELECT * FROM leak_items WHERE pack = ? ORDER BY number", [pack_id])


# -- the check ------------------------------------------------------------------------------


def rows_to_check(db: Database, pack_id: str, rules: str, limit: int, after: str = "") -> list[Row]:
    """Rows new, edited, or checked by other rules, from the id `after` on.

    Columns: `pair_id`, `content_key` and the row's texts.
    """
    return db.rows(
        f"""SELECT p.id AS pair_id, {CONTENT_KEY} AS content_key, p.messages,
        coalesce(p.edited_answer, p.answer) AS answer, p.reasoning
        FROM pairs p LEFT JOIN leak_checked c ON c.pair_id = p.id AND c.pack = $pack
            AND c.pair_id > $after
        WHERE p.id > $after AND {IS_ANSWER}
        AND (c.content_key IS DISTINCT FROM {CONTENT_KEY} OR c.rules <> $rules)
        ORDER BY p.id LIMIT $limit""",
        {"pack": pack_id, "rules": rules, "limit": limit, "after": after},
    )


def unchecked_count(db: Database, pack_id: str, rules: str) -> int:
    """How many rows `rows_to_check` would give."""
    return int(db.value(f"SELECT count(*) FROM pairs p {_STALE}", [pack_id, rules]))


def unchecked_by_any(db: Database, rules: str) -> int:
    """Rows that some pack was not checked against, edited ones included; 0 without packs."""
    return int(
        db.value(
            f"""WITH checked AS (
                SELECT c.pair_id, c.content_key FROM leak_checked c
                JOIN leak_packs k ON k.id = c.pack
                WHERE c.rules = ? GROUP BY 1, 2
                HAVING count(*) >= (SELECT count(*) FROM leak_packs))
            SELECT count(*) FROM pairs p WHERE EXISTS (SELECT 1 FROM leak_packs) AND {IS_ANSWER}
            AND NOT EXISTS (SELECT 1 FROM checked c
                WHERE c.pair_id = p.id AND c.content_key = {CONTENT_KEY})""",
            [rules],
        )
    )


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


def hit_counts(db: Database) -> dict[str, Row]:
    """By pack, where there is any find: `finds`, `rows` with one, `items` found, `accepted` rows,
    finds `denied` by people, and rows by rule."""
    found = db.rows(
        f"""SELECT h.pack, count(*) AS finds,
        count(DISTINCT h.pair_id) AS rows, count(DISTINCT h.item) AS items,
        count(DISTINCT h.pair_id) FILTER (h.rule = 'exact') AS exact,
        count(DISTINCT h.pair_id) FILTER (h.rule = 'ngram') AS ngram,
        count(DISTINCT h.pair_id) FILTER (h.rule = 'coverage') AS coverage,
        count(DISTINCT h.pair_id) FILTER (p.status = 'accepted') AS accepted,
        count(*) FILTER (v.verdict = 'not_leak') AS denied
        FROM leak_hits h JOIN pairs p ON p.id = h.pair_id
        JOIN leak_items i ON i.pack = h.pack AND i.number = h.item
        LEFT JOIN leak_verdicts_in_force v
            ON v.item_key = i.item_key AND v.text_hash = h.text_hash
        WHERE p.status <> 'rejected' AND {IS_ANSWER} GROUP BY 1"""
    )
    return {row["pack"]: row for row in found}


def hits(db: Database, pack_id: str, rule: str, limit: int, offset: int) -> list[Row]:
    """Finds of a pack, the most covered first, with the item's texts and the verdict on them."""
    where, params = ("", []) if not rule else ("AND h.rule = ?", [rule])
    found = db.rows(
        f"""SELECT h.*, i.label, i.item_key, i.prompt, i.answer, p.status,
        CASE WHEN {IS_OPEN} THEN '' ELSE v.verdict END AS verdict
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
    db: Database,
    pack_id: str,
    *,
    is_open: bool,
    limit: int,
    offset: int = 0,
    opinion: str = "",
) -> list[Row]:
    """The queue of a pack ('' = of all), likely leaks first; open ones, or those judged.

    With `opinion` only those of which a model said that ('' = whatever it said).
    """
    return db.rows(
        f"""SELECT c.pack, k.name, c.item, c.text_hash, c.similarity, c.rank, i.label, i.item_key,
        i.prompt, i.answer, r.pair_id, r.rows, r.accepted,
        CASE WHEN {IS_OPEN} THEN '' ELSE v.verdict END AS verdict,
        coalesce(v.user_name, '') AS judged_by, coalesce(o.said, '') AS opinion,
        coalesce(o.teacher, '') AS opinion_by, coalesce(o.reason, '') AS opinion_reason
        FROM {CANDIDATES} WHERE {_where(is_open=is_open)}
        ORDER BY c.rank DESC, c.pack, c.item, c.text_hash LIMIT $limit OFFSET $offset""",
        {"pack": pack_id, "opinion": opinion, "limit": limit, "offset": offset},
    )


def candidate_count(db: Database, pack_id: str, *, is_open: bool, opinion: str = "") -> int:
    """How many `candidates` has in all."""
    return int(
        db.value(
            f"SELECT count(*) FROM {CANDIDATES} WHERE {_where(is_open=is_open)}",
            {"pack": pack_id, "opinion": opinion},
        )
    )


def candidate_counts(db: Database) -> dict[str, Row]:
    """By pack, where there is any candidate.

    `open`, `leak` and `not_leak` by people's verdicts; of the open ones `model_leak`,
    `model_not_leak`, `model_unsure` and `model_failed` by what a model said of them.
    """
    said = {
        "model_leak": "('leak')",
        "model_not_leak": "('not_leak')",
        "model_unsure": "('unsure')",
        "model_failed": "('unreadable', 'failed')",
    }
    by_model = ", ".join(
        f"count(*) FILTER ({IS_OPEN} AND o.said IN {words}) AS {name}"
        for name, words in said.items()
    )
    found = db.rows(
        f"""SELECT c.pack, count(*) FILTER ({IS_OPEN}) AS open,
        count(*) FILTER (v.verdict = 'leak') AS leak,
        count(*) FILTER (v.verdict = 'not_leak') AS not_leak, {by_model}
        FROM {CANDIDATES} GROUP BY 1"""
    )
    return {row["pack"]: row for row in found}


def _where(*, is_open: bool) -> str:
    return f"""($pack = '' OR c.pack = $pack) AND {"" if is_open else "NOT"} ({IS_OPEN})
    AND ($opinion = '' OR coalesce(o.said, '') = $opinion
        OR ($opinion = 'failed' AND o.said = 'unreadable'))"""


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

    For each pack `name`, `source`, `kind`, `content_hash`, `items`, and of the rows how many are
    `unchecked` and how many are `leaked` (by the rules and by people's verdicts).
    """
    return db.rows(
        f"""WITH chosen AS MATERIALIZED (
            SELECT p.id, {CONTENT_KEY} AS content_key FROM pairs p
            WHERE p.id IN (SELECT unnest(?::VARCHAR[])) AND {IS_ANSWER})
        SELECT k.name, k.source, k.kind, k.content_hash, k.items,
        (SELECT count(*) FROM chosen) - (
            SELECT count(*) FROM leak_checked c
            JOIN chosen x ON x.id = c.pair_id AND x.content_key = c.content_key
            WHERE c.pack = k.id AND c.rules = ?) AS unchecked,
        (SELECT count(DISTINCT e.pair_id) FROM leak_evidence e
            JOIN chosen x ON x.id = e.pair_id WHERE e.pack = k.id) AS leaked
        FROM leak_packs k ORDER BY k.kind <> 'benchmark', k.name""",
        [list(pair_ids), rules],
    )
