"""Benchmark runs and what they scored."""

import json
from collections.abc import Sequence
from typing import Any

from distill_studio.core.records.benchmark import BenchmarkRun, BenchmarkScore
from distill_studio.store.database import Database, Row

_RUN = """id, model, tasks, settings, state, error, facts, job_id, pid, pid_started,
pid_mark,
user_name AS "user", created_at, ended_at"""
_SCORE = """task, place, metric, filter, value, stderr, n, total, shots, version, fingerprint,
is_higher_better, is_asked"""


def insert(db: Database, run: BenchmarkRun) -> None:
    """Store a new run."""
    row = run.model_dump(mode="json", exclude={"user", "created_at", "ended_at"})
    row |= {
        "model_id": run.model.id,
        "model": json.dumps(row["model"]),
        "settings": json.dumps(row["settings"]),
        "settings_key": run.settings.key,
        "facts": json.dumps(row["facts"]),
        "user_name": run.user,
        "created_at": run.created_at,
        "ended_at": run.ended_at,
    }
    db.insert("benchmark_runs", [row])


def update(db: Database, run_id: str, **fields: Any) -> None:  # noqa: ANN401  (column values)
    """Set columns of a run."""
    if "facts" in fields:
        fields["facts"] = json.dumps(fields["facts"])
    if "state" in fields:
        fields["state"] = str(fields["state"])
    sets = ", ".join(f"{column} = ?" for column in fields)
    with db.write() as cursor:
        cursor.execute(f"UPDATE benchmark_runs SET {sets} WHERE id = ?", [*fields.values(), run_id])


def get(db: Database, run_id: str) -> BenchmarkRun | None:
    """One run."""
    row = db.row(f"SELECT {_RUN} FROM benchmark_runs WHERE id = ?", [run_id])
    return _run(row) if row else None


def page(db: Database, *, model: str = "", after: str = "", limit: int = 50) -> list[BenchmarkRun]:
    """Newest first, from the id `after` on; with `model` (a card's id) only its own."""
    rows = db.rows(
        f"""SELECT {_RUN} FROM benchmark_runs
        WHERE ($model = '' OR model_id = $model) AND ($after = '' OR id < $after)
        ORDER BY id DESC LIMIT $limit""",
        {"model": model, "after": after, "limit": limit},
    )
    return [_run(row) for row in rows]


def settings_in_use(db: Database, limit: int = 30) -> list[Row]:
    """`settings_key`, `settings` (JSON) and `tasks` (the newest run's) of what was asked alike,
    the newest first; only where something was scored."""
    return db.rows(
        """SELECT settings_key, arg_max(settings, id) AS settings, arg_max(tasks, id) AS tasks,
        count(DISTINCT model_id) AS models
        FROM benchmark_runs WHERE state = 'done'
        GROUP BY settings_key ORDER BY max(id) DESC LIMIT ?""",
        [limit],
    )


def newest_of(db: Database, settings_key: str) -> list[tuple[str, BenchmarkScore]]:
    """(run id, score) of every figure: for each model and task those of the newest run."""
    rows = db.rows(
        f"""WITH newest AS (
            SELECT r.model_id, s.task, max(r.id) AS run_id
            FROM benchmark_runs r JOIN benchmark_scores s ON s.run_id = r.id
            WHERE r.settings_key = ? AND r.state = 'done' GROUP BY r.model_id, s.task)
        SELECT s.run_id, {", ".join(f"s.{name.strip()}" for name in _SCORE.split(","))}
        FROM benchmark_scores s JOIN newest n ON n.run_id = s.run_id AND n.task = s.task
        ORDER BY s.run_id, s.place""",
        [settings_key],
    )
    return [(row.pop("run_id"), BenchmarkScore(**row)) for row in rows]


def add_scores(db: Database, run_id: str, scores: Sequence[BenchmarkScore]) -> None:
    """Store what a run scored; what it had before gives way."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM benchmark_scores WHERE run_id = ?", [run_id])
        db.insert("benchmark_scores", [{"run_id": run_id, **s.model_dump()} for s in scores])


def scores(db: Database, run_id: str) -> list[BenchmarkScore]:
    """All figures of a run, in the harness's order."""
    rows = db.rows(
        f"SELECT {_SCORE} FROM benchmark_scores WHERE run_id = ? ORDER BY place", [run_id]
    )
    return [BenchmarkScore(**row) for row in rows]


def delete(db: Database, run_id: str) -> None:
    """Forget a run with its scores."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM benchmark_scores WHERE run_id = ?", [run_id])
        cursor.execute("DELETE FROM benchmark_runs WHERE id = ?", [run_id])


def _run(row: Row) -> BenchmarkRun:
    decoded = {name: json.loads(row[name]) for name in ("model", "settings", "facts")}
    return BenchmarkRun(**{**row, **decoded, "tasks": tuple(row["tasks"])})
