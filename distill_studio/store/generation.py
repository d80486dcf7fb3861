"""Which seeds a generation asks about, what it has stored, and what is missing."""

from collections.abc import Sequence

from pydantic import Field

from distill_studio.core.records import (
    AskedTotals,
    Curation,
    JobState,
    Pair,
    PairStatus,
    Record,
    Seed,
    UnitRows,
)
from distill_studio.store import failures as failures_table
from distill_studio.store import generation_steps as steps_table
from distill_studio.store import ledger
from distill_studio.store import logprobs as logprobs_table
from distill_studio.store import pairs as pairs_table
from distill_studio.store import preferences as preferences_table
from distill_studio.store import seeds as seeds_table
from distill_studio.store.database import Database, Row
from distill_studio.store.generation_steps import StoredStep

_UNANSWERED = "s.id NOT IN (SELECT seed_id FROM pairs)"
_NOT_ASKED = """s.id NOT IN
(SELECT seed_id FROM generation_seeds WHERE list_contains(?, selection_id))"""
_LONGEST_EXAMPLE = 4000  # characters of prompt and answer
_NOT_THROUGH = """s.id NOT IN (SELECT u.seed_id FROM generation_units u
JOIN jobs j ON j.id = u.job_id WHERE j.params->>'recipe' = ?)"""
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
    not_through: str = Field(
        default="", description="Leave out seeds that this recipe of several steps has done."
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


def _as_candidates(db: Database, pairs: Sequence[Pair], ids: dict[str, str]) -> list[Pair]:
    """The pairs on the seeds as stored.

    Where two units of a job came to one prompt, their pairs are candidates of one seed, each with
    a number of its own.
    """
    shared = [ids[p.seed_id] for p in pairs if ids.get(p.seed_id, p.seed_id) != p.seed_id]
    taken: set[tuple[str, str, int]] = set()
    if shared:
        rows = db.rows(
            "SELECT job_id, seed_id, sample FROM pairs WHERE seed_id IN (SELECT unnest(?))",
            [shared],
        )
        taken = {(row["job_id"], row["seed_id"], row["sample"]) for row in rows}
    stored = []
    for pair in pairs:
        seed_id = ids.get(pair.seed_id, pair.seed_id)
        sample = pair.sample
        while seed_id in shared and (pair.job_id, seed_id, sample) in taken:
            sample += 1
        taken.add((pair.job_id, seed_id, sample))
        unit = {"unit": pair.sample} if sample != pair.sample else {}  # which made it
        fields = {"seed_id": seed_id, "sample": sample, "params": unit | pair.params}
        stored.append(pair.model_copy(update=fields))
    return stored


def drop_selection(db: Database, selection_id: str) -> None:
    """Forget a list of seeds."""
    with db.write() as cursor:
        cursor.execute(
            "DELETE FROM generation_seeds WHERE selection_id = ?", [selection_id]
        ).fetchall()


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


def selected_prompts(db: Database, selection_id: str, limit: int) -> list[str]:
    """Prompts of a selection, at most so many, in order of age."""
    rows = db.rows(
        "SELECT s.prompt FROM generation_seeds g JOIN seeds s ON s.id = g.seed_id"
        " WHERE g.selection_id = ? ORDER BY s.id LIMIT ?",
        [selection_id, limit],
    )
    return [row["prompt"] for row in rows]


def made_prompts(db: Database, job_id: str, limit: int) -> list[str]:
    """Prompts that a generation made, at most so many, in order of age."""
    rows = db.rows(
        "SELECT prompt FROM seeds WHERE extra->>'job' = ? ORDER BY id LIMIT ?", [job_id, limit]
    )
    return [row["prompt"] for row in rows]


def choose_examples(db: Database, count: int, chance: int) -> list[str]:
    """Ids of accepted pairs to show a teacher, one a seed: edited ones first, then by `chance`."""
    rows = db.rows(
        f"""SELECT id FROM pairs WHERE status = ? AND curation = ? AND {pairs_table.IS_ANSWER}
        AND json_array_length(messages) <= 2
        AND length(prompt) + length(coalesce(edited_answer, answer)) <= ?
        QUALIFY row_number() OVER (PARTITION BY seed_id ORDER BY edited_answer IS NULL, id) = 1
        ORDER BY edited_answer IS NULL, hash(id || ?::VARCHAR) LIMIT ?""",
        [PairStatus.ACCEPTED.value, Curation.KEPT.value, _LONGEST_EXAMPLE, chance, count],
    )
    return [row["id"] for row in rows]


def units_answered(db: Database, job_id: str, first_id: str, last_id: str) -> set[tuple[str, int]]:
    """(seed, sample) of the answers that a job has for the seeds between two ids."""
    rows = db.rows(
        "SELECT seed_id, sample FROM pairs WHERE job_id = ? AND seed_id BETWEEN ? AND ?",
        [job_id, first_id, last_id],
    )
    return {(row["seed_id"], row["sample"]) for row in rows}


def commit(
    db: Database,
    job_id: str,
    steps: Sequence[StoredStep],
    ended: Sequence[UnitRows],
    asked: Sequence[AskedTotals] = (),
    *,
    marks_units: bool = False,
) -> None:
    """Store a group of outcomes in one transaction; a unit's end removes its earlier failure.

    Args:
        db: Where.
        job_id: The generation.
        steps: Replies on their way.
        ended: Units that are through or have failed.
        asked: What the job has asked of its teachers so far.
        marks_units: Units that are through are marked as such, besides their pairs.
    """
    through = [unit for unit in ended if unit.failure is None]
    with db.write():
        if steps:
            steps_table.save(db, steps)
        if through:
            _store(db, through)
            failures_table.forget(db, job_id, [(u.seed_id, u.sample) for u in through])
        if marks_units:
            done = [(u.seed_id, u.sample, len(u.pairs)) for u in through]
            steps_table.end_units(db, job_id, done)
        for unit in ended:
            steps_table.forget(db, job_id, unit.seed_id, unit.sample, unit.forgotten)
        failures_table.save(db, [unit.failure for unit in ended if unit.failure is not None])
        ledger.save(db, job_id, asked)


def _store(db: Database, units: Sequence[UnitRows]) -> None:
    """Pairs, new seeds and preferences; a new seed that equals an old one becomes that one."""
    seeds = [seed for unit in units for seed in unit.seeds]
    ids = seeds_table.insert(db, seeds) if seeds else {}
    pairs = _as_candidates(db, [pair for unit in units for pair in unit.pairs], ids)
    pairs_table.insert(db, pairs)
    logprobs = {i: tokens for unit in units for i, tokens in unit.logprobs.items()}
    logprobs_table.insert(db, logprobs)
    chosen = [
        each.model_copy(update={"seed_id": ids.get(each.seed_id, each.seed_id)})
        for unit in units
        for each in unit.preferences
    ]
    if chosen:
        preferences_table.insert(db, chosen)


def answered(db: Database, job_id: str) -> Row:
    """`answers` and `tokens` (written, where the teacher counts them) of a job so far."""
    row = db.row(
        "SELECT count(*) AS answers, coalesce(sum(completion_tokens), 0)::BIGINT AS tokens"
        " FROM pairs WHERE job_id = ?",
        [job_id],
    )
    return row or {"answers": 0, "tokens": 0}


def preferences_of(db: Database, job_id: str) -> int:
    """Preferences between answers of a job that are not people's."""
    return int(
        db.value(
            "SELECT count(*) FROM preferences p SEMI JOIN pairs c"
            " ON c.id = p.chosen_pair_id AND c.job_id = ? WHERE p.vote_id = ''",
            [job_id],
        )
    )


def characters(db: Database, chosen: SeedFilter) -> int:
    """Of the conversations of the seeds that such a generation would ask about."""
    where, params = _where(db, chosen)
    total = db.value(
        f"SELECT sum(n) FROM (SELECT length(messages::VARCHAR) AS n FROM seeds s WHERE {where}"
        " ORDER BY s.id LIMIT ?)",
        [*params, chosen.limit or None],
    )
    return int(total or 0)


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
    if chosen.not_through:
        tests.append(_NOT_THROUGH)
        params.append(chosen.not_through)
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
