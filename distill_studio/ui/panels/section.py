"""A part of a tab that fails alone: what is wrong is said in its place, the other parts fill."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import gradio as gr

from distill_studio.ui.errors import contained
from distill_studio.ui.html import note


class Panel(Protocol):
    """What a section holds."""

    @property
    def inputs(self) -> Sequence[Any]:
        """What `show` is given after the request and the workspace."""

    @property
    def outputs(self) -> Sequence[Any]:
        """What `show` fills."""

    @property
    def show(self) -> Callable[..., tuple[Any, ...]]:
        """Values of `outputs` for the request, the workspace and the values of `inputs`."""


P = TypeVar("P", bound=Panel)


class Section(Generic[P]):
    """A panel with a place above it for what went wrong.

    Args:
        name: What it is, in the words of the message.
        build: Makes the panel.
    """

    def __init__(self, name: str, build: Callable[[], P]) -> None:
        self._name = name
        self._trouble = gr.HTML(visible=False, apply_default_css=False)
        with gr.Column() as self._body:
            self.panel = build()

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [self._trouble, self._body, *self.panel.outputs]

    def show(self, request: gr.Request, workspace: str, *chosen: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Values of `outputs`; when the panel fails it hides, and what went wrong stands there."""
        found = contained(self.panel.show, request, workspace, *chosen)
        if isinstance(found, str):
            said = note(f"{self._name} could not be shown. {found}", "bad")
            skipped = (gr.skip(),) * len(self.panel.outputs)
            return (gr.HTML(said, visible=True), gr.Column(visible=False), *skipped)
        return (gr.HTML("", visible=False), gr.Column(visible=True), *found)
