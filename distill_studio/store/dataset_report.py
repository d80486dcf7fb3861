"""The counts behind the report on a dataset. Aggregates only: no query returns a line per row.

Each row has one fate: `kept`, `rejected` (by people), or what curation removed it for (a filter's
tag, `exact`, `near`), as the log of what is in force has it.
"""

from distill_studio.store.database import Database, Row
from distill_studio.store.leaks import CANDIDATES, IS_OPEN
from distill_studio.store.pairs import CONTENT_KEY, IS_ANSWER

_KEPT = "p.status <> 'rejected' AND p.curation = 'kept'"
_FATES = f"""last AS (
    SELECT c.pair_id, arg_max(c.code, c.action) AS code
    FROM curation_changes c JOIN curation_actions a ON a.number = c.action
    WHERE a.undone_at IS NULL GROUP BY 1),
fates AS (
    SELECT p.id, p.topic, CASE WHEN p.status = 'rejected' THEN 'rejected'
        WHEN p.curation = 'kept' THEN 'kept'
        WHEN coalesce(l.code, '') <> '' THEN l.code
        WHEN p.curation = 'duplicate' THEN 'near'
        ELSE coalesce(nullif(split_part(p.curation_reason, ':', 1), ''), 'filtered') END AS fate
    FROM pairs p LEFT JOIN last l ON l.pair_id = p.id AND p.curation <> 'kept'
    WHERE {IS_ANSWER})"""
_BINS = 10
_FEW_SCORES = 12  # different scores up to which each has its own bar


def topic_fates(db: Database) -> list[Row]:
    """`topic`, `fate`, `count` of all rows."""
    return db.rows(
        f"""WITH {_FATES}, named AS (
            SELECT topic, fate, count(*) AS count FROM fates WHERE topic <> '' GROUP BY 1, 2
            UNION ALL
            SELECT y.topic, f.fate, count(*) FROM fates f JOIN pair_topics y ON y.pair_id = f.id
            WHERE f.topic = '' GROUP BY 1, 2)
        SELECT topic, fate, sum(count)::BIGINT AS count FROM named
        GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"""
    )


def came_from(db: Database, column: str, most: int) -> tuple[list[Row], int]:
    """Rows by `recipe`, `source` or `teacher`: (the `most` largest, how many others).

    Columns: `name`, `rows`, `kept`, `models` (a few ids).
    """
    if column not in ("recipe", "source", "teacher"):
        raise ValueError(column)
    rows = db.rows(
        f"""SELECT {column} AS name, count(*) AS rows, count(*) FILTER ({_KEPT}) AS kept,
        coalesce(list_sort(list(DISTINCT model) FILTER (model <> ''))[:5], []) AS models,
        count(*) OVER () AS groups
        FROM pairs p WHERE {IS_ANSWER} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?""",
        [most],
    )
    groups = rows[0].pop("groups") if rows else 0
    for row in rows[1:]:
        row.pop("groups")
    return rows, max(0, groups - most)


def seed_sources(db: Database, most: int) -> list[Row]:
    """`name` and `rows` of the largest sources of prompts."""
    return db.rows(
        """SELECT source AS name, count(*) AS rows FROM seeds
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?""",
        [most],
    )


def totals(db: Database) -> Row:
    """`seeds`, `unanswered` ones, `rows`, and `failures` of generations."""
    found = db.row(
        f"""SELECT (SELECT count(*) FROM seeds) AS seeds,
        (SELECT count(*) FROM seeds ANTI JOIN pairs ON seeds.id = pairs.seed_id) AS unanswered,
        (SELECT count(*) FROM pairs p WHERE {IS_ANSWER}) AS rows,
        (SELECT count(*) FROM failures) AS failures"""
    )
    return found or {}


def reject_reasons(db: Database, most: int) -> dict[str, int]:
    """Why people rejected rows, the most frequent first; '' where they did not say."""
    rows = db.rows(
        f"""SELECT reject_reason AS reason, count(*) AS count FROM pairs p
        WHERE p.status = 'rejected' AND {IS_ANSWER} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?""",
        [most],
    )
    return {row["reason"]: row["count"] for row in rows}


