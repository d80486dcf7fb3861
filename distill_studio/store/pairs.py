"""Pairs: save, count and page through them with filters. Decisions live in `decisions.py`."""

import json
from collections.abc import Sequence

from pydantic import Field

from distill_studio.core.records import Curation, Message, Pair, PairStatus, Record
from distill_studio.store import search
from distill_studio.store.database import Database, Row

_COLUMNS = """id, seed_id, messages, answer, reasoning, topic, source, teacher, model, recipe,
recipe_version, params, job_id, step, sample, finish_reason, prompt_tokens, completion_tokens,
latency_ms, judge_score, created_at, status, edited_answer, reject_reason, decided_by, decided_at,
curation, curation_reason"""


COMPARED = "compare"  # recipe of the answers that a vote on the comparison page stores
# What people review, curate and train on. The answers of a comparison only carry its vote: they
# count as pairs of a preference, and are found by their recipe, their job or their id.
IS_ANSWER = f"recipe <> '{COMPARED}'"

_IDS_A_QUERY = 500
_EXACT = ("status", "curation", "teacher", "recipe", "topic", "source", "job_id", "seed_id")


class PairQuery(Record):
    """Which pairs. Empty fields do not restrict.

    Answers that only carry a vote of the comparison page are left out unless `recipe` or `job_id`
    names them.
    """

    status: PairStatus | None = Field(default=None, description="Decided how.")
    curation: Curation | None = Field(default=None, description="Kept, filtered or duplicate.")
    teacher: str = Field(default="", description="Exact teacher name.")
    recipe: str = Field(default="", description="Exact recipe name.")
    topic: str = Field(default="", description="Exact topic.")
    source: str = Field(default="", description="Exact source.")
    job_id: str = Field(default="", description="Made by this job.")
    seed_id: str = Field(default="", description="Candidates of this seed.")
    search: str = Field(default="", description="Part of prompt or answer, any case.")
    after: str = Field(default="", description="Keyset: only ids after this one.")
    newest_first: bool = Field(default=False, description="Descending; `after` then means before.")
    limit: int = Field(default=50, ge=1, le=10_000, description="Rows at most.")


def to_row(pair: Pair) -> Row:
    """The columns of a pair."""
    row = pair.model_dump(exclude={"messages", "params"})
    row["status"], row["curation"] = pair.status.value, pair.curation.value
    row["messages"] = json.dumps([m.model_dump() for m in pair.messages], ensure_ascii=False)
    row["params"] = json.dumps(pair.params, ensure_ascii=False, default=str)
    row["prompt"], row["content_hash"] = pair.prompt, pair.content_hash
    row["search_text"] = search.normalise(f"{pair.prompt}\n{pair.answer}")
    row["search_bits"] = search.bit_pattern(row["search_text"])
    return row


def from_row(row: Row) -> Pair:
    """A pair from its columns."""
    fields = {**row, "messages": [Message(**m) for m in json.loads(row["messages"])]}
    fields["params"] = json.loads(row["params"])
    return Pair(**fields)


def insert(db: Database, pairs: Sequence[Pair]) -> int:
    """Store pairs; one whose (job, seed, step, sample) is there already is left as it is.

    Returns:
        How many were new.
    """
    rows = [to_row(pair) for pair in pairs]
    with db.write():
        new = _not_stored(db, rows)
        db.insert("pairs", new)
        return len(new)


def _not_stored(db: Database, rows: Sequence[Row]) -> list[Row]:
    """The rows whose id and natural key are free, each key once.

    `INSERT OR IGNORE` would do, but takes time in proportion to the table (DuckDB 2.0): 5 ms for
    200 rows without it, 70 ms with it at 20,000 pairs.
    """
    ids = _stored_ids(db, [row["id"] for row in rows])
    keys: set[tuple[object, ...]] = set()
    for job_id in {row["job_id"] for row in rows}:
        seeds = sorted(row["seed_id"] for row in rows if row["job_id"] == job_id)
        found = db.rows(  # the range skips what is older, the list keeps the answer short
            "SELECT seed_id, step, sample FROM pairs WHERE job_id = ?"
            " AND seed_id BETWEEN ? AND ? AND seed_id IN (SELECT unnest(?))",
            [job_id, seeds[0], seeds[-1], seeds],
        )
        keys |= {(job_id, *row.values()) for row in found}
    new = []
    for row in rows:
        key = (row["job_id"], row["seed_id"], row["step"], row["sample"])
        if key not in keys and row["id"] not in ids:
            new.append(row)
            keys.add(key)
            ids.add(row["id"])
    return new


