"""What one command carries: the settings, the client, and how to answer."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import typer

from distill_studio.cli.client import Client, connect
from distill_studio.core.errors import InvalidInput, StudioError
from distill_studio.core.settings import Settings


@dataclass
class Session:
    """One run of the command line."""

    settings: Settings
    workspace: str
    as_json: bool = False
    _client: Client | None = field(default=None, repr=False)

    @property
    def client(self) -> Client:
        """Connected on first use."""
        if self._client is None:
            self._client = connect(self.settings, self.workspace)
        return self._client

    def call(self, operation: str, **arguments: Any) -> Any:  # noqa: ANN401  (any JSON value)
        """Run an operation, leaving out the arguments that are None."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return self.client.call(operation, **given)

    def answer(self, result: Any, show: Callable[[], None]) -> None:  # noqa: ANN401
        """Print the result: one JSON document with --json, else what `show` prints."""
        if self.as_json:
            json.dump(result, sys.stdout, ensure_ascii=False, indent=1)
            print()
        else:
            show()

    def close(self) -> None:
        """Give back what is held."""
        if self._client is not None:
            self._client.close()
            self._client = None


def session_of(ctx: typer.Context) -> Session:
    """The session that the top command made."""
    session = ctx.find_object(Session)
    if session is None:
        raise InvalidInput("Use `python -m distill_studio COMMAND`.")
    return session


def report(error: StudioError, *, as_json: bool) -> None:
    """Tell an expected failure: as the one JSON document on stdout, or in words on stderr."""
    if as_json:
        body = {"code": error.code, "message": error.user_message, "hint": error.hint}
        print(json.dumps({"error": body}, ensure_ascii=False, indent=1))
        return
    print(f"Error: {error.user_message}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)
