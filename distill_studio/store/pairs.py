"""Pairs: save, count and page through them with filters. Decisions live in `decisions.py`."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.records import Curation, Message, Pair, PairStatus, Record
from distill_studio.store import search
from distill_studio.store.database import Database, Row

_COLUMNS = """id, seed_id, messages, answer, reasoning, topic, source, teacher, model, recipe,
recipe_version, params, job_id, step, sample, finish_reason, prompt_tokens, completion_tokens,
latency_ms, judge_score, created_at, status, edited_answer, reject_reason, decided_by, decided_at,
curation, curation_reason"""


COMPARED = "compare"  # recipe of the answers that a vote on the comparison page stores
WAY_BACK = "way_back"  # of a teacher's and a student's answer to a prompt that the student lost
# What people review, curate and train on. The answers of a comparison only carry its vote: they
# count as pairs of a preference, and are found by their recipe, their job or their id.
IS_ANSWER = f"recipe NOT IN ('{COMPARED}', '{WAY_BACK}')"
IS_CANDIDATE = f"recipe <> '{COMPARED}'"  # what people may compare
MODEL = "coalesce(nullif({p}.teacher, ''), {p}.model)"  # who wrote it, of the table `p`

# What a row `p` is known by as text: changes with an edit, and only then.
CONTENT_KEY = """(p.content_hash
    || CASE WHEN p.edited_answer IS NULL THEN '' ELSE md5(p.edited_answer) END)"""

_IDS_A_QUERY = 500
_LATEST_LIKELIHOOD = f"""FROM answer_likelihoods a
    JOIN pairs p ON p.id = a.pair_id AND a.content_key = {CONTENT_KEY}
    WHERE a.pair_id = pairs.id
    AND a.model = (SELECT arg_max(m.model, m.used_at) FROM likelihood_models m)"""
_IFD = f"(SELECT max(a.loss_given / greatest(a.loss_alone, 1e-9)) {_LATEST_LIKELIHOOD})"
_LOSS = f"(SELECT max(a.loss_given) {_LATEST_LIKELIHOOD})"  # perplexity is exp of it
_MEDIAN = "(SELECT median(judge_score) FROM pairs)"
# The share of the fewer votes: 0 where all say the same, at most a half.
_AT_ODDS = """coalesce((SELECT least(t.noes, t.votes - t.noes) / t.votes FROM review_tallies t
    WHERE t.pair_id = pairs.id), 0)"""
# How far the judge's score lies on the other side of the median than what people say, 0 to 1.
_JUDGE_AT_ODDS = f"""coalesce(greatest(0, (judge_score - {_MEDIAN}) * CASE status
    WHEN 'rejected' THEN 1 WHEN 'accepted' THEN -1
    ELSE (SELECT sign(2 * t.noes - t.votes) FROM review_tallies t WHERE t.pair_id = pairs.id) END)
    / nullif((SELECT max(judge_score) - min(judge_score) FROM pairs), 0), 0)"""
SORT_KEYS = {  # ascending; a row without a score comes last
    "judge_low": "coalesce(judge_score, 1e300)",
    "judge_high": "coalesce(-judge_score, 1e300)",
    "unsure": f"coalesce(abs(judge_score - {_MEDIAN}), 1e300)",
    "contested": f"-{_AT_ODDS}",
    "disagreement": f"-(1000 * {_AT_ODDS} + {_JUDGE_AT_ODDS})",
    "random": "md5(id)",
    "ifd_low": f"coalesce({_IFD}, 1e300)",
    "ifd_high": f"coalesce(-{_IFD}, 1e300)",
    "perplexity_low": f"coalesce({_LOSS}, 1e300)",
    "perplexity_high": f"coalesce(-{_LOSS}, 1e300)",
}
_EXACT = ("status", "curation", "teacher", "recipe", "topic", "source", "job_id", "seed_id")


PairSort = Literal[
    "",
    "random",
    "judge_low",
    "judge_high",
    "unsure",
    "contested",
    "disagreement",
    "ifd_high",
    "ifd_low",
    "perplexity_high",
    "perplexity_low",
]


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
    is_disputed: bool = Field(default=False, description="Only those whose voters tie.")
    search: str = Field(default="", description="Part of prompt or answer, any case.")
    after: str = Field(default="", description="Keyset: only ids after this one.")
    tag: str = Field(default="", description="A reviewer gave it this tag.")
    tag_by: str = Field(default="", description="That reviewer; Review sets it where it must.")
    sort: PairSort = Field(
        default="",
        description="By the judge's score (`unsure`: nearest to the median of all first), by how"
        " evenly people's votes are split (`contested`; `disagreement`: then by how far the judge's"
        " score lies on the other side of the median than what people say), by the IFD or the"
        " perplexity of the model that scored last, or `random` (the same each time); rows without"
        " a score come last, equal ones by age. `after` then means after that row in this order.",
    )
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


def way_back_of(db: Database, seed_id: str) -> list[Pair]:
    """Answers to a seed that came by the way back."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM pairs WHERE seed_id = ? AND recipe = ?", [seed_id, WAY_BACK]
    )
    return [from_row(row) for row in rows]


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
    """The pairs of one page, oldest first unless `newest_first` or `sort` say otherwise."""
    if query.sort:
        return _sorted_page(db, query, SORT_KEYS[query.sort])
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


def _sorted_page(db: Database, query: PairQuery, key: str) -> list[Pair]:
    where, params = where_clause(query)
    values: list[Any] = [*params]
    last = db.value(f"SELECT {key} FROM pairs WHERE id = ?", [query.after]) if query.after else None
    if last is not None:
        where += f" AND ({key} > ? OR ({key} = ? AND id > ?))"
        values += [last, last, query.after]
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM pairs WHERE {where} ORDER BY {key}, id LIMIT ?",
        [*values, query.limit],
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
    """`total`, `pending`, `waiting`, `accepted`, `rejected`, `filtered`, `duplicate`, `usable`.

    The answers of comparisons are not counted.
    `waiting` are the pending ones that the curate stage keeps: what Review asks about.
    `usable` are the accepted ones that the curate stage keeps: what a snapshot takes.
    """
    row = db.row(
        f"""SELECT count(*) AS total,
        count(*) FILTER (status = 'pending') AS pending,
        count(*) FILTER (status = 'pending' AND curation = 'kept') AS waiting,
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
    if query.tag:
        of = "list_contains(tags, ?) AND ? IN ('', user_name)"
        tests.append(f"id IN (SELECT pair_id FROM pair_notes WHERE {of})")
        params += [query.tag, query.tag_by]
    if query.is_disputed:
        tests.append("is_disputed")
    if query.search:
        needle = search.normalise(query.search)
        in_text = search.condition("search_text", "search_bits", needle)
        tests.append(f"({in_text} OR contains(lower(edited_answer), ?))")
        params += [needle] * 2
    return " AND ".join(tests), params
