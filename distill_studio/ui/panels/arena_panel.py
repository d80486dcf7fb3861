"""The arena, on the Evaluate tab: models ranked by votes, and judges that vote.

It fills when it is opened, and while it is open whenever its tab fills or a judge has voted.
Closed, it asks only how far a judge is.
"""

from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.services.arena import JOB_KIND, MOST
from distill_studio.services.teacher_costs import Estimate
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import arena_html as draw
from distill_studio.ui.panels.agreement_html import download_links
from distill_studio.ui.panels.costs import show_cost
from distill_studio.ui.panels.jobs import build_jobs_panel

_ID = "evaluate-arena"
_SOURCES = [
    ("People; where there are none, judges", ""),
    ("People", "people"),
    ("Judges", "judges"),
    ("Imported files", "imports"),
    ("All of them", "all"),
]
_NO_ANCHOR = ("The most compared one", "")


class ArenaPanel:
    """The accordion; `show` gives the values of `outputs`."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion(
            "Arena: models ranked by votes", open=False, elem_id=f"{_ID}-box"
        ) as self.box:
            self.is_open = gr.State(False)
            with gr.Row(elem_classes="ag-top"):
                self.sources = gr.Dropdown(
                    _SOURCES, value="", label="Votes of", elem_id=f"{_ID}-sources", scale=2
                )
                self.anchor = gr.Dropdown(
                    [_NO_ANCHOR], value="", label="Anchor (1000)", elem_id=f"{_ID}-anchor", scale=2
                )
                self.sighted = gr.Checkbox(
                    label="Also votes cast with the names shown",
                    info="Left out unless ticked: who knows the model may vote for its name.",
                    elem_id=f"{_ID}-sighted",
                    scale=2,
                )
                self.again = gr.Button(
                    "Look again", size="sm", elem_id=f"{_ID}-again", scale=0, min_width=140
                )
            self.models = gr.HTML(note("Loading"), elem_id=f"{_ID}-models", apply_default_css=False)
            gr.HTML('<h3 class="ds-h3">Judges</h3>')
            self.judges = gr.HTML(elem_id=f"{_ID}-judges", apply_default_css=False)
            self._build_asking()
        self._wire()

    @property
    def view(self) -> list[Any]:
        """What opening it fills."""
        return [self.anchor, self.models, self.judges, self.judge, self.warning]

    @property
    def inputs(self) -> list[Any]:
        """What stands in the panel and stays."""
        return [self.is_open, self.sources, self.anchor, self.sighted, self.judge]

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self.view, *self.jobs.shown]

    def show(
        self,
        request: gr.Request,
        workspace: str,
        is_open: bool,
        sources: str,
        anchor: str,
        sighted: bool,
        judge: str | None,
    ) -> tuple[Any, ...]:
        """The whole panel when its tab fills; nothing while it is closed."""
        if not is_open:
            return (gr.skip(),) * len(self.outputs)
        return (
            *self._on_look(request, workspace, sources, anchor, sighted, judge),
            *self.jobs.show(request, workspace),
        )

    # -- layout ---------------------------------------------------------------------------

    def _build_asking(self) -> None:
        with gr.Row(equal_height=True, elem_id=f"{_ID}-asking"):
            self.judge = gr.Dropdown(
                [],
                label="Judge",
                info="Reads each two answers in both orders; where its verdicts differ, a tie.",
                elem_id=f"{_ID}-judge",
                scale=3,
            )
            self.most = gr.Number(
                MOST,
                label="Comparisons at most",
                info="Those that people voted on first.",
                precision=0,
                minimum=1,
                elem_id=f"{_ID}-most",
                scale=1,
            )
        self.warning = gr.HTML(elem_id=f"{_ID}-warning", apply_default_css=False)
        self.cost = gr.HTML(elem_id=f"{_ID}-cost", apply_default_css=False)
        self.ask = gr.Button("Have a judge vote", elem_id=f"{_ID}-ask", scale=0, min_width=200)
        self.jobs = build_jobs_panel(self._ui, [JOB_KIND], f"{_ID}-jobs", limit=1)

    # -- events ---------------------------------------------------------------------------

    def _wire(self) -> None:
        workspace = self._ui.workspace
        where = [workspace, self.sources, self.anchor, self.sighted, self.judge]
        fill = guarded(self._on_fill), where, [self.is_open, *self.outputs]
        look = guarded(self._on_look), where, self.view
        self.box.expand(*fill, **QUIET)
        self.box.collapse(lambda: False, None, self.is_open, **QUIET)
        self.again.click(*look, **QUIET)
        self.sources.input(*look, **LATEST)
        self.anchor.input(*look, **LATEST)
        self.sighted.input(*look, **LATEST)
        ended = guarded(self._on_end), [workspace, self.is_open, *where[1:]], self.view
        self.jobs.state.change(*ended, **QUIET)
        self.judge.input(guarded(self._on_judge), [workspace, self.judge], self.warning, **LATEST)
        show_cost(self._ui, [self.judge, self.most], self._cost, self.cost)
        self.ask.click(
            guarded(self._on_ask), [workspace, self.judge, self.most], self.jobs.outputs, **SAYING
        )

    def _on_fill(self, request: gr.Request, workspace: str, *chosen: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return (True, *self.show(request, workspace, True, *chosen))

    def _on_end(
        self,
        request: gr.Request,
        workspace: str,
        is_open: bool,
        *chosen: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        if not is_open:
            return (gr.skip(),) * len(self.view)
        return self._on_look(request, workspace, *chosen)

    def _on_look(
        self,
        request: gr.Request,
        workspace: str,
        sources: Any,  # noqa: ANN401  (one of `Sources`)
        anchor: str,
        sighted: bool,
        judge: str | None,
    ) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        report = opened.arena.standings(actor, sources, anchor=anchor or "", sighted=bool(sighted))
        names = sorted(row.model for row in report.rows)
        rows = [row.model_dump(mode="json") for row in report.rows]
        judges = [one.model_dump(mode="json") for one in report.judges]
        return (
            gr.Dropdown(
                [_NO_ANCHOR, *((n, n) for n in names)], value=anchor if anchor in names else ""
            ),
            draw.arena_html(report) + download_links("arena", rows),
            draw.judges_html(report.judges) + download_links("arena-judges", judges),
            *self._asking(opened, actor, judge),
        )

    def _on_judge(self, request: gr.Request, workspace: str, judge: str | None) -> str:
        return self._asking(*self._ui.open(request, workspace), judge)[1]

    def _on_ask(
        self, request: gr.Request, workspace: str, judge: str | None, most: float | None
    ) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        opened.arena.judge(actor, judge or "", most=int(most or MOST))
        return self.jobs.poll(request, workspace)

    @staticmethod
    def _cost(
        opened: Workspace, actor: Actor, judge: str | None, most: float | None
    ) -> list[Estimate]:
        return opened.arena.estimate(actor, judge or "", int(most or MOST))

    @staticmethod
    def _asking(opened: Workspace, actor: Actor, judge: str | None) -> tuple[Any, str]:
        """The menu of judges, the one that stood there or the last; what is known of it."""
        found = {one.judge: one for one in opened.arena.judges(actor)}
        chosen = judge if judge in found else list(found)[-1]
        return gr.Dropdown(list(found), value=chosen), draw.candidate_html(found[chosen])
