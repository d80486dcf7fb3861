"""The People tab: who may log in, and how they share the labelling of this workspace."""

from typing import Any

import gradio as gr

from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.html import page_head
from distill_studio.ui.panels.accounts_panel import build_accounts_panel
from distill_studio.ui.panels.labelling_panel import build_labelling_panel

LABEL = "People"


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "People", "Who may come in, and how several people share the review of a workspace."
        )
    )
    accounts = build_accounts_panel(ui)
    labelling = build_labelling_panel(ui)

    def show(request: gr.Request, workspace: str) -> list[Any]:
        opened, actor = ui.open(request, workspace)
        return [*accounts.show(opened, actor), *labelling.show(opened, actor)]

    return TabView(show=show, outputs=[*accounts.outputs, *labelling.outputs])
