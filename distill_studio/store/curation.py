"""What the curate stage decides: which rows break the limits of filters, which are alike.

Filters' thresholds are applied here, in SQL, to the scores of `filter_scores`; what comes of it is
put in force, and undone, by `curation_actions`.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row
from distill_studio.store.embeddings import Field, exact_key, unit_hashes
from distill_studio.store.pairs import CONTENT_KEY, IS_ANSWER

# A row's topic, wherever topics are counted here.
TOPIC = "(SELECT y.topic FROM pair_topics y WHERE y.pair_id = p.id)"

_TAKES_PART = f"p.status <> 'rejected' AND {IS_ANSWER}"
_LEFT_OUT = f"SELECT id FROM pairs WHERE status = 'rejected' OR NOT ({IS_ANSWER})"  # few
_BREAKS = """(s.score < l.minimum OR s.score > l.maximum
    OR NOT list_contains(l.notes, s.note))"""
_LIMITS = """limits AS (SELECT unnest($position::INTEGER[]) AS position,
    unnest($kind::VARCHAR[]) AS kind, unnest($measure::VARCHAR[]) AS measure,
    unnest($minimum::DOUBLE[]) AS minimum, unnest($maximum::DOUBLE[]) AS maximum,
    unnest($notes::VARCHAR[][]) AS notes)"""
_MEASURED = "SELECT pair_id, measure, score, note FROM filter_scores"
_ELSEWHERE = {  # by the first part of a measure's name: where scores come from that no text gives
    "leak": "SELECT pair_id, measure, score, note FROM leak_scores",
    "reference": "SELECT pair_id, measure, score, note FROM reference_scores",
    "set_aside": "SELECT pair_id, measure, score, note FROM set_aside_scores",
    "judge": """SELECT id AS pair_id, 'judge' AS measure, judge_score AS score, '' AS note
        FROM pairs WHERE judge_score IS NOT NULL""",
    "unchecked": """SELECT id AS pair_id, 'unchecked' AS measure, 1.0::DOUBLE AS score, '' AS note
        FROM pairs WHERE id NOT IN
        (SELECT pair_id FROM filter_scores WHERE measure = 'verification.verdict')""",
    # 'likelihood.ifd@model', of the row's text as it is now
    "likelihood": f"""SELECT a.pair_id, n.measure, CASE n.what
            WHEN 'likelihood.ifd' THEN a.loss_given / greatest(a.loss_alone, 1e-9)
            ELSE exp(a.loss_given) END AS score, '' AS note
        FROM (SELECT DISTINCT measure, split_part(measure, '@', 1) AS what,
            substr(measure, strpos(measure, '@') + 1) AS model FROM limits
            WHERE starts_with(measure, 'likelihood.')) n
        JOIN answer_likelihoods a ON a.model = n.model
        JOIN pairs p ON p.id = a.pair_id AND a.content_key = {CONTENT_KEY}""",
}


class LimitRow(NamedTuple):
    """One limit of one filter; `position` orders filters, the first to drop a row names why."""

    position: int
    kind: str
    measure: str
    minimum: float | None
    maximum: float | None
    notes: tuple[str, ...] | None = None


Priority = Literal["judge", "oldest", "newest", "longest", "shortest", "teacher"]
_ANSWER_LENGTH = "length(coalesce(p.edited_answer, p.answer))"
_BY_SCORE = "p.judge_score DESC NULLS LAST"
_ORDERS: dict[Priority, str] = {  # who stands for others, after what people accepted
    "judge": f"{_BY_SCORE}, p.id",
    "oldest": "p.id",
    "newest": "p.id DESC",
    "longest": f"{_ANSWER_LENGTH} DESC, p.id",
    "shortest": f"{_ANSWER_LENGTH}, p.id",
    "teacher": f"p.teacher = $teacher DESC, {_BY_SCORE}, p.id",
}


# -- filters --------------------------------------------------------------------------------


def filter_counts(db: Database, limits: Sequence[LimitRow]) -> dict[str, int]:
    """For each filter how many rows break one of its limits, whatever the other filters say."""
    rows = db.rows(
        f"""WITH {_LIMITS} SELECT l.kind, count(DISTINCT s.pair_id) AS count {_scores(limits)}
        WHERE {_BREAKS} AND s.pair_id NOT IN ({_LEFT_OUT}) GROUP BY 1""",
        _limit_params(limits),
    )
    return {row["kind"]: int(row["count"]) for row in rows}


def drop_counts(db: Database, limits: Sequence[LimitRow]) -> list[Row]:
    """`topic`, `kind`, `is_accepted`, `count` of the rows that break a limit, by the first filter.

    Rejected rows are left out, as in `filter_drops`.
    """
    return db.rows(
        f"""WITH {_LIMITS}, first AS (
            SELECT s.pair_id, arg_min(l.kind, l.position) AS kind {_scores(limits)}
            WHERE {_BREAKS} GROUP BY 1)
        SELECT {TOPIC} AS topic, f.kind, p.status = 'accepted' AS is_accepted, count(*) AS count
        FROM first f JOIN pairs p ON p.id = f.pair_id WHERE {_TAKES_PART}
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
        _limit_params(limits),
    )


