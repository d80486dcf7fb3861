"""What every tab builder gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import HTTPConnection

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import Workspace


@dataclass(frozen=True)
class Ui:
    """The shell that a tab lives in."""

    studio: Studio
    identify: Callable[[HTTPConnection], Actor | None]
    workspace: gr.Dropdown  # its value is the name of the workspace in view
    tabs: gr.Tabs
    has_login: Callable[[], bool] = lambda: False  # whether people have to say who they are

    def open(self, request: gr.Request, workspace: str) -> tuple[Workspace, Actor]:
        """The open workspace and the acting user of a handler's request.

        Raises:
            NotAllowed: A stranger (cannot happen behind the guard; checked all the same).
            NotFound: The workspace is gone.
        """
        return self.studio.workspace(workspace), self.actor(request)

    def actor(self, request: gr.Request) -> Actor:
        """The acting user of a handler's request."""
        actor = self.identify(request.request) if request.request else None
        if actor is None:
            raise NotAllowed("Log in first.", "Reload the page.")
        return actor

    def keep(self, actor: Actor, files: Sequence[str | None] | None) -> str:
        """Copy what a person sent, in Gradio's folder, into the data folder; returns its upload id.

        Raises:
            NotAllowed: A viewer: they send nothing, and may not fill the disk with others' files.
            InvalidInput: No file, or one of several is no text.
        """
        actor.require(Role.REVIEWER)
        paths = [Path(file) for file in files or () if file]
        if not paths:
            raise InvalidInput("There is no file.", "Choose one first.")
        return self.studio.uploads.add_files(paths)


@dataclass(frozen=True)
class TabView:
    """How a tab is filled: `show(request, workspace, *inputs)` returns values for `outputs`.

    Called when the tab opens, when the page loads on it, and when the workspace changes.
    """

    show: Callable[..., Any]
    outputs: Sequence[Any]
    inputs: Sequence[Any] = field(default=())