def stays(db: Database) -> Row:
    """Of the rows that stay: `rows`, `accepted`, `edited`, `pending`, `reviewers`,
    `answer_tokens`, `counted_rows`, `judged`, `mean_score`."""
    found = db.row(
        f"""SELECT count(*) AS rows,
        count(*) FILTER (p.status = 'accepted') AS accepted,
        count(*) FILTER (p.status = 'accepted' AND p.edited_answer IS NOT NULL) AS edited,
        count(*) FILTER (p.status = 'pending') AS pending,
        count(DISTINCT nullif(p.decided_by, '')) AS reviewers,
        coalesce(sum(p.completion_tokens), 0)::BIGINT AS answer_tokens,
        count(p.completion_tokens) AS counted_rows,
        count(p.judge_score) AS judged, avg(p.judge_score) AS mean_score
        FROM pairs p WHERE {IS_ANSWER} AND {_KEPT}"""
    )
    return found or {}


def lengths(db: Database) -> list[Row]:
    """How long kept texts are: answers in words (those measured), prompts in characters.

    Columns: `what`, `rows`, `total`, `mean`, `p5`, `p25`, `median`, `p75`, `p95`, `longest`.
    """
    rows = db.rows(
        f"""WITH sizes AS (
            SELECT 'answers, words' AS what, s.score AS size
            FROM filter_scores s JOIN pairs p ON p.id = s.pair_id
            WHERE s.measure = 'length.words' AND {IS_ANSWER} AND {_KEPT}
            UNION ALL
            SELECT 'prompts, characters', length(p.prompt)::DOUBLE
            FROM pairs p WHERE {IS_ANSWER} AND {_KEPT})
        SELECT what, count(*) AS rows, sum(size) AS total, avg(size) AS mean,
        quantile_disc(size, [0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) AS q
        FROM sizes GROUP BY 1 ORDER BY 1"""
    )
    names = ("p5", "p25", "median", "p75", "p95", "longest")
    return [dict(zip(names, row.pop("q"), strict=True)) | row for row in rows]


def score_bins(db: Database) -> list[Row]:
    """Judge's scores of kept rows in bars, lowest first: `start`, `stop`, `rows`.

    Few different scores have a bar each; else the range is cut in ten.
    """
    return db.rows(
        f"""WITH scored AS (SELECT p.judge_score AS score FROM pairs p
            WHERE p.judge_score IS NOT NULL AND {IS_ANSWER} AND {_KEPT}),
        spread AS (SELECT min(score) AS low, max(score) AS high,
            count(DISTINCT score) <= {_FEW_SCORES} AS is_few FROM scored),
        binned AS (SELECT low, (high - low) / {_BINS} AS width, is_few, score,
            least({_BINS} - 1, floor((score - low) / nullif(high - low, 0) * {_BINS})) AS bin
            FROM scored, spread)
        SELECT CASE WHEN is_few THEN score ELSE low + bin * width END AS start,
        CASE WHEN is_few THEN score ELSE low + (bin + 1) * width END AS stop, count(*) AS rows
        FROM binned GROUP BY 1, 2 ORDER BY 1"""
    )


