"""`jobs`: list, look at, stop and resume long work."""

from typing import Annotated, Any

import typer

from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean, facts, table
from distill_studio.cli.waiting import Detach, check_detach, finish

JobId = Annotated[str, typer.Argument(help="A job's id, or the beginning or end of one.")]
COLUMNS = {
    "id": "id",
    "kind": "kind",
    "state": "state",
    "progress": "progress",
    "title": "title",
    "error": "error",
}


def add_to(app: typer.Typer) -> None:
    """Add the group `jobs`."""
    group = typer.Typer(help="List, look at, stop and resume long work.")
    group.callback(invoke_without_command=True)(jobs)
    group.command("show")(show)
    group.command("cancel")(cancel)
    group.command("resume")(resume)
    app.add_typer(group, name="jobs")


def jobs(
    ctx: typer.Context,
    active: Annotated[bool, typer.Option("--active", help="Only those that still run.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
) -> None:
    """List jobs, newest first."""
    if ctx.invoked_subcommand:
        return
    session = session_of(ctx)
    rows = session.call("jobs_page", active=active, limit=limit)
    session.answer(rows, lambda: show_jobs(rows))


def show_jobs(rows: list[dict[str, Any]]) -> None:
    """Print a table of jobs."""
    for_people = [{**row, "progress": _progress(row)} for row in rows]
    table(for_people, COLUMNS, empty="No jobs yet.")


def show(ctx: typer.Context, job_id: JobId) -> None:
    """One job with its log."""
    session = session_of(ctx)
    job = find(session, job_id)
    events = session.call("jobs_events", job_id=job["id"])
    session.answer({**job, "events": events}, lambda: _show(job, events))


def cancel(ctx: typer.Context, job_id: JobId) -> None:
    """Ask a job to stop; what it has made stays."""
    session = session_of(ctx)
    job = session.call("jobs_cancel", job_id=find(session, job_id)["id"])
    session.answer(job, lambda: print(f"Asked to stop: {clean(job['title'] or job['kind'])}"))


def resume(
    ctx: typer.Context,
    job_id: JobId,
    detach: Detach = False,
) -> None:
    """Run a stopped, failed or waiting job again; it does only what is missing."""
    session = session_of(ctx)
    check_detach(session, detach)
    job = session.call("jobs_resume", job_id=find(session, job_id)["id"])
    ended = finish(session, job, detach=detach)
    session.answer(ended, lambda: print(f"{ended['state']}: {clean(ended['result'])}"))


def find(session: Session, job_id: str) -> dict[str, Any]:
    """The job with this id, or the one job whose id begins or ends so."""
    if len(job_id) < 36:
        ids = [j["id"] for j in session.call("jobs_page", limit=10_000)]
        matches = [i for i in ids if i.startswith(job_id) or i.endswith(job_id)]
        job_id = matches[0] if len(matches) == 1 else job_id
    job: dict[str, Any] = session.call("jobs_get", job_id=job_id)
    return job


def _show(job: dict[str, Any], events: list[dict[str, Any]]) -> None:
    facts({name: value for name, value in job.items() if value not in ("", None, {})})
    for event in events:
        print(f"{event['made_at'][:19]}  {clean(event['message'])}")


def _progress(job: dict[str, Any]) -> str:
    return f"{job['done']}/{job['total']}" if job["total"] else str(job["done"] or "")