def filter_drops(db: Database, limits: Sequence[LimitRow]) -> pa.Table:
    """Each row that breaks a limit, once, by the first filter: what, how far, whose.

    Columns: `pair_id`, `kind`, `measure`, `score`, `note`, `status`. Rejected rows are left out.
    """
    return db.arrow(
        f"""WITH {_LIMITS} SELECT s.pair_id, l.kind, s.measure, s.score, s.note, p.status
        {_scores(limits)} JOIN pairs p ON p.id = s.pair_id
        WHERE {_BREAKS} AND {_TAKES_PART}
        QUALIFY row_number() OVER (PARTITION BY s.pair_id ORDER BY l.position, s.measure) = 1
        ORDER BY s.pair_id""",
        _limit_params(limits),
    )


def near_the_line(db: Database, limits: Sequence[LimitRow], count: int) -> list[Row]:
    """For each filter the rows nearest to its limits, `count` on either side of each limit.

    Kept rows break none of the filter's limits, and are near to one that is no yes-or-no measure.
    Columns: `kind`, `is_dropped`, `pair_id`, `measure`, `score`, `note`, `prompt`, `answer` (both
    cut); the nearest first.
    """
    if not limits:
        return []
    nearest = """min_by({'pair_id': a.pair_id, 'score': a.score, 'note': a.note,
        'distance': a.distance}, {'distance': a.distance, 'pair_id': a.pair_id}, $count) AS rows"""
    return db.rows(
        f"""WITH {_LIMITS}, looked AS MATERIALIZED (
            SELECT l.position, l.kind, s.measure, s.pair_id, s.score, s.note,
            coalesce({_BREAKS}, false) AS is_broken,
            coalesce(l.minimum IS NOT NULL OR l.maximum <> 0 OR len(l.notes) > 0, false)
                AS is_graded,
            coalesce(least(abs(s.score - l.minimum) / greatest(l.minimum, 1),
                abs(s.score - l.maximum) / greatest(l.maximum, 1)), s.score) AS distance
            {_scores(limits)} WHERE s.pair_id NOT IN ({_LEFT_OUT})),
        broken AS (SELECT DISTINCT kind, pair_id FROM looked WHERE is_broken),
        near AS (
            SELECT a.position, a.kind, a.measure, true AS is_dropped, {nearest}
            FROM looked a WHERE a.is_broken GROUP BY 1, 2, 3
            UNION ALL
            SELECT a.position, a.kind, a.measure, false, {nearest}
            FROM looked a ANTI JOIN broken b ON b.kind = a.kind AND b.pair_id = a.pair_id
            WHERE a.is_graded GROUP BY 1, 2, 3),
        listed AS (SELECT kind, measure, is_dropped, unnest(rows) AS r FROM near)
        SELECT n.kind, n.is_dropped, p.id AS pair_id, n.measure, n.r.score AS score,
        n.r.note AS note, left(p.prompt, 300) AS prompt,
        left(coalesce(p.edited_answer, p.answer), 1000) AS answer
        FROM listed n JOIN pairs p ON p.id = n.r.pair_id
        ORDER BY n.r.distance, p.id, n.measure""",
        {**_limit_params(limits), "count": count},
    )


def _scores(limits: Sequence[LimitRow]) -> str:
    """FROM the scores `s` that these limits `l` look at, and no others."""
    parts = {limit.measure.partition(".")[0] for limit in limits}
    sources = [_ELSEWHERE[part] for part in sorted(parts & set(_ELSEWHERE))]
    if len(sources) < len(parts) or not sources:
        sources.insert(0, _MEASURED)
    return f"FROM ({' UNION ALL '.join(sources)}) s JOIN limits l USING (measure)"


# -- near-duplicates ------------------------------------------------------------------------


