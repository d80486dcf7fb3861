"""`backup`: how the backup stands, make one now, try a restore, restore."""

from typing import Any

import typer

from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean, facts
from distill_studio.cli.waiting import finish


def add_to(app: typer.Typer) -> None:
    """Add the group `backup`."""
    group = typer.Typer(no_args_is_help=True, help="The backup of this studio.")
    group.command("status")(status)
    group.command("now")(now)
    group.command("drill")(drill)
    group.command("restore")(restore)
    app.add_typer(group, name="backup")


def status(ctx: typer.Context) -> None:
    """Where backups go, and how they stand."""
    session = session_of(ctx)
    state = session.call("backup_state")
    session.answer(state, lambda: _show_state(state))
    if not session.client.is_app and not session.as_json:
        print("No app runs on this data folder; backups are made while it runs.")


def now(ctx: typer.Context) -> None:
    """Have the running app make a whole copy now."""
    session = session_of(ctx)
    state = session.call("backup_now")
    session.answer(state, lambda: print("It begins."))


def drill(ctx: typer.Context) -> None:
    """Restore into a temporary folder, check every hash, and compare the counts."""
    session = session_of(ctx)
    job = finish(session, session.call("backup_drill"))
    found = job["result"]
    session.answer(found, lambda: _show_drill(found))
    if found["problems"] or found["missing"]:
        raise typer.Exit(1)


def restore(ctx: typer.Context) -> None:
    """Put the backup into the data folder, which must be empty (the app does so when it starts)."""
    from distill_studio.services.backup_restore import restore_by_command  # noqa: PLC0415  (duckdb)

    session = session_of(ctx)
    found = restore_by_command(session.settings).model_dump(mode="json")
    session.answer(found, lambda: _show_restored(found))


def _show_state(state: dict[str, Any]) -> None:
    facts({
        "Place": state["place"] or "none: set DISTILL_STUDIO_BACKUP",
        "Status": state["status"],
        "All that people said is there as of": state["backed_up_at"] or "-",
        "Whole copy": state["whole_at"] or "-",
    })
    for text in (state["message"], state["hint"], *state["problems"]):
        if text:
            print(clean(text))


def _show_drill(found: dict[str, Any]) -> None:
    print(
        f"{found['files']} files ({found['size'] / 1e6:,.1f} MB) and {found['parts']} newer parts"
        f" came back in {found['seconds']} s; every hash is right."
        if not found["problems"]
        else "It did not all come back."
    )
    for row in found["rows"]:
        print(f"{row['workspace']:<16} {row['table']:<20} {row['back']:>9,} of {row['here']:,}")
    for text in found["problems"]:
        print(clean(text))


def _show_restored(found: dict[str, Any]) -> None:
    print(f"{found['files']} files and {found['parts']} newer parts were put back.")
    for name, counts in found["counts"].items():
        print(f"{name}: {counts['pairs']:,} pairs, {counts['decisions']:,} decisions")
    for text in found["problems"]:
        print(clean(text))
