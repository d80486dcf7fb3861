"""`user`: who may log in, from a shell."""

import sys
from typing import Annotated, Any

import typer

from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean, table

Name = Annotated[str, typer.Argument(help="The account's name.")]
RoleOption = Annotated[str, typer.Option(help="viewer, reviewer or owner.")]
FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read the password from standard input's first line.")
]


def add_to(app: typer.Typer) -> None:
    """Add the group `user`."""
    group = typer.Typer(no_args_is_help=True, help="Who may log in: add, invite, disable.")
    for name, command in (
        ("list", list_users),
        ("add", add),
        ("invite", invite),
        ("passwd", passwd),
        ("role", role),
        ("disable", disable),
        ("enable", enable),
        ("let-go", let_go),
    ):
        group.command(name)(command)
    app.add_typer(group, name="user")


def list_users(ctx: typer.Context) -> None:
    """All accounts of the studio."""
    session = session_of(ctx)
    rows = session.call("users_page")
    columns = {"name": "name", "role": "role", "state": "state", "seen_at": "seen last"}
    shown = [{**row, "state": _state(row)} for row in rows]
    session.answer(rows, lambda: table(shown, columns, "Nobody has an account yet."))


def add(
    ctx: typer.Context,
    name: Name,
    role: RoleOption = "reviewer",
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password instead of making a link.")
    ] = False,
    stdin: FromStdin = False,
    via: Annotated[
        str, typer.Option(help="password; or huggingface, proxy: who vouches for that name.")
    ] = "password",
) -> None:
    """Make an account and print a link that lets the person set a password, once."""
    session = session_of(ctx)
    secret = _password(stdin) if password or stdin else None
    added = session.call("users_add", name=name, role=role, password=secret, via=via)
    session.answer(added, lambda: _show_added(session, added))


def invite(ctx: typer.Context, name: Name) -> None:
    """Print a new link for an account; the one before lapses."""
    session = session_of(ctx)
    made = session.call("users_invite", name=name)
    session.answer(made, lambda: _show_link(session, made))


def passwd(ctx: typer.Context, name: Name, stdin: FromStdin = False) -> None:
    """Set a password; the person is logged out everywhere."""
    session = session_of(ctx)
    account = session.call("users_set_password", name=name, password=_password(stdin))
    session.answer(account, lambda: print(f"{clean(account['name'])} has a new password."))


def role(
    ctx: typer.Context, name: Name, role: Annotated[str, typer.Argument(help="The new role.")]
) -> None:
    """Change what somebody may do."""
    session = session_of(ctx)
    account = session.call("users_set_role", name=name, role=role)
    session.answer(account, lambda: print(f"{clean(account['name'])} is {account['role']} now."))


def disable(ctx: typer.Context, name: Name) -> None:
    """Shut somebody out; their decisions stay."""
    session = session_of(ctx)
    account = session.call("users_disable", name=name)
    session.answer(account, lambda: print(f"{clean(account['name'])} may not log in any more."))


def enable(ctx: typer.Context, name: Name) -> None:
    """Let somebody in again."""
    session = session_of(ctx)
    account = session.call("users_enable", name=name)
    session.answer(account, lambda: print(f"{clean(account['name'])} may log in again."))


def let_go(ctx: typer.Context, name: Name) -> None:
    """Forget which person used a name of Hugging Face, so that its new bearer may come in."""
    session = session_of(ctx)
    account = session.call("users_let_go", name=name)
    session.answer(account, lambda: print(f"The next of the name {clean(account['name'])} may."))


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _show_added(session: Session, added: dict[str, Any]) -> None:
    account = added["account"]
    print(f"Made the account {clean(account['name'])}, {account['role']}.")
    if account["via"] != "password":
        print("They come in at the app's address.")
    if added["invitation"]:
        _show_link(session, added["invitation"])


def _show_link(session: Session, made: dict[str, Any]) -> None:
    base = session.client.url or "<the app's address>"
    print(f"{clean(made['name'])} sets a password at, once, until {made['until'][:16]} UTC:")
    print(f"{base}{made['path']}")


def _state(row: dict[str, Any]) -> str:
    if row["is_disabled"]:
        return "disabled"
    if row["via"] != "password":
        return f"through {row['via']}" if row["role"] else "not on the list"
    if row["has_password"]:
        return "may log in"
    return "invited" if row["invited_until"] else "needs a link"
