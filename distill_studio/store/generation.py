"""Which seeds a generation asks about, what it has stored, and what is missing."""

from collections.abc import Sequence

from pydantic import Field

from distill_studio.core.records import Failure, JobState, Pair, Record, Seed
from distill_studio.store import failures as failures_table
from distill_studio.store import pairs as pairs_table
from distill_studio.store import seeds as seeds_table
from distill_studio.store.database import Database, Row

_UNANSWERED = "s.id NOT IN (SELECT seed_id FROM pairs)"
_NOT_ASKED = """s.id NOT IN
(SELECT seed_id FROM generation_seeds WHERE list_contains(?, selection_id))"""
_AT_WORK = [JobState.QUEUED.value, JobState.RUNNING.value, JobState.NEEDS_KEY.value]


class SeedFilter(Record):
    """Which seeds to ask about. Empty fields do not restrict."""

    topic: str = Field(default="", description="Exact topic.")
    source: str = Field(default="", description="Exact source.")
    search: str = Field(default="", description="Part of the prompt, any case.")
    ids: tuple[str, ...] = Field(default=(), description="Only these seeds.")
    only_unanswered: bool = Field(
        default=True, description="Leave out seeds that have an answer or are being asked."
    )
    only_verifiable: bool = Field(
        default=False, description="Only seeds with a reference answer or tests."
    )
    limit: int = Field(default=0, ge=0, description="The oldest so many; 0 = all.")


def select(db: Database, selection_id: str, chosen: SeedFilter) -> int:
    """Fix the seeds of a generation under `selection_id`; returns how many they are."""
    with db.write() as cursor:
        where, params = _where(db, chosen)
        cursor.execute(
            f"""INSERT INTO generation_seeds SELECT ?, s.id FROM seeds s WHERE {where}
            ORDER BY s.id LIMIT ?""",
            [selection_id, *params, chosen.limit or None],
        ).fetchall()
        return count_selected(db, selection_id)


def first(db: Database, chosen: SeedFilter) -> Seed | None:
    """The seed that such a generation would ask about first."""
    where, params = _where(db, chosen)
    seed_id = db.value(f"SELECT s.id FROM seeds s WHERE {where} ORDER BY s.id LIMIT 1", params)
    return next(iter(seeds_table.get(db, [seed_id] if seed_id else [])), None)


def counts(db: Database, chosen: SeedFilter) -> Row:
    """`seeds` in the store, `matching` the filter, `unanswered` of those, `chosen` by it all."""
    where, params = _where(db, chosen.model_copy(update={"only_unanswered": False}))
    unanswered, selections = _unanswered(db)
    row = db.row(
        f"""SELECT (SELECT count(*) FROM seeds) AS seeds, count(*) AS matching,
        count(*) FILTER ({unanswered}) AS unanswered FROM seeds s WHERE {where}""",
        [*selections, *params],
    )
    row = row or {"seeds": 0, "matching": 0, "unanswered": 0}
    selected = row["unanswered"] if chosen.only_unanswered else row["matching"]
    return {**row, "chosen": min(selected, chosen.limit or selected)}


def count_selected(db: Database, selection_id: str) -> int:
    """How many seeds a selection holds that still exist."""
    return int(
        db.value(
            "SELECT count(*) FROM generation_seeds g JOIN seeds s ON s.id = g.seed_id"
            " WHERE g.selection_id = ?",
            [selection_id],
        )
    )


def page_selected(db: Database, selection_id: str, after: str, limit: int) -> list[Seed]:
    """The seeds of a selection in order of age after the id `after`; at most `limit`."""
    rows = db.rows(
        "SELECT g.seed_id FROM generation_seeds g SEMI JOIN seeds s ON s.id = g.seed_id"
        " WHERE g.selection_id = ? AND g.seed_id > ? ORDER BY g.seed_id LIMIT ?",
        [selection_id, after, limit],
    )
    return seeds_table.get(db, [row["seed_id"] for row in rows])


def answered_keys(
    db: Database, job_id: str, first_id: str, last_id: str
) -> set[tuple[str, str, int]]:
    """(seed, step, sample) of the answers that a job has for the seeds between two ids."""
    rows = db.rows(
        "SELECT seed_id, step, sample FROM pairs WHERE job_id = ? AND seed_id BETWEEN ? AND ?",
        [job_id, first_id, last_id],
    )
    return {(row["seed_id"], row["step"], row["sample"]) for row in rows}


def commit(db: Database, job_id: str, pairs: Sequence[Pair], failures: Sequence[Failure]) -> None:
    """Store a group of outcomes in one transaction; an answer removes its earlier failure."""
    with db.write():
        if pairs:
            pairs_table.insert(db, pairs)
            failures_table.forget(db, job_id, [(p.seed_id, p.step, p.sample) for p in pairs])
        failures_table.save(db, failures)


def answered(db: Database, job_id: str) -> Row:
    """`answers` and `tokens` (written, where the teacher counts them) of a job so far."""
    row = db.row(
        "SELECT count(*) AS answers, coalesce(sum(completion_tokens), 0)::BIGINT AS tokens"
        " FROM pairs WHERE job_id = ?",
        [job_id],
    )
    return row or {"answers": 0, "tokens": 0}


def facets(db: Database) -> dict[str, list[str]]:
    """The values of `topic` and `source` that seeds have, most frequent first."""
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


def _where(db: Database, chosen: SeedFilter) -> tuple[str, list[object]]:
    tests: list[str] = ["true"]
    params: list[object] = []
    for column, value in (("topic", chosen.topic), ("source", chosen.source)):
        if value:
            tests.append(f"s.{column} = ?")
            params.append(value)
    if chosen.search:
        tests.append("contains(lower(s.prompt), lower(?))")
        params.append(chosen.search)
    if chosen.ids:
        tests.append("s.id IN (SELECT unnest(?))")
        params.append(list(chosen.ids))
    if chosen.only_verifiable:
        tests.append("(s.reference <> '' OR s.extra->>'tests' IS NOT NULL)")
    if chosen.only_unanswered:
        unanswered, selections = _unanswered(db)
        tests.append(unanswered)
        params += selections
    return " AND ".join(tests), params


def _unanswered(db: Database) -> tuple[str, list[object]]:
    """SQL condition and parameters: no answer, and no job at work that will ask."""
    rows = db.rows(
        """SELECT params->>'selection' AS id FROM jobs
        WHERE list_contains(?, state) AND params->>'selection' IS NOT NULL""",
        [_AT_WORK],
    )
    if not rows:
        return _UNANSWERED, []
    return f"{_UNANSWERED} AND {_NOT_ASKED}", [[row["id"] for row in rows]]