def checks(db: Database, rules: str) -> list[Row]:
    """Each benchmark with what of it was found: the columns of `Checked`."""
    if not db.value("SELECT count(*) FROM leak_packs"):
        return []
    return db.rows(
        f"""WITH answers AS (SELECT p.id, p.status, {_KEPT} AS is_kept,
            {CONTENT_KEY} AS content_key FROM pairs p WHERE {IS_ANSWER}),
        looked AS (SELECT c.pack, count(*) AS rows FROM leak_checked c
            JOIN answers a ON a.id = c.pair_id AND a.content_key = c.content_key
            WHERE c.rules = $rules GROUP BY 1),
        hit AS (SELECT h.pack, count(DISTINCT h.pair_id) AS rows, count(DISTINCT h.item) AS items
            FROM leak_hits h JOIN answers a ON a.id = h.pair_id
            WHERE a.status <> 'rejected' GROUP BY 1),
        evident AS (SELECT e.pack, count(DISTINCT e.pair_id) AS rows
            FROM leak_evidence e JOIN answers a ON a.id = e.pair_id WHERE a.is_kept GROUP BY 1),
        judged AS (SELECT c.pack, count(*) FILTER ({IS_OPEN}) AS open,
            count(*) FILTER (v.verdict = 'leak') AS leaks,
            count(*) FILTER (v.verdict = 'not_leak') AS not_leaks,
            count(*) FILTER ({IS_OPEN} AND o.said = 'leak') AS model_leaks,
            count(*) FILTER ({IS_OPEN} AND o.said IN ('leak', 'not_leak', 'unsure')) AS model_read,
            list(DISTINCT o.teacher) FILTER (o.said IN ('leak', 'not_leak', 'unsure')) AS models
            FROM {CANDIDATES} GROUP BY 1)
        SELECT k.name, k.kind, k.source, k.items,
        (SELECT count(*) FROM answers) - coalesce(l.rows, 0) AS unchecked,
        coalesce(h.rows, 0) AS rows_hit, coalesce(h.items, 0) AS items_hit,
        coalesce(e.rows, 0) AS kept_hit, coalesce(j.open, 0) AS open,
        coalesce(j.leaks, 0) AS leaks, coalesce(j.not_leaks, 0) AS not_leaks,
        coalesce(j.model_leaks, 0) AS model_leaks, coalesce(j.model_read, 0) AS model_read,
        coalesce(list_sort(j.models), []) AS models
        FROM leak_packs k LEFT JOIN looked l ON l.pack = k.id LEFT JOIN hit h ON h.pack = k.id
        LEFT JOIN evident e ON e.pack = k.id LEFT JOIN judged j ON j.pack = k.id
        ORDER BY k.kind <> 'benchmark', k.name""",
        {"rules": rules},
    )


def examples(db: Database, most: int, cut: int) -> list[Row]:
    """The oldest rows of each fate but `kept`, `most` of each, texts cut.

    Columns: `code`, `pair_id`, `prompt`, `answer`, `reason`, `other` (the answer of the row that
    stands for it).
    """
    return db.rows(
        f"""WITH {_FATES},
        few AS (SELECT fate, unnest(min(id, {int(most)})) AS id FROM fates
            WHERE fate <> 'kept' GROUP BY 1),
        stood AS (SELECT c.pair_id, arg_max(c.lost_to, c.action) AS lost_to
            FROM curation_changes c JOIN curation_actions a ON a.number = c.action
            WHERE a.undone_at IS NULL AND c.pair_id IN (SELECT id FROM few) GROUP BY 1)
        SELECT s.fate AS code, p.id AS pair_id, left(p.prompt, $cut) AS prompt,
        left(coalesce(p.edited_answer, p.answer), $cut) AS answer,
        CASE WHEN s.fate = 'rejected' THEN p.reject_reason ELSE p.curation_reason END AS reason,
        CASE WHEN s.fate IN ('exact', 'near')
            THEN left(coalesce(o.edited_answer, o.answer, ''), $cut) ELSE '' END AS other
        FROM few s JOIN pairs p ON p.id = s.id LEFT JOIN stood t ON t.pair_id = p.id
        LEFT JOIN pairs o ON o.id = t.lost_to ORDER BY s.fate, p.id""",
        {"cut": cut},
    )


def steps(db: Database, most: int) -> list[Row]:
    """What was applied and is in force, newest first: `number`, `user`, `made_at`, `pipeline`,
    `changed`."""
    return db.rows(
        """SELECT a.number, a.user_name AS "user", a.made_at, a.pipeline,
        (SELECT count(*) FROM curation_changes c WHERE c.action = a.number) AS changed
        FROM curation_actions a WHERE a.undone_at IS NULL ORDER BY a.number DESC LIMIT ?""",
        [most],
    )
