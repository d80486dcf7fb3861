"""`dedup`: filters and near-duplicates, and taking them back."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean
from distill_studio.cli.waiting import Detach, check_detach, finish
from distill_studio.core import embedding_models


class Compared(StrEnum):
    """Which text of a pair is compared."""

    PROMPT = "prompt"
    ANSWER = "answer"
    BOTH = "both"


class First(StrEnum):
    """Which row of a group stays; accepted ones always come first."""

    JUDGE = "judge"
    OLDEST = "oldest"
    NEWEST = "newest"
    LONGEST = "longest"
    SHORTEST = "shortest"
    TEACHER = "teacher"


def add_to(app: typer.Typer) -> None:
    """Add `dedup`."""
    app.command("dedup")(dedup)


def dedup(
    ctx: typer.Context,
    threshold: Annotated[
        float | None, typer.Option(help="Similarity from which two are the same.", min=0.5, max=1.0)
    ] = None,
    field: Annotated[
        Compared | None, typer.Option(help="What is compared. Default: as it was, at first both.")
    ] = None,
    filters: Annotated[
        bool, typer.Option("--filters/--no-filters", help="Length, loops and refusals as well.")
    ] = True,
    accepted: Annotated[
        bool | None,
        typer.Option(
            "--accepted/--not-accepted",
            help="Remove accepted rows too, not only mark a conflict. Default: as it was.",
        ),
    ] = None,
    first: Annotated[
        First | None, typer.Option(help="Which row of a group stays. Default: as it was.")
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="Whose answers stay first, with --first teacher.")
    ] = "",
    within_topic: Annotated[
        bool | None,
        typer.Option("--within-topic/--all-topics", help="Only rows of one topic are the same."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Embedding model: full, fast (its static copy), or the id or folder of another."
            " Default: as it was."
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last step back.")] = False,
    detach: Detach = False,
) -> None:
    """Filter answers and set near-duplicates aside; one of each group always stays."""
    session = session_of(ctx)
    if undo:
        state = session.call("curate_undo")
        session.answer(state, lambda: print("Took the last step back."))
        return
    check_detach(session, detach)
    near = dict(session.call("curate_state")["settings"]["near"])
    if first is not None:
        near |= {"priority": first.value, "teacher": teacher}
    if within_topic is not None:
        near |= {"within_topic": within_topic}
    job = session.call(
        "curate_dedup",
        field=field.value if field else None,
        threshold=threshold,
        filters=None if filters else [],
        remove_accepted=accepted,
        near=near,
        model=model,
    )
    ended = finish(session, job, detach=detach)
    session.answer(ended["result"] if not detach else ended, lambda: _show(ended))


def _show(job: Any) -> None:  # noqa: ANN401  (a job as JSON)
    if job["state"] != "done":
        print(f"Started. See how it goes: jobs show {job['id']}")
        return
    report = job["result"]
    used = report["settings"]["model"]
    if used != embedding_models.FULL:
        print(f"Compared by {clean(embedding_models.label(used))}; its similarities are its own.")
    print(
        f"{report['considered']} answers: {report['kept']} stay, {report['filtered']} filtered,"
        f" {report['duplicates']} duplicates. Undo with: dedup --undo"
    )
    for reason, rows in report["by_reason"].items():
        print(f"  {rows} {clean(reason)}")
    if report["conflicts"]:
        print(f"  {report['conflicts']} near-duplicates stay, because a person accepted them")
