"""`workspace`: list, make and delete workspaces."""

from typing import Annotated

import typer

from distill_studio.cli.session import session_of

Name = Annotated[str, typer.Argument(help="Small letters, digits, - and _.")]


def add_to(app: typer.Typer) -> None:
    """Add the group `workspace`."""
    group = typer.Typer(no_args_is_help=True, help="List, make and delete workspaces.")
    group.command("list")(list_workspaces)
    group.command("create")(create)
    group.command("delete")(delete)
    app.add_typer(group, name="workspace")


def list_workspaces(ctx: typer.Context) -> None:
    """Names of all workspaces."""
    session = session_of(ctx)
    names = session.client.workspaces()
    session.answer(names, lambda: print("\n".join(names)))


def create(ctx: typer.Context, name: Name) -> None:
    """Make a workspace."""
    session = session_of(ctx)
    made = session.client.create_workspace(name)
    session.answer({"name": made}, lambda: print(f"Made the workspace {made}."))


def delete(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop a workspace's jobs and move its folder to the trash."""
    session = session_of(ctx)
    if not yes:
        typer.confirm(f"Move the workspace {name} with all its data to the trash?", abort=True)
    moved_to = session.client.delete_workspace(name)
    session.answer({"moved_to": moved_to}, lambda: print(f"It lies in {moved_to} now."))