def _stored_ids(db: Database, ids_wanted: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids_wanted), _IDS_A_QUERY):
        some = ids_wanted[start : start + _IDS_A_QUERY]
        marks = ", ".join("?" for _ in some)  # a list in SQL: the index finds them, a join scans
        found |= {r["id"] for r in db.rows(f"SELECT id FROM pairs WHERE id IN ({marks})", some)}
    return found


def page(db: Database, query: PairQuery) -> list[Pair]:
    """The pairs of one page, oldest first unless `newest_first`."""
    where, params = where_clause(query)
    order = "DESC" if query.newest_first else "ASC"
    if query.after:
        where += f" AND id {'<' if query.newest_first else '>'} ?"
        params.append(query.after)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM pairs WHERE {where} ORDER BY id {order} LIMIT ?",
        [*params, query.limit],
    )
    return [from_row(row) for row in rows]


def count(db: Database, query: PairQuery) -> int:
    """How many pairs match, whatever the page."""
    where, params = where_clause(query)
    return int(db.value(f"SELECT count(*) FROM pairs WHERE {where}", params))


def ids(db: Database, query: PairQuery) -> list[str]:
    """The ids of all that match, oldest first, whatever the page."""
    where, params = where_clause(query)
    return [r["id"] for r in db.rows(f"SELECT id FROM pairs WHERE {where} ORDER BY id", params)]


def get(db: Database, ids_wanted: Sequence[str]) -> list[Pair]:
    """The pairs with these ids, in order of age; unknown ids are left out."""
    wanted = list(dict.fromkeys(ids_wanted))
    found: list[Pair] = []
    for start in range(0, len(wanted), _IDS_A_QUERY):
        some = wanted[start : start + _IDS_A_QUERY]
        marks = ", ".join("?" for _ in some)  # a list in SQL: the index finds them, a join scans
        rows = db.rows(f"SELECT {_COLUMNS} FROM pairs WHERE id IN ({marks})", some)
        found += [from_row(row) for row in rows]
    return sorted(found, key=lambda pair: pair.id)


def counts(db: Database) -> Row:
    """`total`, `pending`, `accepted`, `rejected`, `filtered`, `duplicate`, `usable`.

    The answers of comparisons are not counted.
    `usable` are the accepted ones that the curate stage keeps: what a snapshot takes.
    """
    row = db.row(
        f"""SELECT count(*) AS total,
        count(*) FILTER (status = 'pending') AS pending,
        count(*) FILTER (status = 'accepted') AS accepted,
        count(*) FILTER (status = 'rejected') AS rejected,
        count(*) FILTER (curation = 'filtered') AS filtered,
        count(*) FILTER (curation = 'duplicate') AS duplicate,
        count(*) FILTER (status = 'accepted' AND curation = 'kept') AS usable
        FROM pairs WHERE {IS_ANSWER}"""
    )
    return row or {}


def facets(db: Database) -> dict[str, list[str]]:
    """The values that occur in `teacher`, `recipe`, `topic` and `source`, most frequent first.

    Answers of comparisons count for `recipe` only: by the others a query does not find them.
    """
    return {
        column: [
            r["value"]
            for r in db.rows(
                f"SELECT {column} AS value FROM pairs WHERE {column} <> ''"
                f" AND {'true' if column == 'recipe' else IS_ANSWER}"
                " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 200"
            )
        ]
        for column in ("teacher", "recipe", "topic", "source")
    }


def where_clause(query: PairQuery, *, with_compared: bool = False) -> tuple[str, list[str]]:
    """SQL condition and parameters of a query, without its keyset and limit.

    Args:
        query: Which pairs.
        with_compared: Answers of comparisons too, though the query does not name them.
    """
    is_named = with_compared or query.recipe or query.job_id
    tests, params = ["true" if is_named else IS_ANSWER], []
    for column in _EXACT:
        value = getattr(query, column)
        if value:
            tests.append(f"{column} = ?")
            params.append(str(value))
    if query.search:
        needle = search.normalise(query.search)
        in_text = search.condition("search_text", "search_bits", needle)
        tests.append(f"({in_text} OR contains(lower(edited_answer), ?))")
        params += [needle] * 2
    return " AND ".join(tests), params
