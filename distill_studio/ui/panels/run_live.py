"""The list of runs and the live page of one: polls while it trains, re-attaches after a reload."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import NotFound
from distill_studio.core.records import Run, RunState
from distill_studio.distill.failures import is_diverged
from distill_studio.distill.spec import TrainSpec
from distill_studio.services.origins import has_own_base
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import esc, note
from distill_studio.ui.panels import distill_html
from distill_studio.ui.panels import run_parts_html as parts
from distill_studio.ui.panels.compare_runs import build_compare_panel
from distill_studio.ui.panels.export_html import file_url
from distill_studio.ui.panels.gguf_panel import build_gguf_panel
from distill_studio.ui.panels.hub_panel import build_hub_panel
from distill_studio.ui.panels.lineage_html import lineage_html
from distill_studio.ui.panels.remote_html import said_again, status_html
from distill_studio.ui.panels.run_list import STEP, build_run_list, listed
from distill_studio.ui.panels.run_notes import build_notes_panel

_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_RESUMABLE = (RunState.STOPPED, RunState.FAILED, RunState.LOST)
_LOG_LINES = 60
_CANCELS = "The Job is cancelled; a machine of your own is stopped there. Nothing of it is kept."
_CONFIRM_PAID = """(...args) => {
const paid = document.querySelector('#distill-run-body [data-again]');
if (paid && !confirm(paid.dataset.again)) throw new Error('kept');
return args; }"""


@dataclass(frozen=True)
class RunsPanel:
    """Components and `view(request, workspace, name)`, which fills `outputs`."""

    chosen: gr.State
    outputs: list[Any]
    view: Callable[..., tuple[Any, ...]]
    start: Callable[..., tuple[Any, ...]]
    again: gr.Button  # whoever has the form says what it does


class _Live(NamedTuple):
    """What changes while a run trains."""

    timer: gr.Timer
    listing: str
    older: gr.Button
    body: str
    log: str
    worker: str
    answers: list[Any]  # the box of answers, the evaluations, what is known of them, the answers
    buttons: list[Any]

    def values(self) -> tuple[Any, ...]:
        """In the order of the components."""
        first = (self.timer, self.listing, self.older, self.body, self.log, self.worker)
        return (*first, *self.answers, *self.buttons)


def build_runs_panel(ui: Ui) -> RunsPanel:
    """Make the list and the page of the chosen run."""
    gr.HTML('<h3 class="ds-h3">Runs</h3>')
    runs = build_run_list()
    chosen = gr.State("")
    build_compare_panel(ui, chosen)
    timer = gr.Timer(1.0, active=False)
    with gr.Column(visible=False, elem_id="distill-run", elem_classes="ds-card") as detail:
        body = gr.HTML(elem_id="distill-run-body", apply_default_css=False)
        with gr.Row(elem_classes="ds-pager"):
            stop = gr.Button("Stop", size="sm", elem_id="distill-stop")
            resume = gr.Button("Resume", size="sm", elem_id="distill-resume")
            lighter = gr.Button(
                "Resume with half the batch", size="sm", elem_id="distill-resume-lighter"
            )
            again = gr.Button("Use these settings again", size="sm", elem_id="distill-again")
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
        with gr.Column(visible=False, elem_id="distill-samples-box") as samples_box:
            step = gr.Dropdown(
                [("the newest", parts.NEWEST)],
                value=parts.NEWEST,
                label="Answers to held-out prompts, at",
                elem_id="distill-samples-step",
            )
            samples = gr.HTML(elem_id="distill-samples", apply_default_css=False)
        known = gr.State([])  # evaluations among the choices
        gguf_box = build_gguf_panel(ui, chosen, "distill").box
        push_box = build_hub_panel(ui, "model", chosen, "distill")
        noted = build_notes_panel(ui, chosen, runs)
        with gr.Accordion("What the worker noted", open=False, elem_id="distill-worker-box"):
            worker = gr.HTML(elem_id="distill-worker", apply_default_css=False)
        with gr.Accordion("Settings", open=False, elem_id="distill-settings-box"):
            settings = gr.HTML(elem_id="distill-settings", apply_default_css=False)
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
    buttons = [stop, resume, lighter, compare, merged, adapter, delete, gguf_box, push_box]
    said = [body, log, worker, samples_box, step, known, samples]
    live = [timer, runs.rows, runs.older, *said, *buttons]
    facts = [lineage, settings, command, several, link, confirm, *noted.outputs]
    outputs = [chosen, detail, *facts, *live]
    view = _View(ui, noted.shown)

    @guarded
    def on_pick(
        request: gr.Request, workspace: str, count: int, event: gr.SelectData
    ) -> tuple[Any, ...]:
        return view.page(request, workspace, str(event.value), count)

    @guarded
    def on_stop(request: gr.Request, workspace: str, name: str, count: int) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.distill.stop(actor, name)
        is_here = opened.remote.status(actor, name) is None
        gr.Info("It finishes this update, saves a checkpoint and stops." if is_here else _CANCELS)
        return view.page(request, workspace, name, count)

    @guarded
    def on_resume(request: gr.Request, workspace: str, name: str, count: int) -> tuple[Any, ...]:
        return view.resume(request, workspace, name, count)

    @guarded
    def on_lighter(request: gr.Request, workspace: str, name: str, count: int) -> tuple[Any, ...]:
        return view.resume(request, workspace, name, count, lighter=True)

    @guarded
    def on_delete(request: gr.Request, workspace: str, name: str, count: int) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        gr.Info(f"Moved to {opened.distill.delete(actor, name)} in the data folder.")
        return view.page(request, workspace, view.newest(opened, actor), count)

    @guarded
    def on_package(request: gr.Request, workspace: str, name: str, kind: str) -> str:
        opened, actor = ui.open(request, workspace)
        file = opened.distill.package(actor, name, "adapter" if kind == "adapter" else "merged")
        return (
            f'<p class="ds-note good">Ready: <a class="ds-download" download'
            f' href="{esc(file_url(workspace, file))}">{esc(file)}</a></p>'
        )

    asked = [ui.workspace, chosen]
    counted = [*asked, runs.count]
    polled = [*counted, step, known]
    timer.tick(guarded(view.live), polled, live, **QUIET)
    runs.older.click(guarded(view.older), polled, [runs.count, *live], **QUIET)
    step.input(guarded(view.answers), [*asked, step], samples, **LATEST)
    runs.rows.select(on_pick, [ui.workspace, runs.count], outputs, **QUIET)
    stop.click(on_stop, counted, outputs, **SAYING)
    resume.click(on_resume, counted, outputs, js=_CONFIRM_PAID, **SAYING)
    lighter.click(on_lighter, counted, outputs, js=_CONFIRM_PAID, **SAYING)
    compare.click(lambda: gr.Tabs(selected="evaluate"), None, ui.tabs, **QUIET)
    for button, kind in ((merged, "merged"), (adapter, "adapter")):
        button.click(on_package, [*asked, gr.State(kind)], link, **_SLOW)
    delete.click(lambda: gr.Row(visible=True), None, confirm, **QUIET)
    no.click(lambda: gr.Row(visible=False), None, confirm, **QUIET)
    yes.click(on_delete, counted, outputs, **SAYING)
    return RunsPanel(chosen, outputs, view.page, view.start, again)


class _View:
    """What the panel shows.

    Args:
        ui: The shell.
        noted: Values of the notes' components for a run.
    """

    def __init__(self, ui: Ui, noted: Callable[[Workspace, Actor, str], tuple[Any, ...]]) -> None:
        self._ui = ui
        self._noted = noted

    def start(self, request: gr.Request, workspace: str, spec: TrainSpec) -> tuple[Any, ...]:
        """Start a run and open its page."""
        opened, actor = self._ui.open(request, workspace)
        return self.page(request, workspace, opened.distill.start(actor, spec).name)

    def resume(
        self,
        request: gr.Request,
        workspace: str,
        name: str,
        count: int = STEP,
        *,
        lighter: bool = False,
    ) -> tuple[Any, ...]:
        """Go on with a run, and say what that costs where it is paid."""
        opened, actor = self._ui.open(request, workspace)
        before = opened.remote.status(actor, name)
        opened.distill.resume(actor, name, lighter)
        after = opened.remote.status(actor, name)
        if before is not None and after is not None and (said := said_again(before, after)):
            gr.Info(said)
        return self.page(request, workspace, name, count)

    def newest(self, opened: Workspace, actor: Actor) -> str:
        """Name of the newest run; '' where there is none."""
        return next((run.name for run in opened.distill.page(actor, limit=1)), "")

    def page(
        self, request: gr.Request, workspace: str, wanted: str, count: int = STEP
    ) -> tuple[Any, ...]:
        """Everything: the list, and the run wanted, or that a link names, or the newest."""
        opened, actor = self._ui.open(request, workspace)
        run, missing = self._wanted(opened, actor, wanted or request.query_params.get("run", ""))
        name = run.name if run else ""
        live = self._live(opened, actor, run, count)
        closed = gr.Accordion(open=False, visible=run is not None and run.state is RunState.DONE)
        return (
            name,
            gr.Column(visible=bool(name)),
            lineage_html(opened.lineage.model(actor, name)) if name else "",
            parts.settings_html(run) if run else "",
            opened.distill.command(actor, name) if name else "",
            opened.distill.command(actor, name, several=True) if name else "",
            missing,
            gr.Row(visible=False),
            *self._noted(opened, actor, name),
            *live._replace(buttons=[*live.buttons[:-2], closed, closed]).values(),
        )

    def _wanted(self, opened: Workspace, actor: Actor, name: str) -> tuple[Run | None, str]:
        """The run of this name; the newest, and a word on it, where it is not there (any more)."""
        missing = ""
        if name:
            try:
                return opened.distill.get(actor, name), ""
            except NotFound as err:
                missing = note(f"{err.user_message} This is the newest one.", "warn")
        return next(iter(opened.distill.page(actor, limit=1)), None), missing

    def live(
        self,
        request: gr.Request,
        workspace: str,
        name: str,
        count: int,
        step: str,
        known: list[int],
    ) -> tuple[Any, ...]:
        """What changes while a run trains; the evaluation that was chosen stays so."""
        opened, actor = self._ui.open(request, workspace)
        try:
            run = opened.distill.get(actor, name) if name else None
        except NotFound:  # somebody else deleted it
            run = None
        return self._live(opened, actor, run, count, step or parts.NEWEST, known).values()

    def older(
        self,
        request: gr.Request,
        workspace: str,
        name: str,
        count: int,
        *shown: Any,  # noqa: ANN401  (as in `live`)
    ) -> tuple[Any, ...]:
        """More of the list."""
        return (count + STEP, *self.live(request, workspace, name, count + STEP, *shown))

    def answers(self, request: gr.Request, workspace: str, name: str, step: str) -> str:
        """The answers at another evaluation."""
        opened, actor = self._ui.open(request, workspace)
        opened.distill.get(actor, name)
        return parts.samples_html(opened.distill.follow(name)[1], step or parts.NEWEST)

    def _live(
        self,
        opened: Workspace,
        actor: Actor,
        run: Run | None,
        count: int,
        step: str = parts.NEWEST,
        known: list[int] | None = None,
    ) -> _Live:
        """Args: `known` are the evaluations that the page offers; None = those of another run."""
        name = run.name if run else ""
        found = listed(opened, actor, name, count)
        is_any_active = found.is_active or (run is not None and run.state in distill_html.ACTIVE)
        first = (gr.Timer(active=is_any_active), found.rows, found.older)
        if run is None:
            hidden = [*[gr.Button(visible=False)] * 7, *[gr.Accordion(visible=False)] * 2]
            nothing = [gr.Column(visible=False), gr.skip(), [], ""]
            return _Live(*first, "", "", "", nothing, hidden)
        curve, events = opened.distill.follow(name)
        remote = opened.remote.status(actor, name)
        lines = esc(opened.distill.log(actor, name, _LOG_LINES)) or "Nothing printed yet."
        is_done = run.state is RunState.DONE
        is_active = run.state in distill_html.ACTIVE
        shown = [
            is_active or (remote is not None and remote.may_run),  # paid, whatever the run says
            run.state in _RESUMABLE and not is_diverged(run.error),
            distill_html.wants_lighter(run),
            is_done,
            is_done,
            is_done and run.config.get("lora") is not None and not has_own_base(opened, run),
            not is_active,
        ]
        return _Live(
            *first,
            distill_html.run_html(run, curve, events, status_html(remote) if remote else ""),
            f'<pre class="ds-log">{lines}</pre>',
            parts.worker_notes_html(events),
            _answers(events, step, known),
            [
                *[gr.Button(visible=is_shown) for is_shown in shown],
                *[gr.Accordion(visible=is_done)] * 2,
            ],
        )


def _answers(events: list[Any], step: str, known: list[int] | None) -> list[Any]:
    steps = parts.sample_steps(events)
    choices: Any = gr.skip()  # an open list is left alone while there is nothing new
    if known is None:
        choices = gr.Dropdown(parts.step_choices(steps), value=parts.NEWEST)
    elif known != steps:
        choices = gr.Dropdown(parts.step_choices(steps))
    return [gr.Column(visible=bool(steps)), choices, steps, parts.samples_html(events, step)]