def contenders(
    db: Database,
    limits: Sequence[LimitRow],
    *,
    model: str,
    field: Field,
    at_least: float,
    drop_accepted: bool,
    priority: Priority = "judge",
    teacher: str = "",
    set_aside: Sequence[int] = (),
) -> pa.Table:
    """Rows that have a near or equal one, among those that pass the filters, by priority.

    What a person accepted comes first, whatever the priority. Columns: `id`, `seed_id`, `unit` (-1
    when not compared), `exact_key`, `is_protected`, `topic`, and `is_aside`: whether it stands in
    one of the lists `set_aside`, and is not spared as an accepted row.
    """
    prompt, answer = unit_hashes(field)
    return db.arrow(
        f"""WITH {_LIMITS},
        dropped AS (SELECT DISTINCT s.pair_id {_scores(limits)} WHERE {_BREAKS}),
        near AS (SELECT * FROM near_pairs_in_force
                 WHERE model = $model AND field = $field AND similarity >= $at_least),
        live AS MATERIALIZED (
            SELECT p.id, coalesce(u.number, -1) AS unit, {exact_key(field)} AS exact_key
            FROM pairs p JOIN pair_texts t ON t.pair_id = p.id
            LEFT JOIN dedup_units u ON u.model = $model AND u.field = $field
                AND u.prompt_hash = {prompt} AND u.answer_hash = {answer}
            WHERE {_TAKES_PART} AND NOT (
                p.id IN (SELECT pair_id FROM dropped)
                AND (p.status <> 'accepted' OR $drop_accepted))),
        chosen AS (
            SELECT * FROM live
            WHERE unit IN (SELECT a FROM near UNION SELECT b FROM near)
                OR unit IN (SELECT unit FROM live WHERE unit >= 0 GROUP BY 1 HAVING count(*) > 1)
                OR exact_key IN (SELECT exact_key FROM live WHERE exact_key <> ''
                                 GROUP BY 1 HAVING count(*) > 1))
        SELECT p.id, p.seed_id, c.unit, c.exact_key, p.status = 'accepted' AS is_protected,
            {TOPIC} AS topic,
            (p.status <> 'accepted' OR $drop_accepted) AND p.id IN (
                SELECT pair_id FROM set_aside_rows
                WHERE list IN (SELECT unnest($set_aside::BIGINT[]))) AS is_aside
        FROM chosen c JOIN pairs p ON p.id = c.id
        ORDER BY is_protected DESC, {_ORDERS[priority]}""",
        {
            **_limit_params(limits),
            "model": model,
            "field": field,
            "at_least": at_least,
            "drop_accepted": drop_accepted,
            "set_aside": list(set_aside),
            **({"teacher": teacher} if priority == "teacher" else {}),
        },
    )


def verdicts(db: Database) -> list[Row]:
    """All verdicts on single near pairs: `a_id`, `b_id`, `verdict`."""
    return db.rows("SELECT a_id, b_id, verdict FROM near_verdicts")


def latest_verdicts(db: Database, limit: int) -> list[Row]:
    """The newest verdicts first: `a`, `b`, `verdict`, `user`, `made_at`."""
    return db.rows(
        """SELECT a_id AS a, b_id AS b, verdict, user_name AS "user", made_at FROM near_verdicts
        ORDER BY made_at DESC, a_id, b_id LIMIT ?""",
        [limit],
    )


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


# -- counts ---------------------------------------------------------------------------------


def topic_totals(db: Database) -> list[Row]:
    """`topic` and `total`: the rows of each topic that people have not rejected."""
    return db.rows(
        f"""SELECT {TOPIC} AS topic, count(*) AS total FROM pairs p
        WHERE {_TAKES_PART} GROUP BY 1 ORDER BY 2 DESC, 1"""
    )


def topic_counts(db: Database, targets: pa.Table) -> list[Row]:
    """`topic`, `kind`, `count` of the rows that go, by what takes them."""
    found = db.arrow(
        f"""SELECT {TOPIC} AS topic, gone.code AS kind, count(*) AS count
        FROM targets gone JOIN pairs p ON p.id = gone.pair_id
        WHERE {_TAKES_PART} GROUP BY 1, 2 ORDER BY 1, 2""",
        targets=targets,
    )
    rows: list[Row] = found.to_pylist()
    return rows


def new_rows(db: Database) -> int:
    """Rows that came since the newest action in force; all when nothing is."""
    return int(
        db.value(
            f"""SELECT count(*) FROM pairs p WHERE {IS_ANSWER} AND p.created_at > coalesce(
            (SELECT max(made_at) FROM curation_actions WHERE undone_at IS NULL),
            '-infinity'::TIMESTAMPTZ)"""
        )
    )


def kept_count(db: Database) -> int:
    """Rows that neither people nor this stage removed."""
    return int(db.value(f"SELECT count(*) FROM pairs p WHERE {_TAKES_PART} AND curation = 'kept'"))


def outdated_count(db: Database, targets: pa.Table) -> int:
    """Rows whose curation `apply` with these targets would change."""
    found = db.arrow(
        """SELECT count(*) FROM pairs p LEFT JOIN targets t ON t.pair_id = p.id
        WHERE p.curation <> coalesce(t.curation, 'kept')
            OR p.curation_reason <> coalesce(t.reason, '')""",
        targets=targets,
    )
    return int(found.column(0)[0].as_py())


def _limit_params(limits: Sequence[LimitRow]) -> dict[str, Any]:
    return {name: [getattr(row, name) for row in limits] for name in LimitRow._fields}
