"""Benchmark leaks on the Curate tab: the benchmarks, the check, its finds.

Adding a benchmark is in `leaks_add`, the queue of reworded questions in `leaks_queue`.
"""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.services.leaks import JOB_KINDS
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import leaks_html as draw
from distill_studio.ui.panels.jobs import build_jobs_panel
from distill_studio.ui.panels.leaks_add import LeaksAdd
from distill_studio.ui.panels.leaks_queue import LeaksQueue


class LeaksPanel:
    """The accordion. `fill` gives the values of `outputs`; `wire` says what else a find changes."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion("Benchmark leaks", open=False, elem_id="curate-leaks-box"):
            gr.HTML(
                note(
                    "Rows that hold a test question make the test worthless. What is there word for"
                    " word goes with Remove below; what only resembles a question waits for you."
                )
            )
            self._add = LeaksAdd(ui)
            self.packs = gr.HTML(elem_id="curate-leaks-packs")
            self.jobs = build_jobs_panel(ui, JOB_KINDS, "curate-leaks-jobs", limit=1)
            with gr.Column(visible=False) as self.body:
                self._build_body()
                self._queue = LeaksQueue(ui)
        self._add.wire(self.fill, self.choice, self.outputs, self.jobs)
        self._queue.wire(self.pack, self.jobs)
        self._wire_inside()

    @property
    def outputs(self) -> list[Any]:
        """What `fill` fills."""
        queue = self._queue
        about = [self.packs, self.body, self.pack, self.report, queue.teacher, queue.which]
        return [*about, *queue.outputs]

    @property
    def choice(self) -> list[Any]:
        """What `fill` needs: the benchmark in view, the list, the place in it."""
        return [self.pack, self._queue.which, self._queue.at]

    def fill(
        self, opened: Workspace, actor: Actor, name: str | None, which: str, at: int
    ) -> tuple[Any, ...]:
        """Everything shown, for a benchmark (else the first one)."""
        reports = opened.leaks.reports(actor)
        names = [one.pack.name for one in reports]
        name = name if name in names else next(iter(names), "")
        shown = draw.report_html(opened.leaks.report(actor, name, limit=12)) if name else ""
        return (
            draw.packs_html(reports),
            gr.Column(visible=bool(names)),
            gr.Dropdown(names, value=name or None),
            shown,
            gr.Dropdown([one.name for one in opened.teachers.page(actor)]),
            which,
            *self._queue.view(opened, actor, name, which, at),
        )

    @property
    def all_outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self.outputs, *self.jobs.shown]

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Everything, when the tab opens: the first benchmark, the queue from its beginning."""
        opened, actor = self._ui.open(request, workspace)
        return (*self.fill(opened, actor, None, "open", 0), *self.jobs.show(request, workspace))

    def wire(self, refresh: Any, inputs: Sequence[Any], shown: Sequence[Any]) -> None:  # noqa: ANN401
        """After a check and a verdict, `refresh(request, *inputs)` fills `shown` as well."""
        ui, where = self._ui, [self._ui.workspace, *self.choice]

        @guarded
        def on_job(request: gr.Request, workspace: str, *choice: Any) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if opened.jobs.page(actor, kinds=list(JOB_KINDS), active=True):
                return [gr.skip()] * len(self.outputs)
            return self.fill(opened, actor, *choice)

        @guarded
        def on_delete(
            request: gr.Request, workspace: str, name: str, which: str, at: int
        ) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            opened.leaks.delete(actor, name)
            gr.Info("Forgot the benchmark. Verdicts stay, for when it comes again.")
            return self.fill(opened, actor, None, which, at)

        changes = [
            self.jobs.state.change(on_job, where, self.outputs, **QUIET),
            self.delete.click(on_delete, where, self.outputs, **SAYING),
            *self._queue.wire_verdicts(self.fill, self.choice, self.outputs),
        ]
        for change in changes:
            change.then(refresh, list(inputs), list(shown), **QUIET)

    # -- inside ---------------------------------------------------------------------------

    def _build_body(self) -> None:
        with gr.Row(elem_id="curate-leaks-actions"):
            self.check = gr.Button(
                "Check rows", variant="primary", size="md", elem_id="curate-leaks-check"
            )
            self.find = gr.Button("Find reworded questions", size="md", elem_id="curate-leaks-find")
        with gr.Row(elem_id="curate-leaks-pack-row"):
            self.pack = gr.Dropdown([], label="Report on", elem_id="curate-leaks-pack", scale=3)
            self.delete = gr.Button(
                "Forget this benchmark",
                size="sm",
                elem_id="curate-leaks-delete",
                scale=0,
                min_width=190,
            )
        self.report = gr.HTML(elem_id="curate-leaks-report")

    def _wire_inside(self) -> None:
        ui, where = self._ui, [self._ui.workspace, *self.choice]

        @guarded
        def on_show(request: gr.Request, workspace: str, *choice: Any) -> tuple[Any, ...]:  # noqa: ANN401
            return self.fill(*ui.open(request, workspace), *choice)

        @guarded
        def on_check(request: gr.Request, workspace: str) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.leaks.check(actor)
            return self.jobs.poll(request, workspace)

        @guarded
        def on_find(request: gr.Request, workspace: str) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.leaks.find_candidates(actor)
            return self.jobs.poll(request, workspace)

        self.check.click(on_check, ui.workspace, self.jobs.outputs, **SAYING)
        self.find.click(on_find, ui.workspace, self.jobs.outputs, **SAYING)
        gr.on([self.pack.input, self._queue.which.input], on_show, where, self.outputs, **LATEST)
