"""`benchmarks`: models on public benchmarks, through lm-evaluation-harness."""

from pathlib import Path
from typing import Annotated, Any

import typer

from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean, clean_lines, facts, table
from distill_studio.cli.waiting import Detach, check_detach, finish
from distill_studio.core.errors import NotFound, StudioError

_TASKS = {"name": "task", "about": "asks", "questions": "questions", "data": "data set"}
_RUNS = {"id": "run", "model": "model", "tasks": "tasks", "state": "state", "created_at": "made"}
_FIGURES = {
    "task": "task", "metric": "metric", "filter": "read by", "value": "figure",
    "stderr": "standard error", "n": "n", "total": "of", "shots": "shots", "version": "version",
}  # fmt: skip
_WORDS = {
    "better": "better", "worse": "worse", "overlap": "no difference shown",
    "unknown": "no interval", "other": "not comparable",
}  # fmt: skip
_ENDINGS = {".yaml", ".yml", ".jsonl", ".json", ".csv", ".parquet"}
Run = Annotated[str, typer.Argument(help="Id of a run.")]


def add_to(app: typer.Typer) -> None:
    """Add the group `benchmarks`."""
    group = typer.Typer(
        no_args_is_help=True, help="Public benchmarks, through lm-evaluation-harness."
    )
    group.command("tasks")(tasks)
    group.command("add")(add)
    group.command("run")(run)
    group.command("list")(list_runs)
    group.command("show")(show)
    group.command("log")(log)
    app.add_typer(group, name="benchmarks")


def tasks(ctx: typer.Context) -> None:
    """Tasks by the names that people know, and your own; others of the harness work as well."""
    session = session_of(ctx)
    found = session.call("benchmarks_tasks")
    session.answer(found, lambda: table(found, _TASKS))


def add(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder with task files (YAML) and their rows.")],
) -> None:
    """Add tasks of your own."""
    session = session_of(ctx)
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in _ENDINGS)
    if not files:
        raise NotFound(f"There is no task file in {folder}.", "Task files end in .yaml.")
    made = session.call(
        "benchmarks_add_tasks", upload_ids=[session.client.upload(p) for p in files]
    )
    names = ", ".join(clean(one["name"]) for one in made)
    session.answer(made, lambda: print(f"Added: {names or 'no new task'}."))


def run(
    ctx: typer.Context,
    models: Annotated[list[str], typer.Argument(help="Labels or ids, as for `suites score`.")],
    task: Annotated[list[str], typer.Option("--task", help="A task; repeatable.")],
    first: Annotated[int, typer.Option(min=0, help="First questions, to try out; 0: all.")] = 0,
    shots: Annotated[
        int | None, typer.Option(min=0, help="Examples before a question (default: the task's).")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without the chat template.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of whatever is drawn.")] = 1234,
    batch: Annotated[int, typer.Option(min=1, help="Rows at once, local models.")] = 8,
    completions: Annotated[
        bool, typer.Option("--completions", help="Ask servers by completions, not as a chat.")
    ] = False,
    detach: Detach = False,
) -> None:
    """Ask models and show how they did."""
    session = session_of(ctx)
    check_detach(session, detach)
    settings = {
        "limit": first, "shots": shots, "chat_template": not plain, "seed": seed, "batch": batch,
        "api": "completions" if completions else "chat",
    }  # fmt: skip
    started = session.call("benchmarks_run", models=models, tasks=task, settings=settings)
    if detach:
        ids = ", ".join(job["params"]["run_id"] for job in started)
        session.answer(started, lambda: print(f"On their way: {ids}"))
        return
    if failed := _finish_all(session, started):
        if len(failed) < len(started):
            _show_table(session)
        raise failed[0]
    _show_table(session)


def _finish_all(session: Session, started: list[Any]) -> list[StudioError]:
    """Wait for every run, whatever became of those before; what went wrong."""
    failed: list[StudioError] = []
    for job in started:
        try:
            finish(session, job)
        except StudioError as err:
            failed.append(err)
        except typer.Exit:  # Ctrl+C stops them all
            for other in started:
                session.call("jobs_cancel", job_id=other["id"])
            raise
    return failed


def list_runs(ctx: typer.Context) -> None:
    """Runs, newest first."""
    session = session_of(ctx)
    found = session.call("benchmarks_page")
    rows = [
        {**one, "model": one["model"]["label"], "tasks": ", ".join(one["tasks"])} for one in found
    ]
    session.answer(found, lambda: table(rows, _RUNS, empty="No run yet: benchmarks run MODEL"))


def show(
    ctx: typer.Context,
    run_id: Annotated[str, typer.Argument(help="Id of a run; none: the table of models.")] = "",
) -> None:
    """Models beside each other, or all figures of one run with its versions."""
    session = session_of(ctx)
    if not run_id:
        _show_table(session)
        return
    found = session.call("benchmarks_get", run_id=run_id)
    scores = session.call("benchmarks_scores", run_id=run_id)

    def say() -> None:
        table(scores, _FIGURES, empty=found["error"] or f"It is {found['state']}.")
        known = {"model": found["model"]["label"], **found["settings"]}
        versions = found["facts"].get("packages", {})
        facts({**known, **versions, "weights": found["facts"].get("model", {}).get("sha256", "")})

    session.answer({"run": found, "scores": scores}, say)


def log(ctx: typer.Context, run_id: Run) -> None:
    """The last lines of what the harness printed."""
    session = session_of(ctx)
    found = session.call("benchmarks_log", run_id=run_id)
    session.answer(found, lambda: print(clean_lines(found)))


# -- inside -------------------------------------------------------------------------------


def _show_table(session: Session) -> None:
    found = session.call("benchmarks_table")
    rows = [
        {
            "model": row["card"]["label"],
            "role": row["card"]["role"],
            "task": task,
            "score": _figure(cell),
            "n": _asked(cell["score"]),
            "teacher": _against(cell["teacher"]),
            "base": _against(cell["base"]),
        }
        for task in found["tasks"]
        for row in found["rows"]
        if (cell := row["cells"].get(task))
    ]
    columns = {
        "task": "task", "model": "model", "role": "", "score": "score", "n": "n",
        "teacher": "against the teacher", "base": "against the base",
    }  # fmt: skip
    session.answer(found, lambda: table(rows, columns, empty="Nothing was scored yet."))


def _figure(cell: dict[str, Any]) -> str:
    score = cell["score"]
    error = "" if score["stderr"] is None else f" ± {100 * score['stderr']:.1f}"
    return f"{100 * score['value']:.1f}{error} ({score['metric']})"


def _asked(score: dict[str, Any]) -> str:
    is_all = score["n"] >= score["total"]
    return f"{score['n']:,}" if is_all else f"{score['n']:,} of {score['total']:,} (smoke)"


def _against(found: dict[str, Any] | None) -> str:
    return "" if found is None else _WORDS[found["verdict"]]
