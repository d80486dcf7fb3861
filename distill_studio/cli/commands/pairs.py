"""`list` what there is; `decide` on answers."""

import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from distill_studio.cli import filters
from distill_studio.cli.commands.jobs import show_jobs
from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import table
from distill_studio.core.errors import InvalidInput
from distill_studio.core.ids import new_id
from distill_studio.core.records import Curation, PairStatus

PAIR_COLUMNS = {
    "id": "id",
    "status": "status",
    "curation": "curation",
    "teacher": "teacher",
    "prompt": "prompt",
    "final_answer": "answer",
}


class What(StrEnum):
    """What can be listed."""

    PAIRS = "pairs"
    SEEDS = "seeds"
    JOBS = "jobs"
    RUNS = "runs"
    SNAPSHOTS = "snapshots"
    PREFERENCES = "preferences"
    TEACHERS = "teachers"
    MODELS = "models"
    EXPORTS = "exports"


class Verdict(StrEnum):
    """What can be decided."""

    ACCEPT = "accept"
    REJECT = "reject"
    EDIT = "edit"
    UNDO = "undo"


def add_to(app: typer.Typer) -> None:
    """Add `list` and `decide`."""
    app.command("list")(list_rows)
    app.command("decide")(decide)


def list_rows(
    ctx: typer.Context,
    what: Annotated[What, typer.Argument(help="What to list.")] = What.PAIRS,
    status: filters.Status = None,
    curation: filters.Kept = None,
    teacher: filters.Teacher = "",
    recipe: filters.RecipeName = "",
    topic: filters.Topic = "",
    source: filters.Source = "",
    job_id: filters.JobId = "",
    seed_id: filters.SeedId = "",
    search: filters.Search = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    after: Annotated[str, typer.Option(help="Go on after this id.")] = "",
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Only how many pairs match.")] = False,
) -> None:
    """List pairs that match a filter, or seeds, jobs, runs, snapshots, preferences, ..."""
    session = session_of(ctx)
    paging = {"after": after, "newest_first": newest, "limit": limit}
    query = filters.pair_query(
        status=status,
        curation=curation,
        teacher=teacher,
        recipe=recipe,
        topic=topic,
        source=source,
        job_id=job_id,
        seed_id=seed_id,
        search=search,
    )
    if count and what is not What.PAIRS:
        raise typer.BadParameter("--count counts pairs only; leave it out.")
    if count:
        total = session.call("review_count", query=query)
        session.answer({"count": total}, lambda: print(total))
    elif what is What.PAIRS:
        rows = [_with_texts(p) for p in session.call("review_page", query=query | paging)]
        session.answer(rows, lambda: table(rows, PAIR_COLUMNS, empty="No pair matches."))
    elif what is What.SEEDS:
        seeds = session.call("seeds_page", search=search, topic=topic, source=source, **paging)
        columns = {"id": "id", "topic": "topic", "source": "source", "prompt": "prompt"}
        rows = [row | {"prompt": _prompt(row)} for row in seeds]
        session.answer(rows, lambda: table(rows, columns, empty="No seed matches."))
    else:
        rows = _LISTERS[what](session, paging)
        session.answer(rows, lambda: _show(what, rows))


def decide(
    ctx: typer.Context,
    verdict: Annotated[Verdict, typer.Argument(help="accept, reject, edit or undo.")],
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of pairs.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All pairs that match the filter.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why it is rejected.")] = "",
    answer: Annotated[
        str | None, typer.Option(help="For edit: the new answer; - reads standard input.")
    ] = None,
    status: filters.Status = PairStatus.PENDING,
    curation: filters.Kept = Curation.KEPT,
    teacher: filters.Teacher = "",
    recipe: filters.RecipeName = "",
    topic: filters.Topic = "",
    source: filters.Source = "",
    job_id: filters.JobId = "",
    seed_id: filters.SeedId = "",
    search: filters.Search = "",
) -> None:
    """Accept, reject or edit pairs by id, or with --all every one that matches the filter.

    --all takes undecided pairs that curate keeps, unless --status or --curation say otherwise.
    """
    session = session_of(ctx)
    if verdict is Verdict.UNDO:
        undone = session.call("review_undo_last")
        session.answer(undone, lambda: print(_undone(undone)))
    elif everything:
        if ids or verdict is Verdict.EDIT:
            raise InvalidInput("--all goes with accept or reject, without ids.")
        query = filters.pair_query(
            status=status,
            curation=curation,
            teacher=teacher,
            recipe=recipe,
            topic=topic,
            source=source,
            job_id=job_id,
            seed_id=seed_id,
            search=search,
        )
        result = session.call(
            "review_bulk", query=query, kind=verdict.value, bulk_id=new_id(), reason=reason
        )
        session.answer(
            result, lambda: print(f"{result['count']} pairs: {verdict}. Undo with: decide undo")
        )
    else:
        _decide_ids(session, verdict, ids or [], reason, answer)


