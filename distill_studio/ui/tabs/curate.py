"""The Curate tab: filters with live previews, near-duplicates with a slider, apply and undo."""

from collections.abc import Sequence
from typing import Any, Literal

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.curate.reports import CurateReport, CurateSettings, DedupField, DedupPreview
from distill_studio.services.curate import JOB_KINDS, MEASURE_AT_ONCE
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import empty_state, note, page_head
from distill_studio.ui.panels import curate_html as draw
from distill_studio.ui.panels.curate_filters import FilterForm, build_filter_form
from distill_studio.ui.panels.jobs import build_jobs_panel
from distill_studio.ui.panels.leaks_panel import LeaksPanel

LABEL = "Curate"
Pair = tuple[str, str]  # ids of two rows
Lists = dict[str, list[Pair]]
Verdict = Literal["keep_both", "keep_a", "keep_b", "clear"]
_LISTS = [
    ("Near the threshold", "borderline"),
    ("Would go", "removed"),
    ("Conflicts", "conflicts"),
]
_AT, _WHICH = -5, -4  # places of the chosen pair among the settings
_SIDES = {
    "borderline": ("Older row", "Newer row"),
    "removed": ("Stays", "Goes"),
    "conflicts": ("Stays", "Stays too, because a person accepted it"),
}


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
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320, elem_classes="ds-curate-form"):
                form = build_filter_form()
            with gr.Column(scale=3, min_width=420):
                filters = gr.HTML(elem_id="curate-filters")
        gr.HTML('<h3 class="ds-h3">Near-duplicates</h3>')
        gr.HTML(
            note(
                "Answers to one prompt stay together for Prefer: they count as duplicates of each"
                " other only when they are exact copies."
            )
        )
        near = _NearPanel(ui)
        leaks = LeaksPanel(ui)
        gr.HTML('<h3 class="ds-h3">Apply</h3>')
        with gr.Row(elem_id="curate-apply-row"):
            apply = gr.Button("Remove", variant="primary", elem_id="curate-apply")
            undo = gr.Button("Undo the last step", elem_id="curate-undo")
            accepted = gr.Checkbox(
                False, label="Also remove rows that people accepted", elem_id="curate-accepted"
            )
        report = gr.HTML(elem_id="curate-report")
        with gr.Accordion("History", open=False, elem_id="curate-history-box"):
            history = gr.HTML(elem_id="curate-history")

    filled = gr.State("")  # the workspace whose settings stand in the form
    settings = [*form.widgets, near.at, near.which, near.field, near.threshold, accepted]
    shown = [nothing, body, state, filters, *near.shown, apply, undo, report, history]

    def refresh(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return _fill(*ui.open(request, workspace), form, values)

    def show(
        request: gr.Request,
        workspace: str,
        shows: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        state = opened.curate.state(actor)
        if state.unmeasured > MEASURE_AT_ONCE and actor.role >= Role.REVIEWER:
            opened.curate.measure(actor)
        kept = values if shows == workspace else ()
        set_to, values = _form_values(form, state.settings, kept)
        view, timer = near.jobs.poll(request, workspace)
        # A timer that another event started is never stopped from here: it stops by itself.
        jobs = view, timer if timer.active else gr.skip()
        found = leaks.show(request, workspace)
        return (workspace, *set_to, *_fill(opened, actor, form, values), *jobs, *found)

    @guarded
    def on_find(request: gr.Request, workspace: str, field: DedupField) -> Any:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        opened.curate.embed(actor, field)
        return near.jobs.poll(request, workspace)

    @guarded
    def on_job(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        if opened.jobs.page(actor, kinds=list(JOB_KINDS), active=True):
            return [gr.skip()] * len(shown)
        return _fill(opened, actor, form, values)

    @guarded
    def on_apply(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        done = opened.curate.apply(actor, **_arguments(form, values))
        gr.Info(f"{done.changed} rows changed, {done.kept} of {done.considered} stay.")
        return _fill(opened, actor, form, values)

    @guarded
    def on_undo(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        opened.curate.undo(actor)
        gr.Info("Took the last step back. The settings stay as you left them.")
        return _fill(opened, actor, form, values)

    @guarded
    def on_verdict(
        verdict: Verdict, request: gr.Request, workspace: str, lists: Lists, values: Sequence[Any]
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        at, which = values[_AT], values[_WHICH]
        a, b = lists[which][at]
        opened.curate.override(actor, a, b, verdict)
        return _fill(opened, actor, form, values)

    inputs = [ui.workspace, *settings]
    live: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
    changes = [widget.input for widget in settings if widget is not near.at]
    gr.on(changes, guarded(refresh), inputs, shown, **live)
    near.find.click(on_find, [ui.workspace, near.field], near.jobs.outputs, **SAYING)
    near.jobs.view.change(on_job, inputs, shown, **live)
    apply.click(on_apply, inputs, shown, api_visibility="private", show_progress="minimal")
    undo.click(on_undo, inputs, shown, api_visibility="private", show_progress="minimal")
    near.wire(on_verdict, settings, shown)
    leaks.wire(guarded(refresh), inputs, shown)
    to_generate.click(lambda: gr.Tabs(selected="generate"), None, ui.tabs, **QUIET)
    everything = [filled, *settings, *shown, *near.jobs.outputs, *leaks.all_outputs]
    return TabView(show=show, inputs=[filled, *settings], outputs=everything)


class _NearPanel:
    """Field, threshold, histogram, groups, and one pair at a time with verdict buttons."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Row(equal_height=True, elem_id="curate-near-row"):
            self.field = gr.Radio(
                [("Prompt and answer", "both"), ("Prompt", "prompt"), ("Answer", "answer")],
                value="both",
                label="Compare",
                elem_id="curate-field",
                scale=3,
            )
            self.threshold = gr.Slider(
                0.8,
                1,
                0.9,
                step=0.005,
                label="Near from this similarity up",
                elem_id="curate-threshold",
                scale=3,
            )
            self.find = gr.Button(
                "Find near-duplicates", size="md", elem_id="curate-find", scale=0, min_width=200
            )
        self.jobs = build_jobs_panel(ui, JOB_KINDS, "curate-jobs", limit=1)
        with gr.Row():
            self.histogram = gr.HTML(elem_id="curate-histogram")
            self.facts = gr.HTML(elem_id="curate-facts")
        with gr.Column(visible=False, elem_id="curate-pairs") as self.box:
            with gr.Row(elem_id="curate-pair-nav"):
                self.which = gr.Radio(
                    _LISTS,
                    value="borderline",
                    show_label=False,
                    elem_id="curate-list",
                    min_width=420,
                )
                self.position = gr.HTML(elem_id="curate-position", min_width=80)
                self.back = _small_button("Previous", "curate-previous")
                self.forth = _small_button("Next", "curate-next")
            self.pair = gr.HTML(elem_id="curate-pair")
            with gr.Row(elem_id="curate-verdicts"):
                self.verdicts = {
                    verdict: gr.Button(label, size="sm", elem_id=f"curate-{verdict}")
                    for verdict, label in (
                        ("keep_a", "Keep left"),
                        ("keep_b", "Keep right"),
                        ("keep_both", "Keep both"),
                        ("clear", "Follow the threshold"),
                    )
                }
            with gr.Accordion("Groups", open=False, elem_id="curate-groups-box"):
                self.groups = gr.HTML(elem_id="curate-groups")
        self.at = gr.State(0)
        self.lists = gr.State({})

    @property
    def shown(self) -> list[Any]:
        """What `_near_values` fills, the pair in view included."""
        facts = [self.threshold, self.histogram, self.facts, self.box, self.groups, self.lists]
        return [*facts, *self.pair_view]

    @property
    def pair_view(self) -> list[Any]:
        """What `_pair` fills."""
        return [self.at, self.position, self.pair, *self.verdicts.values()]

    def wire(self, on_verdict: Any, settings: Sequence[Any], shown: Sequence[Any]) -> None:  # noqa: ANN401
        """Connect navigation and verdicts."""
        where = [self._ui.workspace, self.field, self.at, self.lists, self.which]
        for button, by in ((self.back, -1), (self.forth, 1)):
            button.click(_stepper(self._ui, by), where, self.pair_view, **QUIET)
        for verdict, button in self.verdicts.items():
            button.click(
                _bound(on_verdict, verdict),
                [self._ui.workspace, self.lists, *settings],
                list(shown),
                **QUIET,
            )


def _small_button(label: str, elem_id: str) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=elem_id, scale=0, min_width=110)


def _stepper(ui: Ui, by: int) -> Any:  # noqa: ANN401
    @guarded
    def step(
        request: gr.Request,
        workspace: str,
        field: DedupField,
        at: int,
        lists: Lists,
        which: str,
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        return _pair(opened, actor, field, at + by, lists.get(which) or [], which)

    return step


def _bound(handler: Any, verdict: str) -> Any:  # noqa: ANN401
    def bound(request: gr.Request, workspace: str, lists: Lists, *values: Any) -> Any:  # noqa: ANN401
        return handler(verdict, request, workspace, lists, values)

    return bound


def _form_values(
    form: FilterForm, used: CurateSettings, kept: tuple[Any, ...]
) -> tuple[Sequence[Any], tuple[Any, ...]]:
    """(what to put into the settings' widgets, their values then).

    A form in use (`kept`) stays as it was left; else the settings in force, and the first pair.
    """
    if kept:
        return [gr.skip()] * len(kept), kept
    near = (0, "borderline", used.field, used.threshold, used.remove_accepted)
    values = (*form.fill(used.filters), *near)
    return values, values


def _arguments(form: FilterForm, values: Sequence[Any]) -> dict[str, Any]:
    *filter_values, _, _, field, threshold, remove_accepted = values
    return {
        "filters": form.read(filter_values),
        "field": field,
        "threshold": float(threshold),
        "remove_accepted": bool(remove_accepted),
    }


def _fill(
    workspace: Workspace, actor: Actor, form: FilterForm, values: Sequence[Any]
) -> tuple[Any, ...]:
    """Everything the tab shows at these settings, in the order of `shown`."""
    curate, asked = workspace.curate, _arguments(form, values)
    state = curate.state(actor)
    without_accepted = {k: v for k, v in asked.items() if k != "remove_accepted"}
    near = curate.dedup_preview(actor, **without_accepted)
    report = curate.plan_report(actor, **asked)
    history = curate.history(actor)
    return (
        gr.Column(visible=state.total == 0),
        gr.Column(visible=state.total > 0),
        draw.state_html(state),
        draw.filters_html(curate.preview(actor, asked["filters"])),
        *_near_values(workspace, actor, near, asked["threshold"], values[_AT], values[_WHICH]),
        _apply_button(report),
        gr.Button(interactive=state.is_applied),
        draw.report_html(report),
        draw.history_html(history),
    )


def _near_values(
    workspace: Workspace, actor: Actor, near: DedupPreview, asked: float, at: int, which: str
) -> tuple[Any, ...]:
    """A slider that is being moved gets no value back, unless it lies below the floor."""
    moved: dict[str, Any] = {} if near.threshold == asked else {"value": near.threshold}
    lists: Lists = {
        "borderline": [(p.a.pair_id, p.b.pair_id) for p in near.borderline],
        "removed": [(p.a.pair_id, p.b.pair_id) for g in near.largest for p in g.removed],
        "conflicts": [(p.a.pair_id, p.b.pair_id) for p in near.conflict_pairs],
    }
    return (
        gr.Slider(minimum=min(near.floor, 0.99), **moved),
        draw.histogram_svg(near.histogram, near.threshold) if near.model else "",
        draw.dedup_html(near),
        gr.Column(visible=any(lists.values())),
        draw.groups_html(near.largest),
        lists,
        *_pair(workspace, actor, near.field, at, lists[which], which),
    )


def _apply_button(report: CurateReport) -> gr.Button:
    if not report.changed:
        return gr.Button("Nothing to change", interactive=False)
    if not report.removed:
        return gr.Button(f"Put {report.changed} rows back", interactive=True)
    return gr.Button(f"Remove {report.removed} of {report.considered}", interactive=True)


def _pair(
    workspace: Workspace,
    actor: Actor,
    field: DedupField,
    at: int,
    pairs: Sequence[Pair],
    which: str,
) -> tuple[Any, ...]:
    """The pair at a place of a list: place, heading, HTML, and whether verdicts can be given."""
    if not pairs:
        return 0, "", note("No pairs in this list."), *[gr.Button(interactive=False)] * 4
    at = at % len(pairs)
    found = workspace.curate.compare(actor, *pairs[at], field=field)
    position = f"<span class='ds-note'>{at + 1} of {len(pairs)}</span>"
    html = draw.comparison_html(found, *_SIDES[which])
    return at, position, html, *[gr.Button(interactive=True)] * 4
