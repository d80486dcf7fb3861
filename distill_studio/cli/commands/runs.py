"""`runs`: compare trainings, and note something of one."""

from typing import Annotated, Any

import typer

from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean, clean_lines, table

Name = Annotated[str, typer.Argument(help="Name of the run.")]


def add_to(app: typer.Typer) -> None:
    """Add the group `runs`."""
    group = typer.Typer(no_args_is_help=True, help="Compare trainings, and note something of one.")
    group.command("compare")(compare)
    group.command("note")(note)
    group.command("notes")(notes)
    app.add_typer(group, name="runs")


def compare(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(help="2 to 6 runs.")],
) -> None:
    """Settings in which runs differ, and their final figures."""
    session = session_of(ctx)
    found = session.call("runs_compare", names=names)
    session.answer(found, lambda: _show(found))


def note(
    ctx: typer.Context,
    name: Name,
    text: Annotated[str, typer.Argument(help="What to note, for everybody here.")],
    card: Annotated[
        bool, typer.Option("--card", help="Also in the card of the run's model.")
    ] = False,
) -> None:
    """Note something of a run."""
    session = session_of(ctx)
    made = session.call("runs_note", name=name, text=text, in_card=card)
    session.answer(made, lambda: print(f"Noted of {clean(name)}."))


def notes(ctx: typer.Context, name: Name) -> None:
    """What people noted of a run, oldest first."""
    session = session_of(ctx)
    found = session.call("runs_notes", name=name)
    session.answer(found, lambda: _show_notes(found))


def _show(found: dict[str, Any]) -> None:
    names = [run["name"] for run in found["runs"]]
    for kind, title, empty in (
        ("settings", "setting that differs", "These runs were told the same."),
        ("figures", "figure", "None of them has a figure yet."),
    ):
        rows = [
            {"": row["label"], **dict(zip(names, row["values"], strict=True))}
            for row in found[kind]
        ]
        table(rows, {"": title, **{name: name for name in names}}, empty=empty)
        print()
    for row in found["figures"]:
        if row["unlike"]:
            print(f"{row['label']} cannot be compared: {clean(', '.join(row['unlike']))} differ.")


def _show_notes(found: list[dict[str, Any]]) -> None:
    for one in found:
        mark = ", in the card" if one["in_card"] else ""
        print(f"{one['made_at'][:19]}  {clean(one['user'])}{mark}")
        print(clean_lines(one["text"]))
    if not found:
        print("Nobody has noted anything of this run yet.")
