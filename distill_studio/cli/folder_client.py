"""The studio in this process, while no app runs on the data folder."""

import shutil
from pathlib import Path
from typing import Any

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotFound
from distill_studio.core.settings import Settings
from distill_studio.services import operations


class FolderClient:
    """Opens the data folder itself; jobs live as long as the command.

    Raises:
        Conflict: Another process holds the folder.
    """

    is_app = False
    url = ""

    def __init__(self, settings: Settings, workspace: str) -> None:
        self._studio = build_studio(settings, resume_jobs=False)
        self.workspace = workspace
        self._actor = Actor(user=settings.user, role=Role.OWNER)

    def call(self, operation: str, **arguments: Any) -> Any:  # noqa: ANN401
        """Run one operation; see `Client.call`."""
        workspace = self._studio.workspace(self.workspace)
        return operations.call(workspace, self._actor, operation, arguments)

    def upload(self, path: Path) -> str:
        """Copy a file in; returns its upload id."""
        return self._studio.uploads.add(path)

    def fetch_export(self, name: str, target: Path) -> None:
        """Copy an export."""
        source = self._studio.workspace(self.workspace).folder / "exports" / name
        if not source.is_file():
            raise NotFound(f"There is no export '{name}'.")
        shutil.copyfile(source, target)

    def workspaces(self) -> list[str]:
        """Names of all workspaces."""
        return self._studio.workspace_names()

    def create_workspace(self, name: str) -> str:
        """Make a workspace; returns its name."""
        return self._studio.create_workspace(self._actor, name)

    def delete_workspace(self, name: str) -> str:
        """Move a workspace to the trash; returns where it lies now."""
        return str(self._studio.delete_workspace(self._actor, name))

    def close(self) -> None:
        """Close the store and give the lock back."""
        self._studio.close()
