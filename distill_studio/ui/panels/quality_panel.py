"""Answer quality without a judge on the Curate tab: which local model scores, and how far it is."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.services.quality import JOB_KIND, ScoredBy
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import chip, esc, note, number, table
from distill_studio.ui.panels.jobs import build_jobs_panel


class QualityPanel:
    """The accordion. `show` gives the values of `all_outputs`; `wire` connects it with the tab."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion(
            "Answer quality without a judge", open=False, elem_id="curate-quality-box"
        ):
            gr.HTML(
                note(
                    "A local model reads each answer after its question and alone. From its losses"
                    " come perplexity and IFD, how much the question helps; the filter “Likelihood"
                    " and IFD” sets the limits. A small model is a rough guide: look at the"
                    " examples before you drop anything."
                )
            )
            with gr.Row(elem_id="curate-quality-row"):
                self.model = gr.Dropdown([], label="Model", elem_id="curate-quality-model", scale=3)
                self.score = gr.Button(
                    "Score answers", size="md", elem_id="curate-quality-score", scale=0,
                    min_width=200,
                )  # fmt: skip
            self.jobs = build_jobs_panel(ui, [JOB_KIND], "curate-quality-jobs", limit=1)
            self.facts = gr.HTML(elem_id="curate-quality-facts")

    @property
    def outputs(self) -> list[Any]:
        """What `fill` fills."""
        return [self.model, self.facts]

    @property
    def all_outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self.outputs, *self.jobs.shown]

    def fill(self, opened: Workspace, actor: Actor, chosen: str | None) -> tuple[Any, ...]:
        """The models to choose from, and which of them scored here."""
        names = {one.id: one.label for one in opened.quality.models(actor)}
        scored = opened.quality.scored(actor)
        first = scored[0].model if scored else next(iter(names), None)
        value = chosen if chosen in names else first
        choices = [(label, name) for name, label in names.items()]
        return gr.Dropdown(choices, value=value), scored_html(scored, names)

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Everything, when the tab opens."""
        return (
            *self.fill(*self._ui.open(request, workspace), None),
            *self.jobs.show(request, workspace),
        )

    def wire(self, refresh: Any, inputs: Sequence[Any], shown: Sequence[Any]) -> None:  # noqa: ANN401
        """When a job ends, `refresh(request, *inputs)` fills `shown` as well."""
        ui = self._ui

        @guarded
        def on_score(request: gr.Request, workspace: str, model: str | None) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.quality.score(actor, model or "")
            return self.jobs.poll(request, workspace)

        @guarded
        def on_job(request: gr.Request, workspace: str, model: str | None) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if opened.jobs.page(actor, kinds=[JOB_KIND], active=True):
                return [gr.skip()] * len(self.outputs)
            return self.fill(opened, actor, model)

        where = [ui.workspace, self.model]
        self.score.click(on_score, where, self.jobs.outputs, **SAYING)
        ended = self.jobs.state.change(on_job, where, self.outputs, **QUIET)
        ended.then(refresh, list(inputs), list(shown), **QUIET)


def scored_html(scored: Sequence[ScoredBy], names: dict[str, str]) -> str:
    """Which models scored how many answers, the one in use first."""
    rows = [
        [
            esc(names.get(one.model, one.model)) + (" " + chip("in use", "good") if not k else ""),
            esc(one.number_format),
            number(one.rows),
            number(one.missing),
        ]
        for k, one in enumerate(scored)
    ]
    return table(
        ["Model", "Numbers", "Scored", "Not yet"], rows, empty="No answer is scored so far."
    )
