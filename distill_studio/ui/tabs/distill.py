"""The Distill tab: choose, see what will happen, start; then watch runs live."""

from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput
from distill_studio.services.freeze import MOST_LISTED
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import empty_state, note, page_head
from distill_studio.ui.panels import distill_form
from distill_studio.ui.panels.distill_fields import PRESET_NUMBERS, preset_choices, preset_text
from distill_studio.ui.panels.distill_html import findings_html, tokens_html
from distill_studio.ui.panels.distill_refill import Choices, known, refill, with_pruned
from distill_studio.ui.panels.form_memory import FormMemory
from distill_studio.ui.panels.plans_panel import PlansPanel, build_plans_panel
from distill_studio.ui.panels.remote_panel import build_remote_panel
from distill_studio.ui.panels.run_live import RunsPanel, build_runs_panel

LABEL = "Distill"
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_LISTS = ("snapshot", "student", "teacher")  # whose choices depend on the workspace
_TO_THE_FORM = "() => document.querySelector('#distill-taken')?.scrollIntoView({block: 'start'})"
_NO_SNAPSHOT = empty_state(
    "Nothing to train on yet", "Training reads from a snapshot: freeze accepted answers first."
)


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "Distill: train the student",
            "A training runs in a process of its own. Close the page or restart the app: it goes"
            " on, and this page finds it again.",
        )
    )
    with gr.Column(visible=False) as missing:
        gr.HTML(_NO_SNAPSHOT)
        to_freeze = gr.Button("Go to Freeze", elem_id="distill-to-freeze")
    with gr.Column() as choose:
        taken = gr.HTML(elem_id="distill-taken", apply_default_css=False)
        form = distill_form.build_form()
        findings = gr.HTML(elem_id="distill-findings", apply_default_css=False)
        with gr.Accordion("What the student will see, token by token", open=False):
            row = gr.Number(0, label="Row", precision=0, minimum=0, elem_id="distill-row")
            tokens = gr.HTML(elem_id="distill-tokens", apply_default_css=False)
        start = gr.Button("Start training", variant="primary", elem_id="distill-start")
        remote = build_remote_panel(ui, form)
        plans = build_plans_panel(ui, form)
    runs = build_runs_panel(ui)
    remote.wire(runs)

    memory = FormMemory(LABEL.lower(), form.kept)
    view = _View(ui, runs, memory, plans)
    fields = form.fields
    method, preset = fields["method"], fields["preset"]
    gr.on(
        [method.change, memory.shown_for.change],
        guarded(view.fit),
        [method, preset],
        [preset, *form.groups.values()],
        **LATEST,
    )
    memory.wire(ui.workspace)
    checked = [ui.workspace, *form.inputs]
    answers = [form.about, findings, start]
    viewed = [ui.workspace, row, *form.inputs]
    for control in form.watched:
        control.change(guarded(view.check), checked, answers, **SAYING)
    for text in form.texts:
        text.blur(guarded(view.check), checked, answers, **SAYING)
    said = [method, preset, fields["weights"], fields["dpo_loss"]]
    for control in said:
        control.change(distill_form.placeholders, said, form.numbers, **QUIET)
    for control in (fields["snapshot"], fields["student"], row):
        control.change(guarded(view.tokens), viewed, tokens, **SAYING)
    chosen = method.input(
        guarded(view.method),
        [ui.workspace, method],
        [fields["snapshot"], preset, fields["divergence"]],
        **LATEST,
    )
    memory.keep_after(chosen, ui.workspace)
    followed = fields["teacher"].input(
        distill_form.signal_for, [fields["teacher"], fields["signal"]], fields["signal"], **LATEST
    )
    memory.keep_after(followed, ui.workspace)
    start.click(guarded(view.start), checked, [fields["name"], taken, *runs.outputs], **_SLOW)
    lists = [fields[name] for name in _LISTS]
    again = runs.again.click(
        guarded(view.again),
        [ui.workspace, runs.chosen, memory.shown_for, *form.kept.values()],
        [*lists, taken, memory.fill],
        **SAYING,
    )
    again.success(None, None, None, js=_TO_THE_FORM, **QUIET)
    to_freeze.click(lambda: gr.Tabs(selected="freeze"), None, ui.tabs, **QUIET)
    return TabView(
        show=view.show,
        inputs=[runs.chosen, plans.chosen, *memory.state, *form.kept.values()],
        outputs=[
            *(missing, choose, *(fields[name] for name in _LISTS)),
            *(memory.fill, *plans.outputs, *runs.outputs),
        ],
    )


