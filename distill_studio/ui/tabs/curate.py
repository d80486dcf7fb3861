"""The Curate tab: filters with live previews, near-duplicates with a slider, apply and undo."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.curate.reports import CurateReport, CurateSettings
from distill_studio.services.curate import MEASURE_AT_ONCE
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET
from distill_studio.ui.html import empty_state, page_head
from distill_studio.ui.panels import curate_html as draw
from distill_studio.ui.panels.curate_filters import FilterForm, build_filter_form
from distill_studio.ui.panels.leaks_panel import LeaksPanel
from distill_studio.ui.panels.near_panel import NearPanel
from distill_studio.ui.panels.pipelines_panel import PipelinesPanel
from distill_studio.ui.panels.quality_panel import QualityPanel
from distill_studio.ui.panels.reference_panel import ReferencePanel
from distill_studio.ui.panels.topics_panel import TopicsPanel

LABEL = "Curate"


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "Curate",
            "Set weak answers and near-duplicates aside. Nothing is deleted: each row keeps its"
            " reason, and every step undoes.",
        )
    )
    with gr.Column(visible=False, elem_id="curate-nothing") as nothing:
        gr.HTML(empty_state("Nothing to curate yet", "Import pairs, or let a teacher write some."))
        to_generate = gr.Button("Go to Generate", variant="primary", elem_id="curate-to-generate")
    with gr.Column(elem_id="curate-body") as body:
        state = gr.HTML(elem_id="curate-state")
        gr.HTML('<h3 class="ds-h3">Filters</h3>')
        form = build_filter_form()
        quality = QualityPanel(ui)
        near = NearPanel(ui)
        reference = ReferencePanel(ui)
        leaks = LeaksPanel(ui)
        topics = TopicsPanel(ui)
        gr.HTML('<h3 class="ds-h3">Apply</h3>')
        with gr.Row(elem_id="curate-apply-row"):
            apply = gr.Button("Remove", variant="primary", elem_id="curate-apply")
            undo = gr.Button("Undo the last step", elem_id="curate-undo")
            accepted = gr.Checkbox(
                False, label="Also remove rows that people accepted", elem_id="curate-accepted"
            )
        report = gr.HTML(elem_id="curate-report")
        pipelines = PipelinesPanel(ui)
        with gr.Accordion("History", open=False, elem_id="curate-history-box"):
            history = gr.HTML(elem_id="curate-history")

    panels = (reference, leaks, topics, quality, pipelines)
    filled = gr.State("")  # the workspace whose settings stand in the form
    settings = [*form.widgets, *near.settings, accepted]
    shown = [nothing, body, state, *form.shown, *near.shown, apply, undo, report, history]

    def fill(opened: Workspace, actor: Actor, values: Sequence[Any]) -> tuple[Any, ...]:
        return _fill(opened, actor, form, near, values)

    def to_form(opened: Workspace, actor: Actor, used: CurateSettings) -> tuple[Any, ...]:
        set_to, values = _form_values(form, near, used, ())
        return (*set_to, *fill(opened, actor, values))

    def refresh(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return fill(*ui.open(request, workspace), values)

    def show(
        request: gr.Request,
        workspace: str,
        shows: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        state = opened.curate.state(actor)
        waiting = max(state.unmeasured, state.unhashed)
        if waiting > MEASURE_AT_ONCE and actor.role >= Role.REVIEWER:
            opened.curate.measure(actor)
        kept = values if shows == workspace else ()
        set_to, values = _form_values(form, near, state.settings, kept)
        jobs = near.jobs.show(request, workspace)
        found = [value for panel in panels for value in panel.show(request, workspace)]
        return (workspace, *set_to, *fill(opened, actor, values), *jobs, *found)

    @guarded
    def on_apply(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        done = opened.curate.apply(actor, **_arguments(form, near, values))
        gr.Info(draw.applied_text(done.changed, done.kept, done.considered))
        return fill(opened, actor, values)

    @guarded
    def on_undo(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        opened.curate.undo(actor)
        gr.Info("Took the last step back. The settings stay as you left them.")
        return fill(opened, actor, values)

    inputs = [ui.workspace, *settings]
    changed = [*form.widgets, *near.changing, accepted]
    changes = [widget.input for widget in changed]
    # the value that a slider ends on counts, also where its input came while the page was drawing
    changes += [widget.change for widget in changed if isinstance(widget, gr.Slider)]
    gr.on(changes, guarded(refresh), inputs, shown, **LATEST)
    slow: dict[str, Any] = {
        "api_visibility": "private", "show_progress": "minimal", "show_progress_on": report,
    }  # fmt: skip
    apply.click(on_apply, inputs, shown, **slow)
    undo.click(on_undo, inputs, shown, trigger_mode="multiple", **slow)  # each press is a step
    near.wire(fill, lambda values: _parts(form, values)[1], settings, shown)
    reference.wire(guarded(refresh), inputs, shown)
    leaks.wire(guarded(refresh), inputs, shown)
    topics.wire(guarded(refresh), inputs, shown, history)
    quality.wire(guarded(refresh), inputs, shown)
    pipelines.wire(
        guarded(refresh), lambda values: _arguments(form, near, values), to_form, settings, shown
    )
    to_generate.click(lambda: gr.Tabs(selected="generate"), None, ui.tabs, **QUIET)
    of_panels = [output for panel in panels for output in panel.all_outputs]
    everything = [filled, *settings, *shown, *near.jobs.shown, *of_panels]
    return TabView(show=show, inputs=[filled, *settings], outputs=everything)


def _form_values(
    form: FilterForm, near: NearPanel, used: CurateSettings, kept: tuple[Any, ...]
) -> tuple[Sequence[Any], tuple[Any, ...]]:
    """(what to put into the settings' widgets, their values then).

    A form in use (`kept`) stays as it was left; else the settings in force, and the first pair.
    """
    if kept:
        return [gr.skip()] * len(kept), kept
    values = (*form.fill(used.filters), *near.initial(used), used.remove_accepted)
    return values, values


def _parts(form: FilterForm, values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], bool]:
    """Values of the settings by whose they are: the filters', the near panel's, the tick's."""
    count = len(form.widgets)
    return values[:count], values[count:-1], bool(values[-1])


def _arguments(form: FilterForm, near: NearPanel, values: Sequence[Any]) -> dict[str, Any]:
    of_filters, of_near, remove_accepted = _parts(form, values)
    return {
        "filters": form.read(of_filters),
        **near.arguments(of_near),
        "remove_accepted": remove_accepted,
    }


def _fill(
    workspace: Workspace, actor: Actor, form: FilterForm, near: NearPanel, values: Sequence[Any]
) -> tuple[Any, ...]:
    """Everything the tab shows at these settings, in the order of `shown`."""
    curate, asked = workspace.curate, _arguments(form, near, values)
    state = curate.state(actor)
    without_accepted = {k: v for k, v in asked.items() if k != "remove_accepted"}
    preview = curate.dedup_preview(actor, **without_accepted)
    report = curate.plan_report(actor, **asked)
    history = curate.history(actor)
    return (
        gr.Column(visible=state.total == 0),
        gr.Column(visible=state.total > 0),
        draw.state_html(state),
        *form.preview(curate.preview(actor, asked["filters"])),
        *near.fill(workspace, actor, preview, _parts(form, values)[1]),
        _apply_button(report),
        gr.Button(interactive=state.is_applied),
        draw.report_html(report),
        draw.history_html(history),
    )


def _apply_button(report: CurateReport) -> gr.Button:
    if not report.changed:
        return gr.Button("Nothing to change", interactive=False)
    if not report.removed:
        return gr.Button(f"Put {report.changed} rows back", interactive=True)
    return gr.Button(f"Remove {report.removed} of {report.considered}", interactive=True)
