"""What happens on the Evaluate tab: reads widgets, calls the service, formats.

Start from `CompareEvents`; `ui/tabs/evaluate.py` lays out the widgets and wires them to it.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import NotFound
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message
from distill_studio.core.records.comparison import TIE, Comparison, ModelCard, ModelRole
from distill_studio.services.checkpoints import parse_name
from distill_studio.services.evaluate import MOST
from distill_studio.services.held_out import HeldOutPrompts
from distill_studio.services.teacher_costs import Estimate
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.html import empty_state, note
from distill_studio.ui.panels.comparisons import (
    held_out_html,
    history_html,
    same_html,
    set_html,
)
from distill_studio.ui.panels.jobs import JobsPanel
from distill_studio.ui.panels.side_by_side import conversation_html, panes_html

WINNERS = ("1", "2", "3", "4", "tie", "both_bad")
WELCOME = empty_state(
    "Ask them the same question",
    "Choose two to four models, write a prompt or take a held-out one, and run. The answers appear "
    "side by side as they are written. Vote, and the vote becomes a preference for DPO.",
)
_EXAMPLES = 20
_HISTORY = 20
_LONGEST_CHOICE = 90
_PAGES_REMEMBERED = 2000


@dataclass(frozen=True)
class Widgets:
    """The tab's components."""

    no_student: gr.Row
    to_distill: gr.Button
    held_out: gr.HTML
    models: gr.Dropdown
    blind: gr.Checkbox
    context: gr.State
    earlier: gr.HTML
    prompt: gr.Textbox
    run: gr.Button
    stop: gr.Button
    fresh: gr.Button
    example: gr.Dropdown
    sampling: list[Any]
    panes: gr.HTML
    differing: gr.Row
    differ: gr.Checkbox
    against: gr.Dropdown
    current: gr.Textbox
    votes: dict[str, gr.Button]
    go_on: gr.Button
    said: gr.HTML
    count: gr.Slider
    run_set: gr.Button
    set_cost: gr.HTML
    panel: JobsPanel
    set_table: gr.HTML
    history: gr.HTML

    @property
    def marking(self) -> list[Any]:
        """Whether differences are shown, and from which answer: the events' last two inputs."""
        return [self.differ, self.against]

    @property
    def pane_outputs(self) -> list[Any]:
        """What `pane_updates` fills."""
        return [self.panes, self.differing, self.against]

    @property
    def vote_outputs(self) -> list[Any]:
        """What `vote_updates` fills."""
        return [*self.votes.values(), self.go_on, self.said]

    @property
    def view_outputs(self) -> list[Any]:
        """What `view_of` fills."""
        return [*self.pane_outputs, self.current, *self.vote_outputs]

    @property
    def shown(self) -> list[Any]:
        """What `CompareEvents.show` fills."""
        top = [self.models, self.no_student, *self.of_models]
        lists = [self.history, *self.panel.shown, self.set_table]
        return [*top, *lists, *self.view_outputs]

    @property
    def of_models(self) -> list[Any]:
        """What follows from the choice of models."""
        return [self.held_out, self.example, self.count]


