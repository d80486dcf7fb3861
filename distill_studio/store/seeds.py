"""Seeds: save, count and page through them."""

import json
from collections.abc import Sequence

from distill_studio.core.records import Message, Seed
from distill_studio.store.database import Database, Row

_A_QUERY = 500

_COLUMNS = "id, messages, topic, source, reference, extra, created_at"


def to_row(seed: Seed) -> Row:
    """The columns of a seed."""
    return {
        "id": seed.id,
        "messages": json.dumps([m.model_dump() for m in seed.messages], ensure_ascii=False),
        "prompt": seed.prompt,
        "topic": seed.topic,
        "source": seed.source,
        "reference": seed.reference,
        "extra": json.dumps(seed.extra, ensure_ascii=False, default=str),
        "content_hash": seed.content_hash,
        "created_at": seed.created_at,
    }


def from_row(row: Row) -> Seed:
    """A seed from its columns."""
    fields = {**row, "messages": [Message(**m) for m in json.loads(row["messages"])]}
    fields["extra"] = json.loads(row["extra"])
    return Seed(**fields)


def insert(db: Database, seeds: Sequence[Seed]) -> dict[str, str]:
    """Store the new ones; equal conversations are stored once.

    Returns:
        For each given seed's id the id under which its conversation is stored (its own, or that
        of the equal one already there).
    """
    first_by_hash: dict[str, Seed] = {}
    for seed in seeds:
        first_by_hash.setdefault(seed.content_hash, seed)
    with db.write():
        stored = _ids_by_hash(db, list(first_by_hash))
        new = [seed for digest, seed in first_by_hash.items() if digest not in stored]
        db.insert("seeds", [to_row(seed) for seed in new])
    stored |= {seed.content_hash: seed.id for seed in new}
    return {seed.id: stored[seed.content_hash] for seed in seeds}


def _ids_by_hash(db: Database, hashes: Sequence[str]) -> dict[str, str]:
    """Content hash -> id of the seeds that are stored."""
    found: dict[str, str] = {}
    for start in range(0, len(hashes), _A_QUERY):
        some = hashes[start : start + _A_QUERY]
        marks = ", ".join("?" for _ in some)  # a list in SQL: the index finds them, a join scans
        sql = f"SELECT content_hash, id FROM seeds WHERE content_hash IN ({marks})"
        found |= {row["content_hash"]: row["id"] for row in db.rows(sql, some)}
    return found


def page(
    db: Database,
    *,
    after: str = "",
    limit: int = 50,
    search: str = "",
    topic: str = "",
    source: str = "",
    newest_first: bool = False,
) -> list[Seed]:
    """At most `limit` seeds by age, from the id `after` on (before it when `newest_first`)."""
    where, params = _where(search=search, topic=topic, source=source)
    if after:
        where += f" AND id {'<' if newest_first else '>'} ?"
        params.append(after)
    order = "DESC" if newest_first else "ASC"
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM seeds WHERE {where} ORDER BY id {order} LIMIT ?",
        [*params, limit],
    )
    return [from_row(row) for row in rows]


def count(db: Database, *, search: str = "", topic: str = "", source: str = "") -> int:
    """How many seeds match."""
    where, params = _where(search=search, topic=topic, source=source)
    return int(db.value(f"SELECT count(*) FROM seeds WHERE {where}", params))


def get(db: Database, ids: Sequence[str]) -> list[Seed]:
    """The seeds with these ids, in order of age; unknown ids are left out."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM seeds WHERE id IN (SELECT unnest(?)) ORDER BY id", [list(ids)]
    )
    return [from_row(row) for row in rows]


def prompts(db: Database) -> list[str]:
    """Every seed's prompt: the one list that is held in memory, to compare new ones with."""
    return [row["prompt"] for row in db.rows("SELECT prompt FROM seeds ORDER BY id")]


def delete(db: Database, ids: Sequence[str]) -> int:
    """Delete seeds that no pair answers; returns how many went."""
    with db.write():
        rows = db.rows(
            "DELETE FROM seeds WHERE id IN (SELECT unnest(?))"
            " AND id NOT IN (SELECT seed_id FROM pairs) RETURNING id",
            [list(ids)],
        )
    return len(rows)


def sources(db: Database) -> list[Row]:
    """Each source with its number of seeds: `source`, `count`."""
    return db.rows("SELECT source, count(*) AS count FROM seeds GROUP BY 1 ORDER BY 2 DESC, 1")


def facets(db: Database) -> dict[str, list[str]]:
    """The values that occur in `topic` and `source`, most frequent first."""
    return {
        column: [
            row["value"]
            for row in db.rows(
                f"SELECT {column} AS value FROM seeds WHERE {column} <> ''"
                " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 200"
            )
        ]
        for column in ("topic", "source")
    }


def _where(*, search: str, topic: str, source: str) -> tuple[str, list[str]]:
    tests, params = ["true"], []
    for column, value in (("topic", topic), ("source", source)):
        if value:
            tests.append(f"{column} = ?")
            params.append(value)
    if search:
        tests.append("contains(lower(prompt), lower(?))")
        params.append(search)
    return " AND ".join(tests), params
