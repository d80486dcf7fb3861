"""`arena`: models ranked by the votes of people and judges; have a judge vote."""

import sys
from typing import Annotated, Any

import typer

from distill_studio.cli.commands.agreement import Sources
from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean, facts, table
from distill_studio.cli.waiting import Detach, check_detach, finish
from distill_studio.services.agreement_csv import to_csv

_MODELS = {
    "model": "model", "rating": "points", "interval": "95% interval", "wins": "win rate",
    "equal": "at equal length", "people_votes": "people", "judge_votes": "judges", "why": "",
}  # fmt: skip
_JUDGES = {
    "judge": "judge", "votes": "votes", "consistent": "same in both orders",
    "agree": "agrees with people", "common": "in common", "says": "",
}  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Add the group `arena`."""
    group = typer.Typer(no_args_is_help=True, help="Models ranked by votes; judges that vote.")
    group.command("show")(show)
    group.command("judges")(judges)
    group.command("judge")(judge)
    app.add_typer(group, name="arena")


def show(
    ctx: typer.Context,
    sources: Annotated[
        Sources | None, typer.Option(help="Whose votes (default: the first there are).")
    ] = None,
    voter: Annotated[str, typer.Option(help="Only this voter or judge.")] = "",
    anchor: Annotated[str, typer.Option(help="The model fixed at 1000 points.")] = "",
    sighted: Annotated[
        bool, typer.Option("--sighted", help="Also votes cast with the names shown.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Answer as CSV.")] = False,
) -> None:
    """Models by strength, with win rates and how many people and judges voted."""
    session = session_of(ctx)
    wanted = sources.value if sources else ""
    found = session.call(
        "arena_standings", sources=wanted, voter=voter, anchor=anchor, sighted=sighted
    )
    if as_csv:
        print(to_csv(found["rows"]), end="")
        return
    empty = "No votes yet: compare models and vote, or have a judge vote: arena judge NAME"

    def say() -> None:
        table([_model(row) for row in found["rows"]], _MODELS, empty=empty)
        if found["rows"]:
            facts({"votes": found["n"], "of": found["sources"], "prompts": found["prompts"]})
        if found["sighted_votes"]:
            key = "of these with the names shown" if sighted else "not counted, names shown"
            facts({key: found["sighted_votes"]})

    session.answer(found, say)


def judges(ctx: typer.Context) -> None:
    """The judges that have voted: how steady they are, and how far they agree with people."""
    session = session_of(ctx)
    found = session.call("arena_standings")["judges"]
    session.answer(
        found, lambda: table([_judge(r) for r in found], _JUDGES, empty="No judge has voted yet.")
    )


def judge(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A teacher's name.")],
    most: Annotated[int, typer.Option(min=1, help="Comparisons at most.")] = 200,
    detach: Detach = False,
) -> None:
    """Have a judge vote on stored comparisons, each two answers in both orders."""
    session = session_of(ctx)
    check_detach(session, detach)
    job = session.call("arena_judge", judge=name, most=most)
    warnings = {one["judge"]: one["warning"] for one in session.call("arena_judges")}
    if warnings[name]:
        print(clean(warnings[name]), file=sys.stderr)
    done = finish(session, job, detach=detach)

    def say() -> None:
        if detach:
            print(f"Job {done['id']} is on its way.")
        else:
            facts(done["result"]["said"] or {"new": 0})

    session.answer(done, say)


def _model(row: dict[str, Any]) -> dict[str, Any]:
    ends = ["open" if row[end] is None else f"{row[end]:.0f}" for end in ("low", "high")]
    return row | {
        "rating": "" if row["rating"] is None else f"{row['rating']:.0f}",
        "interval": "" if row["rating"] is None else " to ".join(ends),
        "wins": _percent(row["win_rate"]),
        "equal": _percent(row["equal_length"]),
    }


def _judge(row: dict[str, Any]) -> dict[str, Any]:
    order = row["order"]
    return row | {
        "consistent": _percent(order["consistent"]) if order else "",
        "agree": _percent(row["with_people"]["percent"]),
        "common": row["with_people"]["n"],
        "says": order["words"] if order and order["side"] else "",
    }


def _percent(found: dict[str, Any]) -> str:
    return "" if found["value"] is None else f"{100 * found['value']:.0f}%"
