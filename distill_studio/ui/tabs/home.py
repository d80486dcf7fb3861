"""The Home tab: the flow with its counts, the next sensible step, and the demo."""

import gradio as gr

from distill_studio.ui.context import TabView, Ui

LABEL = "Home"


def build(ui: Ui) -> TabView:
    """Make the tab."""
    view = gr.HTML()
    return TabView(show=lambda request, workspace: "", outputs=[view])
