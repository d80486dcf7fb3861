"""The Freeze tab."""

import gradio as gr

from distill_studio.ui.context import TabView, Ui

LABEL = "Freeze"


def build(ui: Ui) -> TabView:
    """Make the tab."""
    view = gr.HTML()
    return TabView(show=lambda request, workspace: "", outputs=[view])
