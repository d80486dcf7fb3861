"""The command line's top: global options, commands, exit codes.

0 well, 1 an expected failure (message and hint on stderr, or JSON), 2 wrong usage, 130 a job
stopped with Ctrl+C.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from distill_studio import __version__
from distill_studio.cli.commands import (
    agreement,
    arena,
    backup,
    benchmarks,
    curate,
    demo,
    exporting,
    generate,
    hub,
    jobs,
    leaks,
    pairs,
    plans,
    reporting,
    runs,
    seeds,
    seeds_hub,
    serve,
    space,
    suites,
    teachers,
    training,
    users,
    workspaces,
)
from distill_studio.cli.session import Session, report
from distill_studio.core.errors import StudioError
from distill_studio.core.settings import Settings

_FLAGS = {"--json"}
_VALUES = {"--home", "--workspace"}


app = typer.Typer(
    name="distill_studio",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Curate data from teacher models and distill it into a student. Global options may stand"
    " anywhere on the line.",
)


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def top(
    ctx: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Data folder (default: DISTILL_STUDIO_HOME).")
    ] = None,
    workspace: Annotated[str, typer.Option(help="Workspace (default: main).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")] = False,
    _version_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read the settings from the environment and these options."""
    given: dict[str, Any] = {}
    if home is not None:
        given["home"] = home.expanduser().absolute()
    try:
        settings = Settings(**given)
    except ValidationError as err:
        problem = err.errors()[0]
        name = "_".join(str(part) for part in problem["loc"]).upper()
        raise typer.BadParameter(f"DISTILL_STUDIO_{name}: {problem['msg']}") from err
    session = Session(settings, workspace or settings.workspace, as_json)
    ctx.obj = session
    ctx.call_on_close(session.close)


serve.add_to(app)
seeds.add_to(app)
seeds_hub.add_to(app)
generate.add_to(app)
teachers.add_to(app)
pairs.add_to(app)
curate.add_to(app)
leaks.add_to(app)
reporting.add_to(app)
agreement.add_to(app)
arena.add_to(app)
training.add_to(app)
runs.add_to(app)
plans.add_to(app)
suites.add_to(app)
benchmarks.add_to(app)
exporting.add_to(app)
hub.add_to(app)
jobs.add_to(app)
demo.add_to(app)
workspaces.add_to(app)
users.add_to(app)
backup.add_to(app)
space.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leaves by `SystemExit`."""
    words = global_options_first(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=words)
    except StudioError as err:
        report(err, as_json=words[:1] == ["--json"])
        sys.exit(1)


def global_options_first(arguments: Sequence[str]) -> list[str]:
    """The same line with --json, --home and --workspace in front, so that they may stand anywhere.

    What follows `--` stays where it is.
    """
    first: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return [*first, *rest, word, *waiting]
        if word in _FLAGS:
            first.insert(0, word)
        elif "=" in word and word.partition("=")[0] in _VALUES:
            first.append(word)
        elif word in _VALUES and waiting:
            first += [word, waiting.pop(0)]
        else:
            rest.append(word)
    return [*first, *rest]
