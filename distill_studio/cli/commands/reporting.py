"""`report`: one page on the dataset."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from distill_studio.cli.commands.exporting import take
from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean_lines
from distill_studio.core.errors import InvalidInput

_KINDS = {".html": "html", ".htm": "html", ".md": "markdown", ".json": "json"}


class Form(StrEnum):
    """How the report is written on the terminal."""

    MARKDOWN = "markdown"
    HTML = "html"


def add_to(app: typer.Typer) -> None:
    """Add `report`."""
    app.command("report")(report)


def report(
    ctx: typer.Context,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A file: .html, .md or .json.")
    ] = None,
    form: Annotated[Form, typer.Option(help="On the terminal, without a file.")] = Form.MARKDOWN,
) -> None:
    """What came in, what went and why, what stays, and what it was checked against."""
    session = session_of(ctx)
    if output is not None:
        kind = _KINDS.get(output.suffix.lower())
        if kind is None:
            raise InvalidInput(
                f"{output} does not say which kind of file.", "End it with .html, .md or .json."
            )
        take(session, session.call("report_file", format=kind), output)
    elif session.as_json:
        found = session.call("report_dataset")
        session.answer(found, lambda: None)
    else:
        print(clean_lines(session.call("report_text", format=form.value)), end="")