def _decide_ids(
    session: Session, verdict: Verdict, ids: list[str], reason: str, answer: str | None
) -> None:
    if not ids:
        raise InvalidInput("No pair is named.", "Give ids (see: list), or --all with a filter.")
    if verdict is Verdict.EDIT and (answer is None or len(ids) != 1):
        raise InvalidInput("edit takes one id and --answer TEXT (or --answer - to read it).")
    text = sys.stdin.read() if answer == "-" else answer
    decisions = [
        {
            "id": new_id(),
            "pair_id": pair_id,
            "kind": verdict.value,
            "reason": reason,
            "answer": text if verdict is Verdict.EDIT else None,
        }
        for pair_id in ids
    ]
    result = session.call("review_decide", decisions=decisions)
    session.answer(result, lambda: print(f"{len(result['stored'])} decisions stored."))
    if result["refused"]:
        reasons = "; ".join(refusal["reason"] for refusal in result["refused"])
        raise InvalidInput(f"{len(result['refused'])} decisions were refused: {reasons}")


def _undone(undone: dict[str, Any] | None) -> str:
    if undone is None:
        return "There is nothing to undo."
    return f"Took back {undone['count']} decision(s): {undone['kind']}."


def _prompt(row: dict[str, Any]) -> str:
    asked = [m["content"] for m in row["messages"] if m["role"] == "user"]
    return str(asked[-1]) if asked else ""


def _with_texts(pair: dict[str, Any]) -> dict[str, Any]:
    """What a pair says in the end, beside its columns."""
    edited = pair["edited_answer"]
    final = pair["answer"] if edited is None else edited
    return pair | {"prompt": _prompt(pair), "final_answer": final}


def _preferences(session: Session, paging: dict[str, Any]) -> Any:  # noqa: ANN401
    return session.call("prefer_page", query=paging)


def _limited(operation: str) -> Callable[[Session, dict[str, Any]], Any]:
    return lambda session, paging: session.call(operation, limit=paging["limit"])


def _whole(operation: str) -> Callable[[Session, dict[str, Any]], Any]:
    return lambda session, _: session.call(operation)


_LISTERS: dict[What, Callable[[Session, dict[str, Any]], Any]] = {
    What.JOBS: _limited("jobs_page"),
    What.RUNS: _limited("distill_page"),
    What.SNAPSHOTS: _limited("freeze_page"),
    What.PREFERENCES: _preferences,
    What.TEACHERS: _whole("teachers_page"),
    What.MODELS: _whole("evaluate_models"),
    What.EXPORTS: _limited("export_page"),
}
_COLUMNS: dict[What, Mapping[str, str]] = {
    What.RUNS: {
        "name": "name",
        "method": "method",
        "state": "state",
        "created_at": "made",
        "error": "error",
    },
    What.SNAPSHOTS: {
        "name": "name",
        "format": "format",
        "train_rows": "train",
        "validation_rows": "validation",
        "content_hash": "hash",
    },
    What.PREFERENCES: {
        "id": "id",
        "outcome": "outcome",
        "source": "source",
        "chosen_pair_id": "chosen",
        "rejected_pair_id": "rejected",
    },
    What.TEACHERS: {"name": "name", "kind": "kind", "model": "model", "base_url": "url"},
    What.MODELS: {"id": "id", "role": "role", "label": "label", "parameters": "weights"},
    What.EXPORTS: {"name": "name", "size_bytes": "bytes", "created_at": "made"},
}


def _show(what: What, rows: list[dict[str, Any]]) -> None:
    if what is What.JOBS:
        show_jobs(rows)
    else:
        table(rows, _COLUMNS[what], empty=f"No {what} yet.")
