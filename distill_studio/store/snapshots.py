"""Snapshots, and the light reading of pairs and preferences that choosing their rows needs."""

import json
from collections import Counter
from collections.abc import Iterator

from distill_studio.core.records import Curation, Message, PairStatus, Snapshot
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import PairQuery, where_clause
from distill_studio.store.preferences import RANKS_ONLY

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


def with_validation(db: Database) -> list[Row]:
    """`id` and `name` of the snapshots that have a validation split, oldest first."""
    return db.rows("SELECT id, name FROM snapshots WHERE validation_rows > 0 ORDER BY id")


def name_of(db: Database, snapshot_id: str) -> str:
    """The name of a snapshot; '' when it is gone."""
    return str(db.value("SELECT name FROM snapshots WHERE id = ?", [snapshot_id]) or "")


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
    """Reason to count of the pairs that match the query but for their status and curation.

    As the dataset report tells it: what people rejected, then what curation took out, and only of
    the others that they are not decided.
    """
    status, curation = query.status or PairStatus.ACCEPTED, query.curation or Curation.KEPT
    rest = query.model_copy(update={"status": None, "curation": None})
    where, params = where_clause(rest)
    rows = db.rows(
        f"""SELECT CASE WHEN curation = ? OR (status = 'rejected' AND status <> ?) THEN status
            WHEN curation = 'filtered'
                THEN 'filtered: ' || left(split_part(curation_reason, ':', 1), 60)
            ELSE curation END AS reason,
        count(*) AS count FROM pairs
        WHERE {where} AND (status <> ? OR curation <> ?)
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 30""",
        [curation, status, *params, status, curation],
    )
    return {row["reason"]: row["count"] for row in rows}


def compared_pairs(db: Database, query: PairQuery) -> list[Row]:
    """All preferences on two answers of which one matches the query, oldest first.

    Those of comparisons too. Columns: `id`, `outcome`, `source`, `is_final` (an adjudicator's),
    `is_arena` (a judge's vote on models), `is_asked_for` (the chosen one matches),
    `chosen_pair_id`, `rejected_pair_id`, `seed_id`, `messages`, `same_prompt`, `chosen_status`,
    `chosen_curation`, `same_text`, `is_empty`.
    """
    where, params = where_clause(query, with_compared=True)
    rows = db.rows(
        f"""WITH asked AS MATERIALIZED (SELECT id FROM pairs WHERE {where})
        SELECT p.id, p.outcome, p.source, coalesce(p.is_final, false) AS is_final,
        {RANKS_ONLY.format(p="p")} AS is_arena,
        c.id IN (SELECT id FROM asked) AS is_asked_for,
        p.chosen_pair_id, p.rejected_pair_id, c.seed_id, c.messages,
        c.messages = r.messages AS same_prompt,
        c.status AS chosen_status, c.curation AS chosen_curation,
        coalesce(c.edited_answer, c.answer) = coalesce(r.edited_answer, r.answer) AS same_text,
        trim(coalesce(c.edited_answer, c.answer)) = ''
            OR trim(coalesce(r.edited_answer, r.answer)) = '' AS is_empty
        FROM preferences p JOIN pairs c ON c.id = p.chosen_pair_id
        JOIN pairs r ON r.id = p.rejected_pair_id
        WHERE c.id IN (SELECT id FROM asked) OR r.id IN (SELECT id FROM asked) ORDER BY p.id""",
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


def origin_of(db: Database, pair_ids: list[str]) -> Row:
    """Of these pairs: rows by `sources` and by `recipes`, the `models` of each teacher, and how
    many `people` decided on them."""
    groups = db.rows(
        """SELECT source, recipe, teacher, model, decided_by, count(*) AS n FROM pairs
        WHERE id IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL""",
        [pair_ids],
    )
    sources: Counter[str] = Counter()
    recipes: Counter[str] = Counter()
    models: dict[str, set[str]] = {}
    for group in groups:
        sources[group["source"]] += group["n"]
        recipes[group["recipe"]] += group["n"]
        if group["model"]:
            models.setdefault(group["teacher"], set()).add(group["model"])
    return {
        "sources": dict(sources.most_common()),
        "recipes": dict(recipes.most_common()),
        "models": {teacher: sorted(found) for teacher, found in models.items()},
        "people": len({group["decided_by"] for group in groups} - {""}),
    }


def voters_of(db: Database, preference_ids: list[str]) -> int:
    """How many people made these preferences."""
    row = db.row(
        """SELECT count(DISTINCT user_name) AS n FROM preferences
        WHERE id IN (SELECT unnest(?::VARCHAR[])) AND source IN ('person', 'arena')""",
        [preference_ids],
    )
    return int(row["n"]) if row else 0


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
