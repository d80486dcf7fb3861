"""What each job asked of each teacher: requests, tokens, cost, failures."""

import json
from collections.abc import Sequence

from distill_studio.core.records import AskedTotals
from distill_studio.core.records.base import utc_now
from distill_studio.store.database import Database, Row

_NUMBERS = "requests, untold, prompt_tokens, completion_tokens, busy_s, cost_usd"


def save(
    db: Database, job_id: str, asked: Sequence[AskedTotals], *, kind: str = "", title: str = ""
) -> None:
    """A job's totals so far take the place of the earlier ones.

    Args:
        db: The store.
        job_id: A job's, or of what else was counted together.
        asked: By teacher.
        kind: What it is, where it is no job.
        title: In words, where it is no job.
    """
    with db.write() as cursor:
        for each in asked:
            cursor.execute(
                f"""INSERT INTO teacher_ledger
                (job_id, teacher, {_NUMBERS}, failures, updated_at, kind, title)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET requests = excluded.requests, untold = excluded.untold,
                prompt_tokens = excluded.prompt_tokens, busy_s = excluded.busy_s,
                completion_tokens = excluded.completion_tokens, cost_usd = excluded.cost_usd,
                failures = excluded.failures, updated_at = excluded.updated_at""",
                [
                    *(job_id, each.teacher),
                    *(getattr(each, name) for name in _NUMBERS.split(", ")),
                    *(json.dumps(each.failures), utc_now(), kind, title),
                ],
            ).fetchall()


def of_job(db: Database, job_id: str) -> list[AskedTotals]:
    """What one job asked, by teacher."""
    rows = db.rows(
        f"SELECT teacher, {_NUMBERS}, failures FROM teacher_ledger WHERE job_id = ?"
        " ORDER BY teacher",
        [job_id],
    )
    return [_from_row(row) for row in rows]


def of_all(db: Database) -> list[AskedTotals]:
    """What all jobs asked, by teacher; the cost of those whose price was known."""
    rows = db.rows(
        """WITH counts AS (
            SELECT teacher, f.key AS code, sum(f.value::BIGINT)::BIGINT AS n
            FROM teacher_ledger, json_each(failures) f GROUP BY ALL
        ), codes AS (
            SELECT teacher, json_group_object(code, n) AS failures FROM counts GROUP BY 1
        ), kinds AS (
            SELECT teacher, coalesce(j.kind, l.kind) AS kind, sum(requests)::BIGINT AS n
            FROM teacher_ledger l LEFT JOIN jobs j ON j.id = l.job_id GROUP BY ALL
        ), uses AS (SELECT teacher, json_group_object(kind, n) AS kinds FROM kinds GROUP BY 1)
        SELECT l.teacher, sum(requests)::BIGINT AS requests, sum(untold)::BIGINT AS untold,
        sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(busy_s) AS busy_s,
        sum(completion_tokens)::BIGINT AS completion_tokens, sum(cost_usd) AS cost_usd,
        coalesce(any_value(c.failures), '{}') AS failures, any_value(u.kinds) AS kinds
        FROM teacher_ledger l LEFT JOIN codes c USING (teacher) LEFT JOIN uses u USING (teacher)
        GROUP BY l.teacher ORDER BY l.teacher"""
    )
    return [_from_row(row) for row in rows]


def rows(db: Database) -> list[Row]:
    """A row for each job and teacher, the newest job first, with what the job was."""
    return db.rows(
        f"""SELECT coalesce(j.created_at, l.updated_at) AS started,
        coalesce(j.kind, l.kind) AS kind, coalesce(j.title, l.title) AS title,
        l.job_id, l.teacher, {_NUMBERS}, failures
        FROM teacher_ledger l LEFT JOIN jobs j ON j.id = l.job_id
        ORDER BY l.job_id DESC, l.teacher"""
    )


def _from_row(row: Row) -> AskedTotals:
    maps: Row = {name: json.loads(row[name]) for name in ("failures", "kinds") if name in row}
    return AskedTotals(**{**row, **maps})
