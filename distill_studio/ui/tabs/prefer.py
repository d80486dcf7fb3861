"""The Prefer tab: the blind bench."""

from typing import Any

import gradio as gr

from distill_studio.ui.bench import bench, bench_value
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.html import page_head

LABEL = "Prefer"


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "Prefer",
            "Two answers to the same prompt, names hidden: say which is better. "
            "Each vote with a winner becomes a row for preference training.",
        )
    )
    view = bench("prefer-bench", "prefer.js")

    def show(request: gr.Request, workspace: str) -> dict[str, Any]:
        opened, actor = ui.open(request, workspace)
        return bench_value(workspace=opened.name, user=actor.user)

    return TabView(show=show, outputs=[view])
