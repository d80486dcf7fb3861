"""The Distill tab: choose, see what will happen, start; then watch runs live."""

from typing import Any

import gradio as gr

from distill_studio.core.errors import InvalidInput
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.html import empty_state, note, page_head
from distill_studio.ui.panels import distill_form
from distill_studio.ui.panels.distill_html import findings_html, tokens_html
from distill_studio.ui.panels.form_memory import FormMemory
from distill_studio.ui.panels.run_live import RunsPanel, build_runs_panel

LABEL = "Distill"
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
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
        form = distill_form.build_form()
        findings = gr.HTML(elem_id="distill-findings", apply_default_css=False)
        with gr.Accordion("What the student will see, token by token", open=False):
            row = gr.Number(0, label="Row", precision=0, minimum=0, elem_id="distill-row")
            tokens = gr.HTML(elem_id="distill-tokens", apply_default_css=False)
        start = gr.Button("Start training", variant="primary", elem_id="distill-start")
    runs = build_runs_panel(ui)

    memory = FormMemory(LABEL.lower(), form.kept)
    memory.wire(ui.workspace)
    view = _View(ui, runs, memory)
    checked = [ui.workspace, *form.inputs]
    answers = [form.about, findings, start]
    viewed = [ui.workspace, row, *form.inputs]
    for control in form.watched:
        control.change(guarded(view.check), checked, answers, **_SLOW)
    for number in form.numbers:
        number.blur(guarded(view.check), checked, answers, **_SLOW)
    for control in (form.method, form.preset):
        control.change(distill_form.placeholders, [form.method, form.preset], form.numbers, **QUIET)
    for control in (form.snapshot, form.student, row):
        control.change(guarded(view.tokens), viewed, tokens, **_SLOW)
    chosen = form.method.input(
        guarded(view.method), [ui.workspace, form.method], [form.snapshot, form.preset], **QUIET
    )
    memory.keep_after(chosen, ui.workspace)
    start.click(guarded(view.start), checked, [form.name, *runs.outputs], **_SLOW)
    to_freeze.click(lambda: gr.Tabs(selected="freeze"), None, ui.tabs, **QUIET)
    return TabView(
        show=view.show,
        inputs=[runs.chosen, *memory.state, form.method, form.snapshot, form.student],
        outputs=[missing, choose, *form.kept.values(), memory.shown_for, *runs.outputs],
    )


class _View:
    """What the tab shows for the choices made."""

    def __init__(self, ui: Ui, runs: RunsPanel, memory: FormMemory) -> None:
        self._ui = ui
        self._runs = runs
        self._memory = memory

    def check(self, request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """The preset in words, the pre-flight findings, and whether to start."""
        opened, actor = self._ui.open(request, workspace)
        about = note(distill_form.preset_text(values[1], values[3]))
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
        """Snapshots and presets that fit a method."""
        opened, actor = self._ui.open(request, workspace)
        options = distill_form.snapshot_choices(opened.freeze.page(actor), method)
        preset = gr.Radio(distill_form.preset_choices(method), value="balanced")
        return gr.Dropdown(options, value=options[0][1] if options else None), preset

    def start(self, request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Start a run and open its page."""
        spec = distill_form.spec_of(*values)
        if spec is None:
            raise InvalidInput("Choose a snapshot and a student first.")
        return ("", *self._runs.start(request, workspace, spec))

    def show(
        self,
        request: gr.Request,
        workspace: str,
        run: str,
        kept: Any,  # noqa: ANN401
        shown_for: str,
        *now: str,
    ) -> tuple[Any, ...]:
        """The choices there are now, at what this browser chose here before, and the runs."""
        opened, actor = self._ui.open(request, workspace)
        recalled = self._memory.recalled(workspace, kept, shown_for)
        found = recalled or dict(zip(("method", "snapshot", "student"), now, strict=True))
        method = found["method"]
        snapshots = distill_form.snapshot_choices(opened.freeze.page(actor), method)
        students = distill_form.student_options(opened.distill.students(actor))
        fields = dict.fromkeys(self._memory.names, gr.skip()) | (recalled or {})
        fields["snapshot"] = _dropdown(snapshots, found["snapshot"])
        fields["student"] = _dropdown(students, found["student"])
        if recalled:
            fields["preset"] = _preset(method, recalled["preset"])
        return (
            gr.Column(visible=not snapshots),
            gr.Column(visible=bool(snapshots)),
            *fields.values(),
            workspace,
            *self._runs.view(request, workspace, run),
        )


def _preset(method: str, value: str) -> gr.Radio:
    """The method's presets; a value that is gone becomes the usual one."""
    options = distill_form.preset_choices(method)
    is_known = value in [option for _, option in options]
    return gr.Radio(options, value=value if is_known else "balanced")


def _dropdown(options: list[tuple[str, str]], value: str) -> gr.Dropdown:
    """The options; a value that is gone becomes the first."""
    known = [option for _, option in options]
    chosen = value if value in known else (known[0] if known else None)
    return gr.Dropdown(options, value=chosen)
