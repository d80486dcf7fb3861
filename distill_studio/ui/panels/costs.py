"""A line beside a button: about what it will cost, as the form stands."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from distill_studio.core.errors import StudioError
from distill_studio.services.teacher_costs import Estimate
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST
from distill_studio.ui.panels.generation_html import estimates_html


def show_cost(
    ui: Ui, widgets: list[Any], estimate: Callable[..., list[Estimate]], shown: gr.HTML
) -> None:
    """Fill `shown` whenever one of the widgets changes, by whomever.

    Args:
        ui: The page.
        widgets: Those the cost depends on.
        estimate: Called with the workspace, the actor and the widgets' values.
        shown: Where the line stands; empty while the form is not complete.
    """

    def on_change(request: gr.Request, workspace: str, *values: Any) -> str:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        try:
            return estimates_html(estimate(opened, actor, *values))
        except StudioError:  # what is missing is said when it is started
            return ""

    gr.on(
        [widget.change for widget in widgets],
        guarded(on_change),
        [ui.workspace, *widgets],
        shown,
        **LATEST,
    )
