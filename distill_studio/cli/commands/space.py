"""`space create`: a Hugging Face Space of this app, or the one there is brought up to date."""

from dataclasses import asdict
from typing import Annotated

import typer

from distill_studio.cli.session import session_of
from distill_studio.core.errors import InvalidInput
from distill_studio.services.space_making import (
    BACKUP,
    DATASET_SCHEME,
    MOUNT,
    SpacePlan,
    SpaceReport,
    make_space,
    value_from,
)

_PASSWORD = "DISTILL_STUDIO_PASSWORD"


def add_to(app: typer.Typer) -> None:
    """Add the group `space`."""
    group = typer.Typer(no_args_is_help=True, help="A Hugging Face Space of this app.")
    group.callback()(_group)
    group.command("create")(create)
    app.add_typer(group, name="space")


def _group() -> None:
    """A Hugging Face Space of this app."""


def create(
    ctx: typer.Context,
    repo: Annotated[str, typer.Option(help="The Space, user/name.")],
    public: Annotated[bool, typer.Option("--public", help="Seen by everybody.")] = False,
    hardware: Annotated[
        str, typer.Option(help="cpu-basic, zero-a10g, t4-small, l4x1, a10g-small ...")
    ] = "cpu-basic",
    sleep_s: Annotated[
        int, typer.Option("--sleep", help="Seconds idle until paid hardware sleeps; -1 for never.")
    ] = 0,
    backup: Annotated[
        str,
        typer.Option(
            help="Where backups go: 'dataset' for the private dataset user/name-backup,"
            " hf://datasets/user/other, or a folder of the bucket such as /data/backup."
        ),
    ] = "",
    bucket: Annotated[
        str, typer.Option(help="A storage bucket user/name to mount at /data; keeps backups.")
    ] = "",
    password_from: Annotated[
        str,
        typer.Option(help="Variable of this machine that holds the studio's password."),
    ] = "",
    hf_token_from: Annotated[
        str, typer.Option(help="Variable that holds the token the Space is to have as HF_TOKEN.")
    ] = "",
    secret: Annotated[
        list[str] | None,
        typer.Option(help="Name of a variable of this machine that becomes a secret; repeatable."),
    ] = None,
    variable: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, seen by all who see it; repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look, and say what would be done.")
    ] = False,
) -> None:
    """Make the Space, or bring it up to date: settings, files, hardware. Private by default."""
    from huggingface_hub import HfApi  # noqa: PLC0415  (only here)

    session = session_of(ctx)
    secrets = {name: value_from(name) for name in secret or []}
    if password_from:
        secrets[_PASSWORD] = value_from(password_from)
    if hf_token_from:
        secrets["HF_TOKEN"] = value_from(hf_token_from)
    variables = dict(_pair(text) for text in variable or [])
    if target := _backup(backup, repo, bucket):
        variables[BACKUP] = target
    plan = SpacePlan(
        repo_id=repo,
        is_public=public,
        hardware=hardware,
        sleep_s=sleep_s or None,
        secrets=secrets,
        variables=variables,
        bucket=bucket,
    )
    report = make_space(plan, HfApi(), is_dry_run=dry_run)
    session.answer(asdict(report), lambda: _show(report))


def _backup(wanted: str, repo: str, bucket: str) -> str:
    if wanted == "dataset":
        return f"{DATASET_SCHEME}{repo}-backup"
    if not wanted and bucket:
        return f"{MOUNT}/backup"
    if wanted.startswith(f"{MOUNT}/") and not bucket:
        raise InvalidInput(
            f"{wanted} lies on no disk that lasts.", "Give the bucket to mount there: --bucket."
        )
    if wanted and not wanted.startswith((DATASET_SCHEME, "/")):
        raise InvalidInput(
            f"'{wanted}' is no place for backups.",
            f"Give 'dataset', {DATASET_SCHEME}user/name or a folder of the bucket.",
        )
    return wanted


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise InvalidInput(f"'{text}' is no variable.", "Write NAME=VALUE.")
    return name, value


def _show(report: SpaceReport) -> None:
    if report.is_dry_run:
        print("Nothing is changed; this would be done:")
    for line in report.done:
        print(f"  {line}" if report.is_dry_run else f"done       {line}")
    for line in report.unchanged:
        print(f"  (stays) {line}" if report.is_dry_run else f"unchanged  {line}")
    for line in report.notes:
        print(f"note       {line}")
    if not (report.done or report.unchanged):
        print("  nothing")
    print(report.url)
