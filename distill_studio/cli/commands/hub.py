"""`hub`: push snapshots and models to the Hugging Face Hub."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean, clean_lines
from distill_studio.cli.waiting import Detach, check_detach, finish


class What(StrEnum):
    """What goes."""

    SNAPSHOT = "snapshot"
    MODEL = "model"


Kind = Annotated[What, typer.Argument(help="snapshot or model.")]
Name = Annotated[str, typer.Argument(help="Of the snapshot, or of a finished run.")]
Repo = Annotated[str, typer.Option(help="owner/name; by default a name of your own.")]
Public = Annotated[bool, typer.Option("--public", help="Everybody may see it.")]
Adapter = Annotated[bool, typer.Option("--adapter", help="Of a model: the adapter alone.")]
Licence = Annotated[str, typer.Option(help="Identifier of the Hub's list, such as apache-2.0.")]
Tag = Annotated[str, typer.Option(help="For this state; by default the name.")]


def add_to(app: typer.Typer) -> None:
    """Add the group `hub`."""
    group = typer.Typer(no_args_is_help=True, help="Push snapshots and models to the Hub.")
    group.command("check")(check)
    group.command("push")(push)
    group.command("card")(card)
    group.command("list")(list_)
    app.add_typer(group, name="hub")


def check(
    ctx: typer.Context,
    what: Kind,
    name: Name,
    repo: Repo = "",
    public: Public = False,
    adapter: Adapter = False,
    licence: Licence = "",
    tag: Tag = "",
) -> None:
    """What a push would do, and what to look at first."""
    session = session_of(ctx)
    found = session.call("hub_check", **_arguments(what, name, repo, public, adapter, licence, tag))
    session.answer(found, lambda: _show(found))


def push(
    ctx: typer.Context,
    what: Kind,
    name: Name,
    repo: Repo = "",
    public: Public = False,
    adapter: Adapter = False,
    licence: Licence = "",
    tag: Tag = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Push all the same, whatever `hub check` says.")
    ] = False,
    detach: Detach = False,
) -> None:
    """Push a snapshot or a model; private unless you say --public. The token is HF_TOKEN's."""
    session = session_of(ctx)
    check_detach(session, detach)
    arguments = _arguments(what, name, repo, public, adapter, licence, tag)
    job = session.call("hub_push", anyway=anyway, **arguments)
    done = finish(session, job, detach=detach)
    session.answer(done, lambda: print(clean(done["result"].get("url", "") or done["id"])))


def card(
    ctx: typer.Context,
    what: Kind,
    name: Name,
    adapter: Adapter = False,
    licence: Licence = "",
) -> None:
    """The card that would be pushed."""
    session = session_of(ctx)
    form = "adapter" if adapter else "merged"
    text = session.call("hub_card", what=what.value, name=name, form=form, licence=licence)
    session.answer(text, lambda: print(clean_lines(text)))


def list_(ctx: typer.Context) -> None:
    """What was pushed, newest first."""
    session: Session = session_of(ctx)
    found = session.call("hub_page")

    def show() -> None:
        for one in found:
            who = "private" if one["private"] else "public"
            print(clean(f"{one['what']} {one['name']}: {one['url']} ({who}, tag {one['tag']})"))

    session.answer(found, show)


def _arguments(
    what: What, name: str, repo: str, public: bool, adapter: bool, licence: str, tag: str
) -> dict[str, Any]:
    return {
        "what": what.value,
        "name": name,
        "repo": repo,
        "private": not public,
        "form": "adapter" if adapter else "merged",
        "licence": licence,
        "tag": tag,
    }


def _show(found: dict[str, Any]) -> None:
    who = "private" if found["private"] else "public"
    print(
        clean(
            f"{found['repo']}: {who} {found['kind']}, {found['files']} files,"
            f" {found['size_bytes']:,} bytes, licence {found['licence']}, tag {found['tag']}"
        )
    )
    for one in found["warnings"]:
        mark = "look first" if one["level"] == "warn" else "note"
        print(clean(f"{mark}: {one['message']} {one['hint']}", 2000))
