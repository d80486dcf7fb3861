"""What the curate stage measured, decided, applied and undid.

Filters' thresholds are applied here, in SQL, to stored scores. `apply` writes `pairs.curation` and
the log that `undo` reads, in one transaction.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row
from distill_studio.store.embeddings import CONTENT_KEY, Field, exact_key, unit_hashes
from distill_studio.store.pairs import IS_ANSWER

_TAKES_PART = f"p.status <> 'rejected' AND {IS_ANSWER}"
_FROM_SCORES = """FROM (SELECT pair_id, measure, score, note FROM filter_scores
    UNION ALL SELECT pair_id, measure, score, note FROM leak_scores) s
    JOIN limits l USING (measure)"""
_BREAKS = "(s.score < l.minimum OR s.score > l.maximum)"
_LIMITS = """limits AS (SELECT unnest($position::INTEGER[]) AS position,
    unnest($kind::VARCHAR[]) AS kind, unnest($measure::VARCHAR[]) AS measure,
    unnest($minimum::DOUBLE[]) AS minimum, unnest($maximum::DOUBLE[]) AS maximum)"""


class LimitRow(NamedTuple):
    """One limit of one filter; `position` orders filters, the first to drop a row names why."""

    position: int
    kind: str
    measure: str
    minimum: float | None
    maximum: float | None


class TargetRow(NamedTuple):
    """What is to become of a row that is not simply kept."""

    pair_id: str
    curation: str
    reason: str
    code: str
    score: float
    lost_to: str


# -- scores ---------------------------------------------------------------------------------


def rows_to_measure(db: Database, filters: str, limit: int) -> list[Row]:
    """Rows never measured, edited since, or measured by other versions of the filters."""
    return db.rows(
        f"""SELECT p.id AS pair_id, {CONTENT_KEY} AS content_key, p.prompt, p.finish_reason,
        coalesce(p.edited_answer, p.answer) AS answer
        FROM pairs p LEFT JOIN measured_pairs m ON m.pair_id = p.id
        WHERE {IS_ANSWER} AND (m.content_key IS DISTINCT FROM {CONTENT_KEY} OR m.filters <> ?)
        ORDER BY p.id LIMIT ?""",
        [filters, limit],
    )


def unmeasured_count(db: Database, filters: str) -> int:
    """How many rows `rows_to_measure` would give."""
    return int(
        db.value(
            f"""SELECT count(*) FROM pairs p LEFT JOIN measured_pairs m ON m.pair_id = p.id
            WHERE {IS_ANSWER}
            AND (m.content_key IS DISTINCT FROM {CONTENT_KEY} OR m.filters <> ?)""",
            [filters],
        )
    )


def save_scores(db: Database, filters: str, rows: Sequence[Row], scores: Sequence[Row]) -> None:
    """Store the scores (`pair_id`, `measure`, `score`, `note`) of measured rows, old ones gone."""
    if not rows:
        return
    ids = [row["pair_id"] for row in rows]
    with db.write() as cursor:
        cursor.execute("DELETE FROM filter_scores WHERE pair_id IN (SELECT unnest(?))", [ids])
        db.insert("filter_scores", scores)
        cursor.register(
            "incoming_measured",
            pa.table({"pair_id": ids, "content_key": [row["content_key"] for row in rows]}),
        )
        try:
            cursor.execute(
                "INSERT OR REPLACE INTO measured_pairs"
                " SELECT pair_id, content_key, ? FROM incoming_measured",
                [filters],
            ).fetchall()
        finally:
            cursor.unregister("incoming_measured")


def scores_of(db: Database, pair_id: str) -> list[Row]:
    """All scores of a row: `measure`, `score`, `note`."""
    return db.rows(
        "SELECT measure, score, note FROM filter_scores WHERE pair_id = ? ORDER BY 1", [pair_id]
    )


# -- filters --------------------------------------------------------------------------------


def filter_counts(db: Database, limits: Sequence[LimitRow]) -> dict[str, int]:
    """For each filter how many rows break one of its limits, whatever the other filters say."""
    rows = db.rows(
        f"""WITH {_LIMITS} SELECT l.kind, count(DISTINCT s.pair_id) AS count {_FROM_SCORES}
        JOIN pairs p ON p.id = s.pair_id
        WHERE {_BREAKS} AND {_TAKES_PART} GROUP BY 1""",
        _limit_params(limits),
    )
    return {row["kind"]: int(row["count"]) for row in rows}


def filter_drops(db: Database, limits: Sequence[LimitRow]) -> list[Row]:
    """Each row that breaks a limit, once, by the first filter: what, how far, whose.

    Columns: `pair_id`, `kind`, `measure`, `score`, `note`, `status`. Rejected rows are left out.
    """
    return db.rows(
        f"""WITH {_LIMITS} SELECT s.pair_id, l.kind, s.measure, s.score, s.note, p.status
        {_FROM_SCORES} JOIN pairs p ON p.id = s.pair_id
        WHERE {_BREAKS} AND {_TAKES_PART}
        QUALIFY row_number() OVER (PARTITION BY s.pair_id ORDER BY l.position, s.measure) = 1
        ORDER BY s.pair_id""",
        _limit_params(limits),
    )


def near_the_line(
    db: Database, limits: Sequence[LimitRow], *, is_dropped: bool, count: int
) -> list[Row]:
    """For each filter the rows nearest to its limits, on one side.

    Kept rows break none of the filter's limits, and are near to one that is no yes-or-no measure.
    Columns: `kind`, `pair_id`, `measure`, `score`, `note`, `prompt`, `answer` (both cut).
    """
    if not limits:
        return []
    side = (
        _BREAKS
        if is_dropped
        else "s.pair_id NOT IN (SELECT pair_id FROM broken WHERE kind = l.kind)"
    )
    nearest = " UNION ALL ".join(  # one heap per limit is ten times quicker than a window
        f"""(SELECT l.kind, s.pair_id, s.measure, s.score, s.note, least(
            abs(s.score - l.minimum) / greatest(l.minimum, 1),
            abs(s.score - l.maximum) / greatest(l.maximum, 1)) AS distance
        {_FROM_SCORES} JOIN pairs p ON p.id = s.pair_id
        WHERE l.measure = $measure[{k}] AND s.measure = $measure[{k}] AND {_TAKES_PART}
        AND {side} ORDER BY distance, s.pair_id LIMIT $count)"""
        for k, limit in enumerate(limits, start=1)
        if is_dropped or limit.minimum is not None or limit.maximum
    )
    if not nearest:
        return []
    return db.rows(
        f"""WITH {_LIMITS},
        broken AS MATERIALIZED (SELECT l.kind, s.pair_id {_FROM_SCORES} WHERE {_BREAKS}),
        near AS ({nearest})
        SELECT n.kind, n.pair_id, n.measure, n.score, n.note, left(p.prompt, 300) AS prompt,
        left(coalesce(p.edited_answer, p.answer), 1000) AS answer
        FROM near n JOIN pairs p ON p.id = n.pair_id ORDER BY n.distance, n.pair_id""",
        {**_limit_params(limits), "count": count},
    )


# -- near-duplicates ------------------------------------------------------------------------


def contenders(
    db: Database,
    limits: Sequence[LimitRow],
    *,
    model: str,
    field: Field,
    at_least: float,
    drop_accepted: bool,
) -> list[Row]:
    """Rows that have a near or equal one, among those that pass the filters, by priority.

    Priority: accepted by a person, then the judge's score, then age. Columns: `id`, `seed_id`,
    `unit` (-1 when not compared), `exact_key`, `is_protected`.
    """
    prompt, answer = unit_hashes(field)
    return db.rows(
        f"""WITH {_LIMITS},
        dropped AS (SELECT DISTINCT s.pair_id {_FROM_SCORES} WHERE {_BREAKS}),
        near AS (SELECT * FROM near_pairs
                 WHERE model = $model AND field = $field AND similarity >= $at_least),
        live AS MATERIALIZED (
            SELECT p.id, p.seed_id, p.status = 'accepted' AS is_protected, p.judge_score,
            coalesce(u.number, -1) AS unit, {exact_key(field)} AS exact_key
            FROM pairs p JOIN pair_texts t ON t.pair_id = p.id
            LEFT JOIN dedup_units u ON u.model = $model AND u.field = $field
                AND u.prompt_hash = {prompt} AND u.answer_hash = {answer}
            WHERE {_TAKES_PART} AND NOT (
                p.id IN (SELECT pair_id FROM dropped)
                AND (p.status <> 'accepted' OR $drop_accepted)))
        SELECT id, seed_id, unit, exact_key, is_protected FROM live
        WHERE unit IN (SELECT a FROM near UNION SELECT b FROM near)
            OR unit IN (SELECT unit FROM live WHERE unit >= 0 GROUP BY 1 HAVING count(*) > 1)
            OR exact_key IN (SELECT exact_key FROM live WHERE exact_key <> ''
                             GROUP BY 1 HAVING count(*) > 1)
        ORDER BY is_protected DESC, judge_score DESC NULLS LAST, id""",
        {
            **_limit_params(limits),
            "model": model,
            "field": field,
            "at_least": at_least,
            "drop_accepted": drop_accepted,
        },
    )


def verdicts(db: Database) -> list[Row]:
    """All verdicts on single near pairs: `a_id`, `b_id`, `verdict`."""
    return db.rows("SELECT a_id, b_id, verdict FROM near_verdicts")


def set_verdict(db: Database, user: str, a_id: str, b_id: str, verdict: str) -> None:
    """Store what a person said of two rows (a_id < b_id); an empty verdict takes it back."""
    with db.write() as cursor:
        if not verdict:
            cursor.execute("DELETE FROM near_verdicts WHERE a_id = ? AND b_id = ?", [a_id, b_id])
            return
        cursor.execute(
            "INSERT OR REPLACE INTO near_verdicts VALUES (?, ?, ?, ?, ?)",
            [a_id, b_id, verdict, user, utc_now()],
        )


# -- apply and undo -------------------------------------------------------------------------


def apply(
    db: Database,
    user: str,
    targets: Sequence[TargetRow],
    settings: Mapping[str, Any],
    report: Mapping[str, Any],
) -> tuple[int, int]:
    """Make the rows' curation what `targets` say (all others are kept), with a log for `undo`.

    Returns:
        (number of the action, rows changed); (0, 0) when nothing differs, settings included.
    """
    fields = list(zip(*targets, strict=True)) if targets else [()] * len(TargetRow._fields)
    types = [pa.string(), pa.string(), pa.string(), pa.string(), pa.float64(), pa.string()]
    incoming = pa.table({
        name: pa.array(values, type=kind)
        for name, values, kind in zip(TargetRow._fields, fields, types, strict=True)
    })
    with db.write() as cursor:
        cursor.register("incoming_targets", incoming)
        try:
            return _apply(db, user, settings, report)
        finally:
            cursor.unregister("incoming_targets")


def _apply(
    db: Database, user: str, settings: Mapping[str, Any], report: Mapping[str, Any]
) -> tuple[int, int]:
    cursor = db.cursor()
    number = int(db.value("SELECT nextval('curation_action_numbers')"))
    cursor.execute(
        """INSERT INTO curation_changes
        SELECT ?, p.id, p.curation, p.curation_reason, coalesce(t.curation, 'kept'),
            coalesce(t.reason, ''), coalesce(t.code, ''), t.score, coalesce(t.lost_to, '')
        FROM pairs p LEFT JOIN incoming_targets t ON t.pair_id = p.id
        WHERE p.curation <> coalesce(t.curation, 'kept')
            OR p.curation_reason <> coalesce(t.reason, '')""",
        [number],
    ).fetchall()
    changed = int(db.value("SELECT count(*) FROM curation_changes WHERE action = ?", [number]))
    latest = latest_action(db)
    if not changed and latest and latest["settings"] == dict(settings):
        return 0, 0
    db.insert(
        "curation_actions",
        [
            {
                "number": number,
                "user_name": user,
                "settings": json.dumps(settings),
                "report": json.dumps(report),
                "made_at": utc_now(),
            }
        ],
    )
    cursor.execute(
        """UPDATE pairs SET curation = c.curation, curation_reason = c.reason
        FROM curation_changes c WHERE c.action = ? AND c.pair_id = pairs.id""",
        [number],
    ).fetchall()
    return number, changed


def undo(db: Database, user: str) -> Row | None:
    """Take the newest action back exactly; returns it with `changed`, None when none is left."""
    with db.write() as cursor:
        action = latest_action(db)
        if action is None:
            return None
        number = action["number"]
        cursor.execute(
            """UPDATE pairs SET curation = c.curation_before, curation_reason = c.reason_before
            FROM curation_changes c WHERE c.action = ? AND c.pair_id = pairs.id""",
            [number],
        ).fetchall()
        cursor.execute(
            "UPDATE curation_actions SET undone_at = ?, undone_by = ? WHERE number = ?",
            [utc_now(), user, number],
        )
        changed = db.value("SELECT count(*) FROM curation_changes WHERE action = ?", [number])
    return {**action, "changed": int(changed)}


def latest_action(db: Database) -> Row | None:
    """The newest action in force: `number`, `user_name`, `settings`, `report`, `made_at`."""
    row = db.row(
        "SELECT number, user_name, settings, report, made_at FROM curation_actions"
        " WHERE undone_at IS NULL ORDER BY number DESC LIMIT 1"
    )
    return _parsed(row) if row else None


def actions(db: Database, limit: int) -> list[Row]:
    """Newest first, undone ones included, each with `changed` rows."""
    rows = db.rows(
        """SELECT a.number, a.user_name, a.settings, a.report, a.made_at, a.undone_at, a.undone_by,
        (SELECT count(*) FROM curation_changes c WHERE c.action = a.number) AS changed
        FROM curation_actions a ORDER BY a.number DESC LIMIT ?""",
        [limit],
    )
    return [_parsed(row) for row in rows]


def last_change(db: Database, pair_id: str) -> Row | None:
    """What the newest action in force said of a row: `curation`, `reason`, `code`, `score`, ..."""
    return db.row(
        """SELECT c.curation, c.reason, c.code, c.score, c.lost_to, a.user_name, a.made_at
        FROM curation_changes c JOIN curation_actions a ON a.number = c.action
        WHERE c.pair_id = ? AND a.undone_at IS NULL ORDER BY c.action DESC LIMIT 1""",
        [pair_id],
    )


def topic_counts(db: Database, removed: Sequence[str]) -> list[Row]:
    """`topic`, `total`, `removed` (of the rows not rejected), largest topic first."""
    return db.rows(
        f"""SELECT p.topic, count(*) AS total, count(gone.id) AS removed
        FROM pairs p LEFT JOIN (SELECT unnest(?::VARCHAR[]) AS id) gone ON gone.id = p.id
        WHERE {_TAKES_PART} GROUP BY 1 ORDER BY 2 DESC, 1""",
        [list(removed)],
    )


def kept_count(db: Database) -> int:
    """Rows that neither people nor this stage removed."""
    return int(db.value(f"SELECT count(*) FROM pairs p WHERE {_TAKES_PART} AND curation = 'kept'"))


def outdated_count(db: Database, targets: Sequence[TargetRow]) -> int:
    """Rows whose curation `apply` with these targets would change."""
    return int(
        db.value(
            """SELECT count(*) FROM pairs p LEFT JOIN (
                SELECT unnest(?::VARCHAR[]) AS id, unnest(?::VARCHAR[]) AS curation,
                unnest(?::VARCHAR[]) AS reason) t ON t.id = p.id
            WHERE p.curation <> coalesce(t.curation, 'kept')
                OR p.curation_reason <> coalesce(t.reason, '')""",
            [
                [t.pair_id for t in targets],
                [t.curation for t in targets],
                [t.reason for t in targets],
            ],
        )
    )


def _limit_params(limits: Sequence[LimitRow]) -> dict[str, Any]:
    return {name: [getattr(row, name) for row in limits] for name in LimitRow._fields}


def _parsed(row: Row) -> Row:
    return {
        **row,
        "settings": json.loads(row["settings"]),
        "report": json.loads(row["report"]),
    }
