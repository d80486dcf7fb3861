"""Snapshots, and the light reading of pairs and preferences that choosing their rows needs."""

import json
from collections.abc import Iterator

from distill_studio.core.records import Curation, Message, PairStatus, Snapshot
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import PairQuery, where_clause

_COLUMNS = """id, name, format, content_hash, train_rows, validation_rows, manifest,
user_name AS "user", created_at"""
_PAGE_ROWS = 5000


def insert(db: Database, snapshot: Snapshot) -> None:
    """Store a new snapshot."""
    row = snapshot.model_dump(exclude={"user", "manifest"})
    manifest = json.dumps(snapshot.manifest, ensure_ascii=False, default=str)
    db.insert("snapshots", [{**row, "user_name": snapshot.user, "manifest": manifest}])


def get(db: Database, name: str) -> Snapshot | None:
    """The snapshot of that name."""
    row = db.row(f"SELECT {_COLUMNS} FROM snapshots WHERE name = ?", [name])
    return _from_row(row) if row else None


def page(db: Database, *, after: str = "", limit: int = 50) -> list[Snapshot]:
    """Newest first, from the id `after` on."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM snapshots WHERE ? = '' OR id < ? ORDER BY id DESC LIMIT ?",
        [after, after, limit],
    )
    return [_from_row(row) for row in rows]


def with_hash(db: Database, content_hash: str) -> list[str]:
    """Names of the snapshots of these very rows."""
    rows = db.rows("SELECT name FROM snapshots WHERE content_hash = ?", [content_hash])
    return [row["name"] for row in rows]


def delete(db: Database, name: str) -> None:
    """Forget a snapshot."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM snapshots WHERE name = ?", [name]).fetchall()


def pair_prompts(db: Database, query: PairQuery) -> Iterator[tuple[Row, list[Message]]]:
    """Each matching pair as (`id`, `seed_id`, `is_empty`; its messages), oldest first."""
    where, params = where_clause(query)
    after = ""
    while True:
        rows = db.rows(
            f"""SELECT id, seed_id, messages, trim(coalesce(edited_answer, answer)) = '' AS is_empty
            FROM pairs WHERE {where} AND id > ? ORDER BY id LIMIT ?""",
            [*params, after, _PAGE_ROWS],
        )
        for row in rows:
            yield row, [Message(**m) for m in json.loads(row.pop("messages"))]
        if len(rows) < _PAGE_ROWS:
            return
        after = rows[-1]["id"]


def left_out(db: Database, query: PairQuery) -> dict[str, int]:
    """Reason to count of the pairs that match the query but for their status and curation."""
    rest = query.model_copy(update={"status": None, "curation": None})
    where, params = where_clause(rest)
    rows = db.rows(
        f"""SELECT CASE WHEN status <> ? THEN status
            WHEN curation = 'duplicate' THEN 'duplicate'
            ELSE 'filtered: ' || left(split_part(curation_reason, ':', 1), 60) END AS reason,
        count(*) AS count FROM pairs
        WHERE {where} AND (status <> ? OR curation <> ?)
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 30""",
        [
            query.status or PairStatus.ACCEPTED,
            *params,
            query.status or PairStatus.ACCEPTED,
            query.curation or Curation.KEPT,
        ],
    )
    return {row["reason"]: row["count"] for row in rows}


def compared_pairs(db: Database, query: PairQuery) -> list[Row]:
    """All preferences whose chosen pair matches the query, those of comparisons too, oldest first.

    Columns: `id`, `outcome`, `is_judges` (a model's, not a person's), `chosen_pair_id`,
    `rejected_pair_id`, `seed_id`, `messages`, `same_prompt`, `chosen_status`, `chosen_curation`,
    `same_text`, `is_empty`.
    """
    where, params = where_clause(query, with_compared=True)
    rows = db.rows(
        f"""SELECT p.id, p.outcome, p.source IN ('judge', 'rule') AS is_judges,
        p.chosen_pair_id, p.rejected_pair_id, c.seed_id, c.messages,
        c.messages = r.messages AS same_prompt,
        c.status AS chosen_status, c.curation AS chosen_curation,
        coalesce(c.edited_answer, c.answer) = coalesce(r.edited_answer, r.answer) AS same_text,
        trim(coalesce(c.edited_answer, c.answer)) = ''
            OR trim(coalesce(r.edited_answer, r.answer)) = '' AS is_empty
        FROM preferences p JOIN pairs c ON c.id = p.chosen_pair_id
        JOIN pairs r ON r.id = p.rejected_pair_id
        WHERE c.id IN (SELECT id FROM pairs WHERE {where}) ORDER BY p.id""",
        params,
    )
    return rows


def teachers_of(db: Database, pair_ids: list[str]) -> dict[str, int]:
    """Teacher to number of pairs, most first."""
    rows = db.rows(
        """SELECT teacher, count(*) AS count FROM pairs
        WHERE id IN (SELECT unnest(?::VARCHAR[])) GROUP BY 1 ORDER BY 2 DESC, 1""",
        [pair_ids],
    )
    return {row["teacher"]: row["count"] for row in rows}


def teachers_matching(db: Database, query: PairQuery) -> dict[str, int]:
    """Teacher to number of the matching pairs, most first."""
    where, params = where_clause(query)
    rows = db.rows(
        f"""SELECT teacher, count(*) AS count FROM pairs WHERE {where}
        GROUP BY 1 ORDER BY 2 DESC, 1""",
        params,
    )
    return {row["teacher"]: row["count"] for row in rows}


def _from_row(row: Row) -> Snapshot:
    return Snapshot(**{**row, "manifest": json.loads(row["manifest"])})
