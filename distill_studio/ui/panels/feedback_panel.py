"""The way back, on the Evaluate tab: what a student lost, and what to make of it."""

from typing import Any, NamedTuple

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import StudioError
from distill_studio.core.records.comparison import ModelRole
from distill_studio.services.feedback import JOB_KIND, MOST_EACH, FeedbackView
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import feedback_html as draw
from distill_studio.ui.panels.jobs import build_jobs_panel
from distill_studio.ui.panels.suites_panel import SuitesPanel

_ID = "evaluate-back"
_ALL = "all of them"
_EXAMPLES = 3
_EMPTY = (
    "Score a student beside its teacher on a suite above: what it lost is listed here, and becomes"
    " preferences, new prompts and the next round of training."
)


class _Chosen(NamedTuple):
    """What the events of the panel are given after the workspace."""

    suite: str | None
    trial: str | None
    student: str | None
    group: str | None


class FeedbackPanel:
    """The accordion; `show` gives the values of `outputs`.

    Args:
        ui: The page.
        suites: Whose suite and result in view it is about.
    """

    def __init__(self, ui: Ui, suites: SuitesPanel) -> None:
        self._ui, self._suites = ui, suites
        with gr.Accordion(
            "What a student lost, and the way back to the data", open=False, elem_id=f"{_ID}-box"
        ):
            self.empty = gr.HTML(note(_EMPTY), elem_id=f"{_ID}-empty", apply_default_css=False)
            with gr.Column(visible=False) as self.body:
                self._build()
        self._wire()

    @property
    def view(self) -> list[Any]:
        """What a choice of result or student fills."""
        return [
            self.empty, self.body, self.student, self.lost, self.group, self.examples,
            self.means, self.prefer, self.undo, self.proposal, self.next, self.rounds,
        ]  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self.view, *self.jobs.shown]

    @property
    def inputs(self) -> list[Any]:
        """What stands in the panel and stays, after the suite and result that it is about."""
        return [self._suites.suite, self._suites.trial, self.student, self.group]

    def show(self, request: gr.Request, workspace: str, *chosen: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """The whole panel; `chosen` as in `_Chosen`."""
        return (
            *self._on_look(request, workspace, *chosen),
            *self.jobs.show(request, workspace),
        )

    # -- layout ---------------------------------------------------------------------------

    def _build(self) -> None:
        self.student = gr.Dropdown([], label="Student", elem_id=f"{_ID}-student")
        self.lost = gr.HTML(elem_id=f"{_ID}-lost", apply_default_css=False)
        self.group = gr.Dropdown([], label="Which of them", elem_id=f"{_ID}-group")
        self.examples = gr.HTML(elem_id=f"{_ID}-examples", apply_default_css=False)
        self.means = gr.HTML(elem_id=f"{_ID}-means", apply_default_css=False)
        self.prefer = gr.Button(
            "Into Prefer", variant="primary", elem_id=f"{_ID}-prefer", scale=0, min_width=180
        )
        with gr.Row(elem_id=f"{_ID}-writing"):
            self.each = gr.Number(
                2,
                label="New prompts for each",
                precision=0,
                minimum=1,
                maximum=MOST_EACH,
                elem_id=f"{_ID}-each",
                scale=0,
                min_width=200,
            )
            self.write = gr.Button(
                "Have the teacher write them", elem_id=f"{_ID}-write", scale=0, min_width=260
            )
        self.jobs = build_jobs_panel(self._ui, [JOB_KIND], f"{_ID}-jobs", limit=1)
        self.undo = gr.Button(
            "Undo", size="sm", elem_id=f"{_ID}-undo", visible=False, scale=0, min_width=220
        )
        self.proposal = gr.HTML(elem_id=f"{_ID}-proposal", apply_default_css=False)
        self.next = gr.Button(
            "Train the next round", elem_id=f"{_ID}-next", visible=False, scale=0, min_width=220
        )
        self.rounds = gr.HTML(elem_id=f"{_ID}-rounds", apply_default_css=False)

    # -- events ---------------------------------------------------------------------------

    def _wire(self) -> None:
        suites = self._suites
        where = [self._ui.workspace, *self.inputs]
        look = guarded(self._on_look)
        suites.trial.change(look, where, self.view, **QUIET)
        suites.jobs.state.change(look, where, self.view, **QUIET)
        self.student.input(look, where, self.view, **LATEST)
        self.group.input(look, where, self.view, **LATEST)
        self.prefer.click(guarded(self._on_prefer), where, self.view, **SAYING)
        self.write.click(guarded(self._on_write), [*where, self.each], self.jobs.outputs, **SAYING)
        self.undo.click(guarded(self._on_undo), where, self.view, **SAYING)
        self.jobs.state.change(look, where, self.view, **QUIET)
        self.next.click(guarded(self._on_next), where, self._ui.tabs, **SAYING)

    def _on_look(self, request: gr.Request, workspace: str, *chosen: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return self._values(*self._ui.open(request, workspace), _Chosen(*chosen))

    def _on_prefer(self, request: gr.Request, workspace: str, *chosen: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = self._ui.open(request, workspace)
        at = _Chosen(*chosen)
        view = opened.feedback.view(actor, at.trial or "", at.student or "")
        waiting = set(view.waiting)
        numbers = [n for n in _numbers(view, at.group) if n in waiting]
        step = opened.feedback.prefer(actor, at.trial or "", at.student or "", numbers)
        gr.Info(f"{len(step.numbers)} comparisons wait in Prefer, and count for DPO already.")
        return self._values(opened, actor, at)

    def _on_write(self, request: gr.Request, workspace: str, *chosen: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = self._ui.open(request, workspace)
        at, each = _Chosen(*chosen[:-1]), chosen[-1]
        view = opened.feedback.view(actor, at.trial or "", at.student or "")
        opened.feedback.seeds(
            actor,
            at.trial or "",
            at.student or "",
            numbers=_numbers(view, at.group),
            each=int(each or 1),
        )
        return self.jobs.poll(request, workspace)

    def _on_undo(self, request: gr.Request, workspace: str, *chosen: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = self._ui.open(request, workspace)
        at = _Chosen(*chosen)
        view = opened.feedback.view(actor, at.trial or "", at.student or "")
        if view.last is not None:
            opened.feedback.undo(actor, view.last.id)
            gr.Info("Undone: what was sent is gone, and no model can learn from it.")
        return self._values(opened, actor, at)

    def _on_next(self, request: gr.Request, workspace: str, *chosen: Any) -> Any:  # noqa: ANN401
        opened, actor = self._ui.open(request, workspace)
        run = opened.feedback.accept(actor, _Chosen(*chosen).student or "")
        gr.Info(f"{run.name} is queued: see Distill.")
        return gr.Tabs(selected="distill")

    # -- values ---------------------------------------------------------------------------

    def _values(self, opened: Workspace, actor: Actor, at: _Chosen) -> tuple[Any, ...]:
        others = self._students(opened, actor, at.trial)
        if not at.suite or not others:
            skipped = (gr.skip(),) * (len(self.view) - 2)
            return note(_EMPTY), gr.Column(visible=False), *skipped
        trial, group = at.trial or "", at.group
        chosen = at.student if at.student in {value for _, value in others} else others[0][1]
        view = opened.feedback.view(actor, trial, chosen)
        names = [g.name for g in view.groups]
        group = group if group in names else _ALL
        numbers = _numbers(view, group)
        waiting = len(set(view.waiting) & set(numbers))
        shown = opened.feedback.lost(actor, trial, chosen, numbers[:_EXAMPLES])
        is_student = view.student.role is ModelRole.STUDENT
        proposal = opened.feedback.proposal(actor, chosen) if is_student else None
        has_lost = bool(view.tally.losses)
        return (
            "",
            gr.Column(visible=True),
            gr.Dropdown(others, value=chosen),
            draw.lost_html(view),
            gr.Dropdown([_ALL, *names], value=group, visible=has_lost),
            draw.examples_html(shown, view.teacher.label, view.student.label),
            draw.means_html(view),
            gr.Button(f"Into Prefer ({waiting})", interactive=waiting > 0 and view.is_verdict),
            gr.Button(draw.undo_label(view), visible=view.last is not None),
            draw.proposal_html(proposal) if proposal else "",
            gr.Button(visible=bool(proposal and proposal.spec)),
            draw.rounds_html(opened.feedback.rounds(actor, at.suite)),
        )

    @staticmethod
    def _students(opened: Workspace, actor: Actor, trial: str | None) -> list[tuple[str, str]]:
        """The models beside the trial's teacher, students first; none without a teacher."""
        try:
            models = opened.suites.trial(actor, trial or "").models
        except StudioError:
            return []
        teacher = next((c for c in models if c.role is ModelRole.TEACHER), None)
        if teacher is None:
            return []
        others = [c for c in models if c.id != teacher.id]
        others.sort(key=lambda card: card.role is not ModelRole.STUDENT)
        return [(card.label, card.id) for card in others]


def _numbers(view: FeedbackView, group: str | None) -> list[int]:
    """The lost prompts of a group, or all."""
    for one in view.groups:
        if one.name == group:
            return one.numbers
    return [loss.number for loss in view.tally.losses]
