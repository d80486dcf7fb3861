"""What all services share: the workspace they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace
    from distill_studio.store.database import Database


class Service:
    """Use cases of one stage in one workspace.

    Public methods take `actor` first and call `actor.require(...)`; each such method that is no
    generator becomes an API operation `<word>_<method>` (see `operations.py`).
    """

    word: str = ""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @property
    def db(self) -> Database:
        """The workspace's store."""
        return self.workspace.db
