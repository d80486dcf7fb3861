"""The list of runs: the newest, and as many older ones as somebody asks for."""

from dataclasses import dataclass

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.services.workspace import Workspace
from distill_studio.ui.panels import distill_html

STEP = 50  # runs
_PICK = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-run]');
  if (button) trigger('select', {index: 0, value: button.dataset.run});
});
"""


@dataclass(frozen=True)
class RunList:
    """Components; a click on a run is `rows.select` with its name."""

    rows: gr.HTML
    count: gr.State  # how many are listed, for `listed`
    older: gr.Button


@dataclass(frozen=True)
class Listed:
    """Values of `rows` and `older`, and whether one of the runs is at work."""

    rows: str
    older: gr.Button
    is_active: bool


def build_run_list() -> RunList:
    """Make the list."""
    rows = gr.HTML(elem_id="distill-runs", js_on_load=_PICK, apply_default_css=False)
    older = gr.Button("Show older runs", size="sm", visible=False, elem_id="distill-runs-older")
    return RunList(rows, gr.State(STEP), older)


def listed(opened: Workspace, actor: Actor, chosen: str, count: int = STEP) -> Listed:
    """The newest `count` runs, `chosen` marked."""
    found = opened.distill.page(actor, limit=count + 1)
    runs = found[:count]
    return Listed(
        rows=distill_html.runs_html(runs, chosen, opened.runs.newest_notes(actor)),
        older=gr.Button(visible=len(found) > count),
        is_active=any(run.state in distill_html.ACTIVE for run in runs),
    )
