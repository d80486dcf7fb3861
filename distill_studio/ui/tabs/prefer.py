"""The Prefer tab: two answers or several at once, the order of comparisons, the blind bench."""

from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.prefer.why import REASONS
from distill_studio.services.workspace import Workspace
from distill_studio.ui.bench import bench, bench_value, shared_value
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST
from distill_studio.ui.html import page_head
from distill_studio.ui.panels.agreement_panel import build_agreement_panel
from distill_studio.ui.panels.form_memory import FormMemory

LABEL = "Prefer"
_SHOWS = [("Two at a time", "pairs"), ("Three or more, ranked", "rankings")]
_ORDERS = [
    ("Oldest first", ""),
    ("At random", "random"),
    ("Most informative first", "informative"),
    ("Disagreement first", "disagreement"),
]


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "Prefer",
            "Answers to the same prompt, names hidden: say which of two is better, or put three "
            "and more in order. Every two with a winner become a row for preference training.",
        )
    )
    with gr.Row(elem_id="prefer-filters", equal_height=True):
        shows = gr.Dropdown(
            _SHOWS, value="pairs", label="Answers", elem_id="prefer-shows", min_width=240, scale=0
        )
        order = gr.Dropdown(
            _ORDERS, value="", label="Order", elem_id="prefer-order", min_width=240, scale=0
        )
    memory = FormMemory(LABEL.lower(), {"order": order, "shows": shows})
    memory.wire(ui.workspace)
    view = bench("prefer-bench", "keys.js", "people.js", "rank.js", "prefer.js")
    build_agreement_panel(ui, "prefer")

    @guarded
    def on_choice(request: gr.Request, workspace: str, wanted: str, shown: str) -> dict[str, Any]:
        return _value(*ui.open(request, workspace), wanted, shown)

    events = [order.input, shows.input, memory.filled.change]
    given = [ui.workspace, order, shows]
    gr.on(events, on_choice, given, view, **LATEST)

    def show(
        _: gr.Request, workspace: str, now: str, shown: str, kept: object, shown_for: str
    ) -> str:
        sent = {"order": now, "shows": shown}
        wanted = memory.recalled(workspace, kept, shown_for) or {**sent}
        known = {"order": _ORDERS, "shows": _SHOWS}
        for name, choices in known.items():
            if wanted[name] not in dict(choices).values():  # kept by another version
                wanted[name] = choices[0][1]
        return memory.filling(workspace, shown_for, sent, wanted)

    return TabView(show=show, inputs=[order, shows, *memory.state], outputs=[memory.fill])


def _value(opened: Workspace, actor: Actor, order: str, shows: str) -> dict[str, Any]:
    return bench_value(
        **shared_value(opened, actor), reasons=list(REASONS), order=order, shows=shows
    )