class CompareEvents:
    """The handlers; each opens the workspace, calls one thing and formats it."""

    def __init__(self, ui: Ui, widgets: Widgets) -> None:
        self._ui = ui
        self._panel = widgets.panel
        self._view_outputs = len(widgets.view_outputs)
        self._greeted: OrderedDict[str, str] = OrderedDict()  # page's session -> workspace shown
        self._guard = threading.Lock()

    # -- filling the tab ------------------------------------------------------------------

    def show(
        self,
        request: gr.Request,
        workspace: str,
        chosen: list[str] | None,
        current: str,
        *marking: Any,  # noqa: ANN401  (two widgets' values)
    ) -> tuple[Any, ...]:
        """The whole tab; what was chosen and what stood in view stays."""
        opened, actor = self._ui.open(request, workspace)
        is_first = self._is_first(request, workspace)
        cards = opened.evaluate.models(actor)
        kept = [name for name in chosen or [] if name in {card.id for card in cards}]
        value: dict[str, Any] = {}
        if is_first and len(kept) < 2:
            value["value"] = kept = opened.evaluate.defaults(actor)
        values = (
            gr.Dropdown(choices=[(_choice(card), card.id) for card in cards], **value),
            gr.Row(visible=not any(card.role is ModelRole.STUDENT for card in cards)),
            *self.on_models(request, workspace, kept),
            self._history(request, workspace),
            *self._panel.show(request, workspace),
            self.newest_set(request, workspace),
            *self._in_view(request, workspace, current, is_first, *marking),
        )
        self._greet(request, workspace)
        return values

    def _is_first(self, request: gr.Request, workspace: str) -> bool:
        """True until this page has shown this workspace: afterwards, what is chosen stays."""
        with self._guard:
            return self._greeted.get(request.session_hash or "") != workspace

    def _greet(self, request: gr.Request, workspace: str) -> bool:
        """Note that this page has shown this workspace; True for the first time."""
        page = request.session_hash or ""
        with self._guard:
            is_first = self._greeted.get(page) != workspace
            self._greeted[page] = workspace
            self._greeted.move_to_end(page)
            while len(self._greeted) > _PAGES_REMEMBERED:
                self._greeted.popitem(last=False)
        return is_first

    def on_models(
        self, request: gr.Request, workspace: str, chosen: list[str] | None
    ) -> tuple[Any, ...]:
        """A line per chosen student, what equal models are, prompts no student learnt from."""
        opened, actor = self._ui.open(request, workspace)
        students = [name.partition(":")[2] for name in chosen or [] if name.startswith("student:")]
        runs = [run for run, step in map(parse_name, students) if step is None]
        figures = held_out_html([opened.evaluate.heldout(actor, run) for run in runs])
        found = opened.evaluate.examples(actor, _EXAMPLES, chosen)
        return (figures + same_html(opened.evaluate.same(actor, chosen or [])), *_prompts_of(found))

    def newest_set(self, request: gr.Request, workspace: str) -> str:
        """The table of the newest prompt set."""
        opened, actor = self._ui.open(request, workspace)
        jobs = opened.jobs.page(actor, kinds=["compare_set"], limit=1)
        found = opened.evaluate.page(actor, limit=100, set_id=jobs[0].id) if jobs else []
        return set_html(found, workspace)

    def _history(self, request: gr.Request, workspace: str) -> str:
        opened, actor = self._ui.open(request, workspace)
        return history_html(opened.evaluate.page(actor, limit=_HISTORY), workspace)

    def _in_view(
        self,
        request: gr.Request,
        workspace: str,
        current: str,
        is_first: bool,
        *marking: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """What stood in view, else what the page's address names, if this workspace has it."""
        wanted = current or request.query_params.get("comparison", "")
        if not current and not is_first:
            return (gr.skip(),) * self._view_outputs
        opened, actor = self._ui.open(request, workspace)
        try:
            return view_of(opened.evaluate.get(actor, wanted) if wanted else None, *marking)
        except NotFound:  # an old link, or another workspace's
            return view_of(None, *marking)

    # -- asking ---------------------------------------------------------------------------

    async def on_run(
        self,
        request: gr.Request,
        workspace: str,
        chosen: list[str] | None,
        blind: bool,
        turns: list[dict[str, Any]],
        text: str,
        *sampling: Any,  # noqa: ANN401  (four widgets' values)
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Stream all answers into the panes; one event, so that no model waits for another.

        The page is busy from the first frame on: what is refused comes before it.
        """
        opened, actor = self._ui.open(request, workspace)
        messages = [Message(**turn) for turn in turns] + [Message(role="user", content=text or "")]
        settings = _sampling(*sampling)
        buttons: tuple[Any, ...] = (gr.Button(interactive=False), gr.Button(visible=True))
        async for frame in opened.evaluate.stream(actor, chosen or [], messages, settings, blind):
            yield panes_html(frame), frame.id, *buttons
            buttons = (gr.skip(), gr.skip())

    def after_run(
        self, request: gr.Request, workspace: str, name: str, is_marked: bool, against: str | None
    ) -> tuple[Any, ...]:
        """The buttons for what now stands in the panes, its differences, and the history."""
        opened, actor = self._ui.open(request, workspace)
        try:
            found = opened.evaluate.get(actor, name) if name else None
        except NotFound:  # stopped before a word was written: nothing is stored
            found = None
        panes = pane_updates(found, is_marked, against) if found else (gr.skip(),) * 3
        idle = (gr.Button(interactive=True), gr.Button(visible=False))
        return (*idle, *panes, *vote_updates(found), self._history(request, workspace))

    def on_stop(self, request: gr.Request, workspace: str, name: str) -> None:
        """Stop the comparison in view."""
        opened, actor = self._ui.open(request, workspace)
        opened.evaluate.stop(actor, name)

    def on_example(self, packed: str | None) -> tuple[Any, ...]:
        """Put a held-out prompt into the box, and what was said before it above."""
        if not packed:
            return (gr.skip(),) * 4
        turns = [Message(**turn) for turn in json.loads(packed)]
        return (turns[-1].content, *_context_updates(turns[:-1]))

    def on_continue(self, request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        """Go on from the preferred answer; all models get the same conversation."""
        opened, actor = self._ui.open(request, workspace)
        return ("", *_context_updates(_continued(opened.evaluate.get(actor, name))))

    def on_fresh(self) -> tuple[Any, ...]:
        """Forget the conversation before the prompt."""
        return ("", *_context_updates([]))

    def on_set(
        self,
        request: gr.Request,
        workspace: str,
        chosen: list[str] | None,
        blind: bool,
        count: float,
        *sampling: Any,  # noqa: ANN401  (four widgets' values)
    ) -> Any:  # noqa: ANN401
        """Start a prompt set."""
        opened, actor = self._ui.open(request, workspace)
        s = _sampling(*sampling)
        opened.evaluate.compare_set(
            actor,
            chosen or [],
            count=int(count),
            temperature=s.temperature,
            top_p=s.top_p,
            max_tokens=s.max_tokens,
            seed=s.seed,
            blind=blind,
        )
        return self._panel.poll(request, workspace)

    @staticmethod
    def set_cost(
        opened: Workspace, actor: Actor, chosen: list[str] | None, count: float, longest: float
    ) -> list[Estimate]:
        """About what a prompt set takes."""
        return opened.evaluate.estimate(actor, chosen or [], int(count), max_tokens=int(longest))

    # -- looking and voting ---------------------------------------------------------------

    def on_vote(self, winner: str) -> Callable[..., tuple[Any, ...]]:
        """The handler of one vote button."""

        def vote(
            request: gr.Request,
            workspace: str,
            name: str,
            *marking: Any,  # noqa: ANN401
        ) -> tuple[Any, ...]:
            opened, actor = self._ui.open(request, workspace)
            voted = opened.evaluate.vote(actor, name, winner)
            history = self._history(request, workspace)
            return (*view_of(voted, *marking), history, self.newest_set(request, workspace))

        return vote

    def on_open(
        self,
        event: gr.EventData,
        request: gr.Request,
        workspace: str,
        is_marked: bool,
        against: str | None,
    ) -> tuple[Any, ...]:
        """Show a comparison from a list."""
        opened, actor = self._ui.open(request, workspace)
        found = opened.evaluate.get(actor, str(event._data["value"]))
        return view_of(found, is_marked, against)

    def on_marking(
        self, request: gr.Request, workspace: str, name: str, is_marked: bool, against: str | None
    ) -> tuple[Any, ...]:
        """Show or hide the differences of what is in view."""
        opened, actor = self._ui.open(request, workspace)
        found = opened.evaluate.get(actor, name) if name else None
        if found is None or not found.is_final:  # what streams is drawn by its own event
            return (gr.skip(),) * 3
        return pane_updates(found, is_marked, against)


def view_of(
    comparison: Comparison | None, is_marked: bool = False, against: str | None = None
) -> tuple[Any, ...]:
    """Values for `Widgets.view_outputs`."""
    panes = pane_updates(comparison, is_marked, against)
    return (*panes, comparison.id if comparison else "", *vote_updates(comparison))


def pane_updates(
    comparison: Comparison | None, is_marked: bool, against: str | None
) -> tuple[Any, ...]:
    """The panes, and the switch for their differences with the answers to choose from."""
    if comparison is None:
        return WELCOME, gr.Row(visible=False), gr.skip()
    places = [
        (f"{place}  {answer.card.label}", str(place))
        for place, answer in enumerate(comparison.answers, start=1)
    ]
    wanted = against if against in [value for _, value in places] else "1"
    return (
        panes_html(comparison, int(wanted) if is_marked else 0),
        gr.Row(visible=comparison.is_final),
        gr.Dropdown(choices=places, value=wanted, visible=is_marked),
    )


def vote_updates(comparison: Comparison | None) -> tuple[Any, ...]:
    """Vote buttons, Continue and the line under them, for what is in view."""
    answers = comparison.answers if comparison else ()
    can_vote = comparison is not None and comparison.is_votable
    can_prefer = can_vote and not (comparison and comparison.is_all_same)
    places = [
        gr.Button(
            f"{i + 1}  {answers[i].card.label}" if i < len(answers) else str(i + 1),
            visible=can_prefer and i < len(answers),
            interactive=i < len(answers) and answers[i].is_ok,
        )
        for i in range(MOST)
    ]
    return (
        *places,
        gr.Button("T  Tie", visible=can_vote),
        gr.Button("B  All bad", visible=can_prefer),
        gr.Button(visible=bool(comparison and _continued(comparison))),
        _said(comparison),
    )


_IN_ARENA = {
    True: "Vote again to change it; with the names shown it is then not blind any more.",
    False: "The names are shown: the arena leaves such votes out unless asked. Blind ones count.",
}


def _said(comparison: Comparison | None) -> str:
    if comparison is None or not comparison.is_final:
        return ""
    if comparison.verdict is not None:
        said = f"Your vote is stored; it counts in Prefer. {_IN_ARENA[comparison.is_blind]}"
        return note(" ".join(part for part in (_same(comparison), said) if part))
    if not comparison.is_votable:
        return note("Nothing to vote on: fewer than two answers are complete.", "warn")
    asked = "Which answer is better? Click, or press its number, T or B."
    if comparison.is_all_same:
        asked = ""
    sighted = "" if comparison.is_blind else _IN_ARENA[False]
    return note(" ".join(part for part in (_same(comparison), asked, sighted) if part))


def _same(comparison: Comparison) -> str:
    """Which answers have the same words, and what a vote between them is; '' for none."""
    if comparison.is_all_same:
        both = len(comparison.answers) == 2
        which = "Both" if both else "All complete"
        vote = "your vote counts" if comparison.winner == TIE else "a vote would count"
        return f"{which} answers are the same: {vote} as a tie."
    groups = [" and ".join(map(str, places)) for places in comparison.same_places]
    return " ".join(
        f"Answers {group} are the same: between them a vote counts as a tie." for group in groups
    )


def _continued(comparison: Comparison) -> list[Message]:
    """The conversation with the preferred answer; empty when none was preferred."""
    if not comparison.winner.isdigit():
        return []
    best = comparison.answers[int(comparison.winner) - 1]
    return [*comparison.messages, Message(role="assistant", content=best.text)]


def _context_updates(turns: list[Message]) -> tuple[Any, ...]:
    """The conversation before the prompt: its state, its view, and Start anew."""
    kept = [turn.model_dump() for turn in turns]
    return kept, conversation_html(turns) if turns else "", gr.Button(visible=bool(turns))


def _prompts_of(found: HeldOutPrompts) -> tuple[Any, ...]:
    """The menu of held-out prompts and the number of a set's, named after their snapshot."""
    choices = [(_short(turns[-1].content), _packed(turns)) for turns in found.prompts]
    of = f" of the snapshot {found.snapshot}" if found.snapshot else ""
    gone = ", ".join(found.unknown)
    info = f"What {gone} learnt from is gone: it may be among these." if gone else ""
    return (
        gr.Dropdown(
            choices,
            value=None,
            label=f"Or take a held-out prompt{of}",
            info=info,
            visible=bool(choices),
        ),
        gr.Slider(label=f"Held-out prompts{of}", info=info),
    )


def _choice(card: ModelCard) -> str:
    role = "checkpoint" if card.step is not None else card.role and card.role.value
    return f"{card.label} · {role}" if role else card.label


def _packed(turns: list[Message]) -> str:
    return json.dumps([turn.model_dump() for turn in turns])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_CHOICE else line[: _LONGEST_CHOICE - 1].rstrip() + "…"


def _sampling(
    temperature: float, top_p: float, max_tokens: float, seed: float | None
) -> SamplingParams:
    return SamplingParams(
        temperature=temperature,
        top_p=top_p,
        max_tokens=int(max_tokens),
        seed=None if seed is None else int(seed),
    )
