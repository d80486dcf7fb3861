"""The list of runs and the live page of one: polls while it trains, re-attaches after a reload."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.records import RunState
from distill_studio.distill.spec import TrainSpec
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import esc, note, usd
from distill_studio.ui.panels import distill_html
from distill_studio.ui.panels.export_html import file_url
from distill_studio.ui.panels.hub_panel import build_hub_panel
from distill_studio.ui.panels.lineage_html import lineage_html
from distill_studio.ui.panels.remote_html import status_html

_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_RESUMABLE = (RunState.STOPPED, RunState.FAILED, RunState.LOST)
_LOG_LINES = 60
_CANCELS = "The Job is cancelled; a machine of your own is stopped there. Nothing of it is kept."
_PICK = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-run]');
  if (button) trigger('select', {index: 0, value: button.dataset.run});
});
"""


@dataclass(frozen=True)
class RunsPanel:
    """Components and `view(request, workspace, name)`, which fills `outputs`."""

    chosen: gr.State
    outputs: list[Any]
    view: Callable[..., tuple[Any, ...]]
    start: Callable[..., tuple[Any, ...]]


def build_runs_panel(ui: Ui) -> RunsPanel:
    """Make the list and the page of the chosen run."""
    gr.HTML('<h3 class="ds-h3">Runs</h3>')
    listing = gr.HTML(elem_id="distill-runs", js_on_load=_PICK, apply_default_css=False)
    chosen = gr.State("")
    timer = gr.Timer(1.0, active=False)
    with gr.Column(visible=False, elem_id="distill-run", elem_classes="ds-card") as detail:
        body = gr.HTML(elem_id="distill-run-body", apply_default_css=False)
        with gr.Row(elem_classes="ds-pager"):
            stop = gr.Button("Stop", size="sm", elem_id="distill-stop")
            resume = gr.Button("Resume", size="sm", elem_id="distill-resume")
            lighter = gr.Button(
                "Resume with half the batch", size="sm", elem_id="distill-resume-lighter"
            )
            compare = gr.Button("Compare with its teacher", size="sm", elem_id="distill-compare")
            merged = gr.Button("Download the model", size="sm", elem_id="distill-merged")
            adapter = gr.Button("Download the adapter", size="sm", elem_id="distill-adapter")
            delete = gr.Button(
                "Delete", size="sm", elem_id="distill-delete", elem_classes="ds-danger"
            )
        link = gr.HTML(elem_id="distill-link")
        with gr.Row(visible=False, elem_classes="ds-confirm") as confirm:
            gr.HTML(note("Move this run and its model to the trash folder?", "warn"))
            yes = gr.Button("Move to trash", size="sm", elem_id="distill-delete-yes")
            no = gr.Button("Keep it", size="sm", elem_id="distill-delete-no")
        push_box = build_hub_panel(ui, "model", chosen, "distill")
        with gr.Accordion("Where it comes from", open=False, elem_id="distill-lineage-box"):
            lineage = gr.HTML(elem_id="distill-lineage", apply_default_css=False)
        with gr.Accordion("Log", open=False):
            log = gr.HTML(elem_id="distill-log", apply_default_css=False)
        with gr.Accordion("The same as a command", open=False):
            command = gr.Textbox(
                show_label=False,
                container=False,
                interactive=False,
                lines=2,
                buttons=["copy"],
                elem_id="distill-command",
            )
            several = gr.Textbox(
                label="On several GPUs or hosts, through accelerate",
                interactive=False,
                lines=6,
                elem_id="distill-several",
            )
    buttons = [stop, resume, lighter, compare, merged, adapter, delete, push_box]
    facts = [body, lineage, log, command, several]
    outputs = [chosen, timer, listing, detail, *facts, link, confirm, *buttons]
    live = [timer, listing, body, log, *buttons]
    view = _View(ui)

    @guarded
    def on_pick(request: gr.Request, workspace: str, event: gr.SelectData) -> tuple[Any, ...]:
        return view.page(request, workspace, str(event.value))

    @guarded
    def on_stop(request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.distill.stop(actor, name)
        is_here = opened.remote.status(actor, name) is None
        gr.Info("It finishes this update, saves a checkpoint and stops." if is_here else _CANCELS)
        return view.page(request, workspace, name)

    @guarded
    def on_resume(request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.distill.resume(actor, name)
        remote = opened.remote.status(actor, name)
        if remote is not None and remote.kind == "job":
            gr.Info(f"It starts as a Job again, for {usd(remote.limit_usd)} at most.")
        return view.page(request, workspace, name)

    @guarded
    def on_lighter(request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.distill.resume(actor, name, lighter=True)
        return view.page(request, workspace, name)

    @guarded
    def on_delete(request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        gr.Info(f"Moved to {opened.distill.delete(actor, name)} in the data folder.")
        return view.page(request, workspace, "")

    @guarded
    def on_package(request: gr.Request, workspace: str, name: str, kind: str) -> str:
        opened, actor = ui.open(request, workspace)
        file = opened.distill.package(actor, name, "adapter" if kind == "adapter" else "merged")
        return (
            f'<p class="ds-note good">Ready: <a class="ds-download" download'
            f' href="{esc(file_url(workspace, file))}">{esc(file)}</a></p>'
        )

    asked = [ui.workspace, chosen]
    timer.tick(guarded(view.live), asked, live, **QUIET)
    listing.select(on_pick, ui.workspace, outputs, **QUIET)
    stop.click(on_stop, asked, outputs, **SAYING)
    resume.click(on_resume, asked, outputs, **SAYING)
    lighter.click(on_lighter, asked, outputs, **SAYING)
    compare.click(lambda: gr.Tabs(selected="evaluate"), None, ui.tabs, **QUIET)
    for button, kind in ((merged, "merged"), (adapter, "adapter")):
        button.click(on_package, [*asked, gr.State(kind)], link, **_SLOW)
    delete.click(lambda: gr.Row(visible=True), None, confirm, **QUIET)
    no.click(lambda: gr.Row(visible=False), None, confirm, **QUIET)
    yes.click(on_delete, asked, outputs, **SAYING)
    return RunsPanel(chosen, outputs, view.page, view.start)


class _View:
    """What the panel shows."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    def start(self, request: gr.Request, workspace: str, spec: TrainSpec) -> tuple[Any, ...]:
        """Start a run and open its page."""
        opened, actor = self._ui.open(request, workspace)
        return self.page(request, workspace, opened.distill.start(actor, spec).name)

    def page(self, request: gr.Request, workspace: str, wanted: str) -> tuple[Any, ...]:
        """Everything: the list, and the run wanted, or that a link names, or the newest."""
        opened, actor = self._ui.open(request, workspace)
        runs = opened.distill.page(actor)
        names = [run.name for run in runs]
        wanted = wanted or request.query_params.get("run", "")
        name = wanted if wanted in names else (names[0] if names else "")
        timer, listing, body, log, *buttons, _ = self.live(request, workspace, name)
        is_done = any(run.name == name and run.state is RunState.DONE for run in runs)
        command = opened.distill.command(actor, name) if name else ""
        several = opened.distill.command(actor, name, several=True) if name else ""
        lineage = lineage_html(opened.lineage.model(actor, name)) if name else ""
        column = gr.Column(visible=bool(name))
        return (
            name,
            timer,
            listing,
            column,
            body,
            lineage,
            log,
            command,
            several,
            "",
            gr.Row(visible=False),
            *buttons,
            gr.Accordion(open=False, visible=is_done),
        )

    def live(self, request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        """What changes while a run trains."""
        opened, actor = self._ui.open(request, workspace)
        runs = opened.distill.page(actor)
        is_any_active = any(run.state in distill_html.ACTIVE for run in runs)
        listing = distill_html.runs_html(runs, name)
        run = next((run for run in runs if run.name == name), None)
        if run is None:
            hidden = [*[gr.Button(visible=False)] * 7, gr.Accordion(visible=False)]
            return (gr.Timer(active=is_any_active), listing, "", "", *hidden)
        curve, events = opened.distill.follow(name)
        remote = opened.remote.status(actor, name)
        lines = esc(opened.distill.log(actor, name, _LOG_LINES)) or "Nothing printed yet."
        is_done = run.state is RunState.DONE
        is_active = run.state in distill_html.ACTIVE
        shown = [
            is_active,
            run.state in _RESUMABLE,
            distill_html.wants_lighter(run),
            is_done,
            is_done,
            is_done and run.config.get("lora") is not None,
            not is_active,
        ]
        return (
            gr.Timer(active=is_any_active),
            listing,
            distill_html.run_html(run, curve, events, status_html(remote) if remote else ""),
            f'<pre class="ds-log">{lines}</pre>',
            *[gr.Button(visible=is_shown) for is_shown in shown],
            gr.Accordion(visible=is_done),
        )
