"""`agreement`: how far people, judges and models can be trusted."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import table
from distill_studio.services.agreement_csv import to_csv


class Part(StrEnum):
    """What is measured."""

    ROWS = "rows"
    PEOPLE = "people"
    JUDGES = "judges"
    RANKING = "ranking"
    VERDICTS = "verdicts"


class Measured(StrEnum):
    """Which verdicts of people."""

    DECISIONS = "decisions"
    KEPT = "kept"
    VOTES = "votes"


class Sources(StrEnum):
    """Whose votes rank the models."""

    PEOPLE = "people"
    JUDGES = "judges"
    IMPORTS = "imports"
    ALL = "all"


def add_to(app: typer.Typer) -> None:
    """Add `agreement`."""
    app.command("agreement")(agreement)


def agreement(
    ctx: typer.Context,
    part: Annotated[Part, typer.Argument(help="What to show.")] = Part.ROWS,
    measured: Annotated[
        Measured, typer.Option("--of", help="Decisions (kept: an edit is an accept) or votes.")
    ] = Measured.DECISIONS,
    sources: Annotated[
        Sources | None, typer.Option(help="Ranking: whose votes (default: the first there are).")
    ] = None,
    voter: Annotated[str, typer.Option(help="Ranking: only this voter or judge.")] = "",
    anchor: Annotated[str, typer.Option(help="Ranking: the model fixed at 1000 points.")] = "",
    sighted: Annotated[
        bool, typer.Option("--sighted", help="Ranking: also votes cast with the names shown.")
    ] = False,
    line: Annotated[
        float | None, typer.Option(help="Judges: scores from here on count as kept.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Answer as CSV.")] = False,
) -> None:
    """Agreement of people, each person's figures, judges beside people, models by strength."""
    session = session_of(ctx)
    if part is Part.ROWS:
        found = session.call("agreement_rows", measured=measured.value)
        rows = found["rows"]
        empty = found["hint"]
    elif part is Part.VERDICTS:
        found = rows = session.call("agreement_verdicts", measured=measured.value)
        empty = "No verdict yet."
    elif part is Part.PEOPLE:
        found = rows = session.call("agreement_people")
        empty = "Nobody has judged anything yet."
    elif part is Part.JUDGES:
        found = rows = session.call("agreement_judges", line=line)
        empty = "No judge has judged what people have."
    else:
        wanted = sources.value if sources else ""
        found = session.call(
            "agreement_ranking", sources=wanted, voter=voter, anchor=anchor, sighted=sighted
        )
        rows = found["ranking"]["strengths"]
        empty = "No two models have been compared yet."
    _answer(session, part, found, rows, empty, as_csv=as_csv)


def _answer(
    session: Session,
    part: Part,
    found: Any,  # noqa: ANN401  (any JSON value)
    rows: list[dict[str, Any]],
    empty: str,
    *,
    as_csv: bool,
) -> None:
    if as_csv:
        print(to_csv(rows), end="")
        return
    session.answer(
        found, lambda: table([_SHAPES[part](row) for row in rows], _COLUMNS[part], empty=empty)
    )


def _figure(found: Mapping[str, Any] | None, factor: float = 1, digits: int = 2) -> str:
    """A figure with its interval, or why there is none."""
    if found is None:
        return ""
    if found["value"] is None:
        return str(found["why"])
    text = f"{factor * found['value']:.{digits}f}"
    if found["low"] is None or found["high"] is None:
        return text
    return f"{text} ({factor * found['low']:.{digits}f} to {factor * found['high']:.{digits}f})"


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "items": row["items"],
        "percent": _figure(row["percent"], 100, 0),
        **{name: _figure(row[name]) for name in ("cohen", "fleiss", "alpha")},
    }


def _person(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "left": _figure(row["position"]["share"], 100, 0),
        "longer": _figure(row["length"]["share"], 100, 0),
        "same": _figure(row["same"], 100, 0) if row["repeats"]["repeats"] else "",
        "warning": " ".join(row["warnings"]),
    }


def _judge(row: dict[str, Any]) -> dict[str, Any]:
    agreement_ = row["agreement"]
    return row | {
        "n": agreement_["n"],
        "percent": _figure(agreement_["percent"], 100, 0),
        "kappa": _figure(agreement_["kappa"]),
        "separation": _figure(row["separation"]),
    }


def _strength(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        name: "" if row[name] is None else f"{row[name]:.0f}" for name in ("rating", "low", "high")
    }


def _same(row: dict[str, Any]) -> dict[str, Any]:
    return row


_SHAPES: dict[Part, Callable[[dict[str, Any]], dict[str, Any]]] = {
    Part.ROWS: _row,
    Part.PEOPLE: _person,
    Part.JUDGES: _judge,
    Part.RANKING: _strength,
    Part.VERDICTS: _same,
}
_COLUMNS: dict[Part, Mapping[str, str]] = {
    Part.ROWS: {
        "name": "who", "items": "items", "percent": "agree %", "cohen": "Cohen",
        "fleiss": "Fleiss", "alpha": "Krippendorff",
    },
    Part.PEOPLE: {
        "user": "who", "decisions": "records", "accepted": "accepted", "edited": "edited",
        "rejected": "rejected", "votes": "votes", "left": "left %", "longer": "longer %",
        "same": "steady %", "warning": "look at",
    },
    Part.JUDGES: {
        "judge": "judge", "of": "of", "n": "both", "percent": "agree %", "kappa": "kappa",
        "separation": "separation", "advice": "what to make of it",
    },
    Part.RANKING: {
        "model": "model", "rating": "points", "low": "low", "high": "high", "n": "compared",
        "why": "",
    },
    Part.VERDICTS: {
        "item": "item", "person": "who", "label": "verdict", "topic": "topic",
    },
}  # fmt: skip
