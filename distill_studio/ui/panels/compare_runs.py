"""The box that lays runs over each other: choose two to six, and what to draw."""

from typing import Any

import gradio as gr

from distill_studio.distill.run_comparison import LEAST, MOST
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels.compare_runs_html import DRAWN, comparison_html
from distill_studio.ui.panels.distill_html import ACTIVE

_ASK = f"Choose {LEAST} to {MOST} runs."
_MOST_LISTED = 200


def build_compare_panel(ui: Ui, opened_run: gr.State) -> None:
    """Make the box.

    Args:
        ui: The shell.
        opened_run: Name of the run whose page is open; when it changes, there may be a new one.
    """
    timer = gr.Timer(4.0, active=False)
    with gr.Accordion("Compare runs", open=False, elem_id="runs-compare") as box:
        with gr.Row(elem_classes="ds-fields"):
            picked = gr.Dropdown(
                [],
                value=[],
                label=f"Runs, {LEAST} to {MOST}",
                multiselect=True,
                max_choices=MOST,
                scale=3,
                elem_id="runs-compare-names",
            )
            drawn = gr.Radio(
                DRAWN, value="held", label="Drawn", scale=2, elem_id="runs-compare-drawn"
            )
        body = gr.HTML(note(_ASK), elem_id="runs-compare-body", apply_default_css=False)

    def fill(request: gr.Request, workspace: str, chosen: list[str]) -> tuple[Any, ...]:
        """The runs there are; of those chosen, those that are still there."""
        opened, actor = ui.open(request, workspace)
        names = [run.name for run in opened.distill.page(actor, limit=_MOST_LISTED)]
        kept = [name for name in chosen or [] if name in names]
        if kept == (chosen or []):  # what is chosen while this is asked stays
            return gr.Dropdown(names), gr.skip()
        return gr.Dropdown(names, value=kept), note(_ASK)

    def show(request: gr.Request, workspace: str, chosen: list[str], what: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        names = chosen or []
        if len(names) < LEAST:
            return note(_ASK), gr.Timer(active=False)
        found = opened.runs.compare(actor, names)
        is_live = any(run.state in ACTIVE for run in found.runs)
        return comparison_html(found, what), gr.Timer(active=is_live)

    asked = [ui.workspace, picked, drawn]
    filling = [box.expand, ui.workspace.change, opened_run.change]
    gr.on(filling, guarded(fill), [ui.workspace, picked], [picked, body], **LATEST)
    gr.on([picked.input, drawn.input], guarded(show), asked, [body, timer], **LATEST | SAYING)
    timer.tick(guarded(show), asked, [body, timer], **QUIET)
