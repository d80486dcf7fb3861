"""Candidates for reworded leaks and finds of the rules, one at a time, for a person's verdict."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.curate.decontaminate.reports import LeakCandidate, LeakExample
from distill_studio.services.leaks import ASKED
from distill_studio.services.teachers import STARTER
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded, in_view
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import leaks_html as draw
from distill_studio.ui.panels.jobs import JobsPanel

Verdict = Literal["leak", "not_leak", "clear"]
Fill = Callable[..., tuple[Any, ...]]
_OPINIONS = {"leak": "leak", "failed": "failed"}
_NOTHING = {
    "open": "Nothing to judge.",
    "leak": "A model called none of the open candidates a leak.",
    "failed": "No reply of a model was useless.",
    "judged": "No verdicts yet.",
    "verbatim": "The rules found nothing word for word.",
}
_VERDICTS: tuple[tuple[Verdict, str], ...] = (
    ("leak", "It is a leak"),
    ("not_leak", "Not a leak"),
    ("clear", "Take it back"),
)


class LeaksQueue:
    """The queue. `view` gives the values of `outputs`; `wire_*` connect it."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        gr.HTML('<h3 class="ds-h3">Is it a leak?</h3>')
        with gr.Row(elem_id="curate-leaks-ask-row"):
            self.teacher = gr.Dropdown(
                [STARTER.name],
                value=STARTER.name,
                label="Let a model read the queue first",
                info="Its opinion stands beside each candidate, with its name. It removes nothing.",
                elem_id="curate-leaks-teacher",
                scale=3,
            )
            self.most = gr.Number(
                ASKED,
                label="Candidates, from the top",
                precision=0,
                minimum=1,
                elem_id="curate-leaks-most",
            )
            self.ask = _small_button("Ask it", "curate-leaks-ask", 110)
        with gr.Row(elem_id="curate-leaks-nav"):
            self.which = gr.Radio(
                [
                    ("To judge", "open"),
                    ("A model says leak", "leak"),
                    ("It gave no answer", "failed"),
                    ("Judged", "judged"),
                    ("Word for word", "verbatim"),
                ],
                value="open",
                show_label=False,
                elem_id="curate-leaks-which",
                min_width=260,
            )
            self.position = gr.HTML(elem_id="curate-leaks-position", min_width=90)
            self.back = _small_button("Previous", "curate-leaks-previous", 110)
            self.forth = _small_button("Next", "curate-leaks-next", 110)
        self.pair = gr.HTML(elem_id="curate-leaks-pair")
        with gr.Row(elem_id="curate-leaks-verdicts"):
            self.verdicts = {
                verdict: gr.Button(label, size="sm", elem_id=f"curate-leaks-{verdict}")
                for verdict, label in _VERDICTS
            }
        self.at = gr.State(0)
        self.current = gr.State(None)

    @property
    def outputs(self) -> list[Any]:
        """What one candidate fills."""
        return [self.at, self.current, self.position, self.pair, *self.verdicts.values()]

    def view(
        self, opened: Workspace, actor: Actor, name: str, which: str, at: int
    ) -> tuple[Any, ...]:
        """Place, candidate or find, heading, HTML and the buttons."""
        if which == "verbatim":
            return self._verbatim(opened, actor, name, at)
        asked: dict[str, Any] = {"judged": which == "judged", "opinion": _OPINIONS.get(which, "")}
        found = opened.leaks.queue(actor, name, limit=1, **asked)
        total = found.total
        at = at % total if total else 0
        if at:
            found = opened.leaks.queue(actor, name, limit=1, offset=at, **asked)
        if not found.candidates:
            return _nothing(which)
        one = found.candidates[0]
        return _shown(one, at, total, draw.candidate_html(one))

    def _verbatim(self, opened: Workspace, actor: Actor, name: str, at: int) -> tuple[Any, ...]:
        """As `view`, of what the rules found of a benchmark."""
        if not name:
            return _nothing("verbatim")
        found = opened.leaks.report(actor, name, limit=1, offset=max(0, at))
        total = found.finds
        if total and not 0 <= at < total:  # past either end: on from the other
            at %= total
            found = opened.leaks.report(actor, name, limit=1, offset=at)
        if not found.examples:
            return _nothing("verbatim")
        one = found.examples[0]
        return _shown(one, at, total, draw.find_html(one))

    def wire(self, pack: gr.Dropdown, jobs: JobsPanel) -> None:
        """Connect the way through the queue of the benchmark in `pack`, and the asking."""
        ui = self._ui

        @guarded
        def on_ask(request: gr.Request, workspace: str, teacher: str, most: float) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.leaks.ask(actor, teacher or "", most=int(most or ASKED))
            return jobs.poll(request, workspace)

        def stepping(by: int) -> Any:  # noqa: ANN401
            @guarded
            def step(
                request: gr.Request, workspace: str, name: str, which: str, at: int
            ) -> tuple[Any, ...]:
                return self.view(*ui.open(request, workspace), name, which, at + by)

            return step

        where = [ui.workspace, pack, self.which, self.at]
        self.ask.click(on_ask, [ui.workspace, self.teacher, self.most], jobs.outputs, **SAYING)
        for button, by in ((self.back, -1), (self.forth, 1)):
            button.click(stepping(by), where, self.outputs, **QUIET)

    def wire_verdicts(self, fill: Fill, choice: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
        """Connect the verdicts; `fill` gives the values of `outputs` for the values of `choice`.

        Returns their events, for what else they change.
        """
        ui = self._ui

        def judging(verdict: Verdict) -> Any:  # noqa: ANN401
            @guarded
            def judge(
                request: gr.Request,
                workspace: str,
                current: dict[str, Any] | None,
                *choice: Any,  # noqa: ANN401
            ) -> tuple[Any, ...]:
                opened, actor = ui.open(request, workspace)
                text = in_view(current, "text")
                opened.leaks.judge(actor, text["name"], text["item"], text["text_hash"], verdict)
                return fill(opened, actor, *choice)

            return judge

        inputs = [ui.workspace, self.current, *choice]
        return [
            button.click(judging(verdict), inputs, list(outputs), **QUIET)
            for verdict, button in self.verdicts.items()
        ]


def _nothing(which: str) -> tuple[Any, ...]:
    """`view` where there is nothing."""
    return 0, None, "", note(_NOTHING[which]), *[gr.Button(interactive=False)] * 3


def _shown(one: LeakCandidate | LeakExample, at: int, total: int, html: str) -> tuple[Any, ...]:
    """`view` of a candidate or find; a verdict that is there can be taken back."""
    current = {"name": one.pack, "item": one.item, "text_hash": one.text_hash}
    position = f"<span class='ds-note'>{at + 1} of {total}</span>"
    buttons = [gr.Button(interactive=v != "clear" or bool(one.verdict)) for v, _ in _VERDICTS]
    return at, current, position, html, *buttons


def _small_button(label: str, elem_id: str, min_width: int) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=elem_id, scale=0, min_width=min_width)
