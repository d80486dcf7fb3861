"""One `call(operation, **arguments)` for all commands, whether the app runs or not.

`connect` finds a live app through server.json and talks to its API; otherwise it opens the data
folder itself, under the same lock, and calls the same operations. Nobody else ever opens the
store.
"""

from pathlib import Path
from typing import Any, Protocol

from distill_studio.core.errors import InvalidInput
from distill_studio.core.settings import Settings
from distill_studio.web import server_file


class Client(Protocol):
    """What commands need of the studio. Results are JSON values."""

    is_app: bool  # True when jobs go on after the command has ended
    workspace: str  # where operations run; may be changed
    url: str  # the app's address; empty when none runs

    def call(self, operation: str, **arguments: Any) -> Any:  # noqa: ANN401  (any JSON value)
        """Run one operation in the chosen workspace; raises `StudioError` when it is refused."""
        ...

    def upload(self, path: Path) -> str:
        """Hand a file over; returns its upload id."""
        ...

    def fetch_export(self, name: str, target: Path) -> None:
        """Copy a finished export of the workspace to `target`."""
        ...

    def workspaces(self) -> list[str]:
        """Names of all workspaces."""
        ...

    def create_workspace(self, name: str) -> str:
        """Make a workspace; returns its name."""
        ...

    def delete_workspace(self, name: str) -> str:
        """Move a workspace to the trash; returns where it lies now."""
        ...

    def close(self) -> None:
        """Give back whatever is held."""
        ...


def connect(settings: Settings, workspace: str) -> Client:
    """A client of the app on this data folder, or of the folder itself when no app runs.

    Args:
        settings: Say where the data folder is.
        workspace: The one that operations are run in.

    Raises:
        Unavailable: The app is there but does not answer.
        Conflict: Another process holds the folder and is no app.
    """
    info = server_file.read(settings.home)
    if info is None:  # each loads only what it needs, so that a command starts quickly
        from distill_studio.cli.folder_client import FolderClient  # noqa: PLC0415

        return FolderClient(settings, workspace)
    from distill_studio.cli.app_client import AppClient  # noqa: PLC0415

    client = AppClient(info, workspace)
    try:
        client.status()
    except BaseException:
        client.close()
        raise
    return client


def check_file(path: Path) -> Path:
    """`path` when it is a readable file.

    Raises:
        InvalidInput: It is not there, or is a folder.
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "is not there"
        raise InvalidInput(f"{path} {what}.")
    return path
