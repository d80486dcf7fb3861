"""What every tab builder gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from starlette.requests import HTTPConnection

from distill_studio.core.actor import Actor
from distill_studio.core.errors import NotAllowed
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


@dataclass(frozen=True)
class TabView:
    """How a tab is filled: `show(request, workspace, *inputs)` returns values for `outputs`.

    Called when the tab opens, when the page loads on it, and when the workspace changes.
    """

    show: Callable[..., Any]
    outputs: Sequence[Any]
    inputs: Sequence[Any] = field(default=())