class _View:
    """What the tab shows for the choices made."""

    def __init__(self, ui: Ui, runs: RunsPanel, memory: FormMemory, plans: PlansPanel) -> None:
        self._ui = ui
        self._plans = plans
        self._runs = runs
        self._memory = memory

    def check(self, request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """The preset in words, the pre-flight findings, and whether to start."""
        opened, actor = self._ui.open(request, workspace)
        chosen = distill_form.named(values)
        own = {name: chosen[name] or "" for name in PRESET_NUMBERS}
        about = note(preset_text(chosen["method"], chosen["preset"], chosen["weights"], own))
        spec = distill_form.spec_of(*values)
        if spec is None:
            return about, "", gr.Button(interactive=False)
        found = opened.distill.preflight(actor, spec)
        is_refused = any(finding.level == "error" for finding in found)
        return about, findings_html(found), gr.Button(interactive=not is_refused)

    def tokens(self, request: gr.Request, workspace: str, index: float, *values: Any) -> str:  # noqa: ANN401
        """One row as the student will see it."""
        opened, actor = self._ui.open(request, workspace)
        spec = distill_form.spec_of(*values)
        if spec is None:
            return note("Choose a snapshot first.")
        return tokens_html(opened.distill.tokens(actor, spec.snapshot, int(index or 0), spec))

    def method(self, request: gr.Request, workspace: str, method: str) -> tuple[Any, ...]:
        """Of a method just chosen: the first snapshot that fits, its usual preset."""
        opened, actor = self._ui.open(request, workspace)
        options = _snapshots(opened, actor, method)
        preset = gr.Radio(preset_choices(method), value="balanced")
        usual = "reverse_kl" if method == "on_policy" else "forward_kl"
        snapshot = gr.Dropdown(options, value=options[0][1] if options else None)
        return snapshot, preset, gr.Dropdown(value=usual)

    def fit(self, _: gr.Request, method: str, preset: str) -> tuple[Any, ...]:
        """What only this method has; a preset that it lacks becomes the usual one."""
        return _preset(method, preset), *distill_form.shown_groups(method)

    def start(self, request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Start a run and open its page."""
        spec = distill_form.spec_of(*values)
        if spec is None:
            raise InvalidInput("Choose a snapshot and a student first.")
        return ("", "", *self._runs.start(request, workspace, spec))

    def again(
        self,
        request: gr.Request,
        workspace: str,
        run: str,
        shown_for: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """The form at the settings of a run; a method's other fields stay as they are."""
        opened, actor = self._ui.open(request, workspace)
        config = opened.runs.config(opened.distill.get(actor, run))
        found = refill(config, self._lists(opened, actor, config.method))
        sent = dict(zip(self._memory.names, values, strict=True))
        said = note(f"The settings of {run}. Change what should differ, then press Start training.")
        return (
            *(gr.Dropdown(found.lists[name]) for name in _LISTS),
            said + "".join(note(warning, "warn") for warning in found.warnings),
            self._memory.filling(workspace, shown_for, sent, found.values),
        )

    def _lists(self, opened: Workspace, actor: Actor, method: str) -> dict[str, Choices]:
        return {
            "snapshot": _snapshots(opened, actor, method),
            "student": distill_form.student_options(opened.distill.students(actor)),
            "teacher": distill_form.teacher_options(opened.distill.teachers(actor)),
        }

    def show(
        self,
        request: gr.Request,
        workspace: str,
        run: str,
        plan: str | None,
        kept: Any,  # noqa: ANN401
        shown_for: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """The choices there are now, at what this browser chose here before, and the runs."""
        opened, actor = self._ui.open(request, workspace)
        sent = dict(zip(self._memory.names, values, strict=True))
        wanted = self._memory.recalled(workspace, kept, shown_for) or sent
        lists = self._lists(opened, actor, wanted["method"])
        lists["student"] = with_pruned(lists["student"], wanted["student"])
        wanted = wanted | {name: _known(lists[name], wanted[name]) for name in _LISTS}
        return (
            gr.Column(visible=not lists["snapshot"]),
            gr.Column(visible=bool(lists["snapshot"])),
            *(gr.Dropdown(lists[name]) for name in _LISTS),
            self._memory.filling(workspace, shown_for, sent, wanted),
            *self._plans.view(request, workspace, plan or ""),
            *self._runs.view(request, workspace, run),
        )


def _snapshots(opened: Workspace, actor: Actor, method: str) -> list[tuple[str, str]]:
    return distill_form.snapshot_choices(opened.freeze.page(actor, limit=MOST_LISTED), method)


def _preset(method: str, value: str) -> gr.Radio:
    """The method's presets; a value that is gone becomes the usual one."""
    options = preset_choices(method)
    if value in [option for _, option in options]:
        return gr.Radio(options)
    return gr.Radio(options, value="balanced")


def _known(choices: list[tuple[str, str]], value: str | None) -> str | None:
    """The value; one that is gone becomes the first choice."""
    there = known(choices)
    return value if value in there else next(iter(there), None)
