"""Topics on the Curate tab: find them, the map with its lasso, and the choice of N rows.

The map (`ui/static/topics.js`) asks the operations `diversity_*` itself, and only once it is seen:
the tab does not wait for it.
"""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.curate.diversity.clusters import MAX_CLUSTERS
from distill_studio.curate.diversity.reports import LABELS, Method, SelectionReport
from distill_studio.services.diversity import JOB_KINDS
from distill_studio.services.workspace import Workspace
from distill_studio.ui.bench import bench, bench_value
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import topics_html as draw
from distill_studio.ui.panels.curate_html import applied_text
from distill_studio.ui.panels.jobs import build_jobs_panel


class TopicsPanel:
    """The accordion. `show` gives the values of `all_outputs`; `wire` connects it with the tab."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion("Topics and selection", open=False, elem_id="curate-topics-box"):
            gr.HTML(
                note(
                    "Which topics the prompts have, which are thin, and N rows that cover them."
                    " Rows that people accepted always stay; every step undoes."
                )
            )
            with gr.Row(elem_id="curate-topics-row"):
                self.count = gr.Number(
                    0,
                    label="Topics",
                    info="0 = as many as suit",
                    minimum=0,
                    maximum=MAX_CLUSTERS,
                    precision=0,
                    elem_id="curate-topics-count",
                    scale=0,
                    min_width=180,
                )
                self.find = gr.Button(
                    "Find topics", variant="primary", size="md", elem_id="curate-topics-find"
                )
                self.anew = gr.Button("Cluster anew", size="md", elem_id="curate-topics-anew")
            self.jobs = build_jobs_panel(ui, JOB_KINDS, "curate-topics-jobs", limit=1)
            with gr.Column(visible=False, elem_id="curate-topics-body") as self.body:
                self.map = bench("curate-topics-map", "topics.js")
                self._build_label()
                self._build_choice()
        self.number = gr.State(0)

    def _build_label(self) -> None:
        with (
            gr.Accordion("Names from a teacher", open=False, elem_id="curate-label-box"),
            gr.Row(elem_id="curate-label-row"),
        ):
            self.teacher = gr.Dropdown(
                [],
                label="Teacher",
                info="One request a topic, with eight of its prompts. Names you gave stay.",
                elem_id="curate-label-teacher",
                scale=3,
            )
            self.label = gr.Button("Ask for names", size="md", elem_id="curate-label")

    def _build_choice(self) -> None:
        gr.HTML('<h3 class="ds-h3">Choose N rows</h3>')
        with gr.Row(elem_id="curate-choice-row"):
            self.rows = gr.Number(
                1000, label="Rows", minimum=1, precision=0, elem_id="curate-choice-rows", scale=0
            )
            self.compare = gr.Button("Compare choices", size="md", elem_id="curate-choice-compare")
        self.table = gr.HTML(elem_id="curate-choice-table")
        with gr.Row(visible=False, elem_id="curate-choice-apply-row") as self.apply_row:
            self.method = gr.Radio(
                [], show_label=False, elem_id="curate-choice-method", min_width=380
            )
            self.choose = gr.Button(
                "Keep this choice", variant="primary", size="md", elem_id="curate-choice-apply"
            )

    # -- showing --------------------------------------------------------------------------

    @property
    def outputs(self) -> list[Any]:
        """What `fill` fills."""
        choice = [self.table, self.apply_row, self.method, self.number]
        return [self.body, self.anew, self.map, self.teacher, *choice]

    @property
    def all_outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self.outputs, *self.jobs.shown]

    def fill(self, opened: Workspace, actor: Actor) -> tuple[Any, ...]:
        """Everything but the jobs; cheap, as the map asks for itself."""
        is_there = opened.diversity.is_mapped
        report = opened.diversity.selection(actor)
        teachers = [teacher.name for teacher in opened.teachers.page(actor)]
        can_act = actor.role >= Role.REVIEWER
        return (
            gr.Column(visible=is_there),
            gr.Button(visible=is_there),
            bench_value(workspace=opened.name, can_act=can_act),
            gr.Dropdown(teachers, value=teachers[0] if teachers else None),
            *_choice_values(report, can_act),
        )

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Everything, when the tab opens."""
        return (*self.fill(*self._ui.open(request, workspace)), *self.jobs.show(request, workspace))

    # -- events ---------------------------------------------------------------------------

    def wire(
        self,
        refresh: Any,  # noqa: ANN401
        inputs: Sequence[Any],
        shown: Sequence[Any],
        changed: gr.HTML,
    ) -> None:
        """After a step here `refresh(request, *inputs)` fills `shown`; when `changed` changes (the
        tab's history) the map looks again."""
        ui = self._ui

        @guarded
        def on_job(request: gr.Request, workspace: str) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if opened.jobs.page(actor, kinds=list(JOB_KINDS), active=True):
                return [gr.skip()] * len(self.outputs)
            return self.fill(opened, actor)

        @guarded
        def on_choose(
            request: gr.Request, workspace: str, number: int, method: Method
        ) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            done = opened.diversity.choose(actor, number, method)
            gr.Info(applied_text(done.changed, done.kept, done.considered))
            return self.fill(opened, actor)

        @guarded
        def on_changed(request: gr.Request, workspace: str) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            return bench_value(workspace=opened.name, can_act=actor.role >= Role.REVIEWER)

        self.jobs.state.change(on_job, ui.workspace, self.outputs, **QUIET)
        for button, start in (
            (self.find, self._on_find(False)),
            (self.anew, self._on_find(True)),
            (self.compare, self._on_compare),
            (self.label, self._on_label),
        ):
            values = [ui.workspace, self.count, self.rows, self.teacher]
            button.click(guarded(_from_start(self, start)), values, self.jobs.outputs, **SAYING)
        chosen = self.choose.click(
            on_choose, [ui.workspace, self.number, self.method], self.outputs, **SAYING
        )
        chosen.then(refresh, list(inputs), list(shown), **QUIET)
        self.map.select(refresh, list(inputs), list(shown), **QUIET)
        changed.change(on_changed, ui.workspace, self.map, **QUIET)

    @staticmethod
    def _on_find(anew: bool) -> Any:  # noqa: ANN401
        def start(opened: Workspace, actor: Actor, count: int, rows: int, teacher: str) -> None:
            del rows, teacher
            opened.diversity.find(actor, topics=int(count or 0), anew=anew)

        return start

    @staticmethod
    def _on_compare(opened: Workspace, actor: Actor, count: int, rows: int, teacher: str) -> None:
        del count, teacher
        opened.diversity.select(actor, int(rows or 0))

    @staticmethod
    def _on_label(opened: Workspace, actor: Actor, count: int, rows: int, teacher: str) -> None:
        del count, rows
        opened.diversity.label(actor, teacher or "")


def _from_start(panel: TopicsPanel, start: Any) -> Any:  # noqa: ANN401
    """A handler that starts a job and shows it."""

    def handler(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
        start(*panel._ui.open(request, workspace), *values)
        return panel.jobs.poll(request, workspace)

    return handler


def _choice_values(report: SelectionReport | None, can_act: bool) -> tuple[Any, ...]:
    """The table, the row of buttons, the methods to choose from, the number of the comparison."""
    methods = [one.method for one in report.methods if one.method != "all"] if report else []
    choices = [(LABELS[name].capitalize(), name) for name in methods]
    return (
        draw.selection_html(report),
        gr.Row(visible=bool(methods) and can_act),
        gr.Radio(choices, value=methods[0] if methods else None),
        report.number if report else 0,
    )
