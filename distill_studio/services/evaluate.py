"""Evaluate: the same prompt to teacher, base and student; votes become preferences.

`compare` answers once everything is written (command line, API); `stream` gives the comparison
as it grows (page). Both store it when it ends, also when it was stopped or nobody listens any
more.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatModel, SamplingParams
from distill_studio.core.records import Job, Message, Record
from distill_studio.core.records.comparison import TIE, Comparison, ModelCard, Verdict
from distill_studio.distill.config import METHOD_LABELS
from distill_studio.evaluate.blind import seen_by, shuffled
from distill_studio.evaluate.board import Board, empty_answers
from distill_studio.evaluate.compare import ModelSource, Started, fan_out
from distill_studio.evaluate.duels import place_of
from distill_studio.services import asking_estimates as estimates
from distill_studio.services.arena_votes import record_verdict
from distill_studio.services.asking import Asking
from distill_studio.services.base import Service
from distill_studio.services.comparable_models import ComparableModels, facts_of
from distill_studio.services.comparison_costs import costed
from distill_studio.services.held_out import MOST as MOST_HELD_OUT
from distill_studio.services.held_out import HeldOutPrompts, held_out
from distill_studio.services.jobs import JobContext
from distill_studio.services.sampling import sampling_of
from distill_studio.services.teacher_costs import Estimate
from distill_studio.store import evaluations as table
from distill_studio.teachers.prices import Price

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace


@dataclass(frozen=True)
class _Running:
    """A comparison on its way: how to stop it and what it has so far."""

    token: CancelToken
    board: Board


FEWEST, MOST = 2, 4
COMPARE_KIND, SET_KIND = "compare", "compare_set"
_LARGEST_SET = MOST_HELD_OUT


class HeldOut(Record):
    """Held-out figures of a run before and after its training, as the run measured them."""

    run: str = Field(description="Name of the run.")
    method: str = Field(description=f"One of {', '.join(METHOD_LABELS)}.")
    base: str = Field(default="", description="What it started from.")
    before: float | None = Field(default=None, description="Held-out loss before.")
    after: float | None = Field(default=None, description="Held-out loss after.")
    margin_before: float | None = Field(default=None, description="DPO, KTO: margin before.")
    margin_after: float | None = Field(default=None, description="DPO, KTO: margin after.")


class EvaluateService(Service):
    """Compare models side by side and vote."""

    word = "evaluate"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.comparable = ComparableModels(workspace)
        self._running: dict[str, _Running] = {}
        workspace.jobs.register(SET_KIND, self._run_set, "io")

    # -- what there is --------------------------------------------------------------------

    def models(self, actor: Actor) -> list[ModelCard]:
        """Models that can be compared: teachers, base models, then students, newest first."""
        actor.require(Role.VIEWER)
        return self.comparable.cards(actor)

    def defaults(self, actor: Actor) -> list[str]:
        """Ids of the models a first look compares: a teacher, a base, the newest student."""
        actor.require(Role.VIEWER)
        return self.comparable.defaults(actor)

    def same(self, actor: Actor, models: list[str]) -> list[list[ModelCard]]:
        """Those among these models that are the very same one, by group."""
        actor.require(Role.VIEWER)
        return self.comparable.same([self.comparable.card(actor, name) for name in models])

    def examples(
        self, actor: Actor, limit: int = 8, models: list[str] | None = None
    ) -> HeldOutPrompts:
        """Held-out conversations that no student among these models learnt from.

        They come from its own snapshot's validation split; without a student from the newest one's.
        """
        actor.require(Role.VIEWER)
        cards = [self.comparable.card(actor, name) for name in models or []]
        return held_out(self.workspace, cards, min(max(limit, 1), _LARGEST_SET))

    def heldout(self, actor: Actor, run_name: str) -> HeldOut:
        """A run's held-out loss before and after training (for DPO and KTO also the margin)."""
        actor.require(Role.VIEWER)
        run = self.workspace.distill.get(actor, run_name)
        return _held_out(run.name, run.method, run.config, run.metrics)

    # -- comparing ------------------------------------------------------------------------

    def compare(
        self,
        actor: Actor,
        models: list[str],
        prompt: str = "",
        messages: list[Message] | None = None,
        temperature: float = 0.0,
        top_p: float = 0.95,
        max_tokens: int = 256,
        seed: int | None = 0,
        blind: bool = False,
    ) -> Comparison:
        """Ask 2 to 4 models the same and wait for all answers; stored, with speed and length."""
        actor.require(Role.REVIEWER)
        sampling = sampling_of(temperature, top_p, max_tokens, seed)
        conversation = _conversation(prompt, messages)
        comparison = self._prepare(actor, models, conversation, sampling, blind)
        frames = self._frames(comparison, self._asking(comparison), sampling, CancelToken())
        last = asyncio.run(_last(frames))
        return self.get(actor, last.id)

    async def stream(
        self,
        actor_: Actor,
        models: list[str],
        messages: list[Message],
        sampling: SamplingParams,
        blind: bool = False,
    ) -> AsyncGenerator[Comparison, None]:
        """The comparison as it grows, about 16 times a second, masked when blind."""
        comparison = await asyncio.to_thread(
            self._prepare, actor_, models, messages, sampling, blind
        )
        asking = self._asking(comparison)
        async with aclosing(self._frames(comparison, asking, sampling, CancelToken())) as frames:
            async for frame in frames:
                yield seen_by(frame)

    def stop(self, actor: Actor, comparison_id: str) -> bool:
        """Stop a running comparison; what was written is stored. False when it does not run."""
        actor.require(Role.REVIEWER)
        running = self._running.get(comparison_id)
        if running is not None:
            running.token.cancel()
        return running is not None

    # -- what was compared ----------------------------------------------------------------

    def page(
        self, actor: Actor, before: str = "", limit: int = 20, set_id: str = ""
    ) -> list[Comparison]:
        """Comparisons, newest first, before the id `before`; with `set_id` one set in order."""
        actor.require(Role.VIEWER)
        limit = min(max(limit, 1), _LARGEST_SET)
        found = table.page(self.db, actor.user, before=before, limit=limit, set_id=set_id)
        return [seen_by(comparison) for comparison in found]

    def get(self, actor: Actor, comparison_id: str) -> Comparison:
        """One comparison; names stay hidden while it is blind and you have not voted.

        One that still runs is given as it stands.
        """
        actor.require(Role.VIEWER)
        running = self._running.get(comparison_id)
        if running is not None:
            return seen_by(running.board.comparison())
        return seen_by(self._stored(actor, comparison_id))

    def vote(self, actor: Actor, comparison_id: str, winner: str, vote_id: str = "") -> Comparison:
        """Say which answer is better: 1 to 4, a model's id, `tie` or `both_bad`.

        The prompt becomes a seed, the answers pairs, the vote preferences (the winner over each
        other answer); where all answers have the same words, a vote for one is a tie. A later vote
        on the same comparison takes the earlier one's place; the same `vote_id` again changes
        nothing.
        """
        actor.require(Role.REVIEWER)
        comparison = self._stored(actor, comparison_id)
        if winner not in ("tie", "both_bad"):
            place = place_of(seen_by(comparison), winner)
            is_same = comparison.is_all_same and comparison.answers[place].is_ok
            winner = TIE if is_same else str(place + 1)
        verdict = _verdict(winner, actor.user, vote_id or new_id())
        record_verdict(self.db, comparison, verdict)
        return self.get(actor, comparison_id)

    # -- sets -----------------------------------------------------------------------------

    def compare_set(
        self,
        actor: Actor,
        models: list[str],
        count: int = 10,
        prompts: list[str] | None = None,
        temperature: float = 0.0,
        top_p: float = 0.95,
        max_tokens: int = 256,
        seed: int | None = 0,
        blind: bool = False,
    ) -> Job:
        """Compare on several prompts in one job: those given, else held-out ones."""
        actor.require(Role.REVIEWER)
        sampling = sampling_of(temperature, top_p, max_tokens, seed)
        cards = self._chosen(actor, models)
        conversations = self._prompts(cards, count, prompts)
        return self.workspace.jobs.submit(
            actor,
            SET_KIND,
            f"Compare {len(cards)} models on {len(conversations)} prompts",
            {
                "models": [card.id for card in cards],
                "prompts": [[m.model_dump() for m in turns] for turns in conversations],
                "sampling": sampling.model_dump(mode="json"),
                "blind": blind,
                "is_given": prompts is not None,  # else held-out ones, of a snapshot
            },
        )

    def estimate(
        self,
        actor: Actor,
        models: list[str],
        count: int = 10,
        prompts: list[str] | None = None,
        max_tokens: int = 256,
    ) -> list[Estimate]:
        """About what `evaluate_compare_set` will cost at each teacher behind a URL."""
        actor.require(Role.VIEWER)
        cards = self._chosen(actor, models)
        asked = self._prompts(cards, count, prompts)
        return estimates.of_models(self.workspace, actor, cards, asked, max_tokens)

    def _prompts(
        self, cards: Sequence[ModelCard], count: int, prompts: list[str] | None
    ) -> list[list[Message]]:
        """Those of a set: given, else held out."""
        if not 1 <= count <= _LARGEST_SET:
            raise InvalidInput(f"A set has 1 to {_LARGEST_SET} prompts.")
        if prompts is None:
            found = held_out(self.workspace, cards, count).prompts
        else:
            found = [_conversation(text, None) for text in prompts]
        if not found:
            raise InvalidInput(
                "There are no held-out prompts for these models yet.",
                "Freeze a snapshot first, or give prompts.",
            )
        return found

    def _run_set(self, context: JobContext) -> dict[str, Any]:
        params, set_id = context.params, context.job.id
        sampling = SamplingParams(**params["sampling"])
        stored = table.numbers_of_set(self.db, set_id)
        total = len(params["prompts"])
        with Asking(self.workspace, set_id) as asking:
            for number, turns in enumerate(params["prompts"]):
                if number in stored:
                    continue
                context.cancel.raise_if_cancelled()
                asking.raise_if_spent()
                context.progress(number, total, asking.said(turns[-1]["content"][:80]))
                messages = [Message(**turn) for turn in turns]
                comparison = self._prepare(
                    context.actor, params["models"], messages, sampling, params["blind"]
                )
                place = {"set_id": set_id, "set_number": number}
                comparison = comparison.model_copy(update=place)
                frames = self._frames(comparison, asking, sampling, context.cancel)
                asyncio.run(_last(frames))
        context.cancel.raise_if_cancelled()
        context.progress(total, total, asking.said(f"{total} compared"))
        return {"set_id": set_id, "comparisons": total, "cost_usd": asking.cost_usd}

    # -- inside ---------------------------------------------------------------------------

    def _chosen(self, actor: Actor, models: Sequence[str]) -> list[ModelCard]:
        cards = [self.comparable.card(actor, name) for name in models]
        if len({card.id for card in cards}) != len(models) or not FEWEST <= len(cards) <= MOST:
            raise InvalidInput(f"Choose {FEWEST} to {MOST} different models.")
        return cards

    def _prepare(
        self,
        actor: Actor,
        models: Sequence[str],
        messages: Sequence[Message],
        sampling: SamplingParams,
        blind: bool,
    ) -> Comparison:
        actor.require(Role.REVIEWER)
        cards = self._chosen(actor, models)
        if blind:
            cards = shuffled(cards, random.SystemRandom())
        return Comparison(
            messages=tuple(_conversation("", list(messages))),
            answers=empty_answers(cards),
            sampling=sampling.model_dump(mode="json"),
            is_blind=blind,
            user=actor.user,
        )

    def _asking(self, comparison: Comparison) -> Asking:
        """For a comparison that is no job's."""
        who = ", ".join(sorted(answer.card.label for answer in comparison.answers))
        return Asking(self.workspace, comparison.id, COMPARE_KIND, f"Compare {who}")

    async def _frames(
        self,
        comparison: Comparison,
        asking: Asking,
        sampling: SamplingParams,
        cancel: CancelToken,
    ) -> AsyncGenerator[Comparison, None]:
        """The growing comparison; stored at the end, however it comes."""
        board = Board(comparison)
        sources = [asking.source(answer.card) for answer in comparison.answers]
        ready: dict[int, ModelCard] = {}
        noted = [_noting(source, ready, i, comparison) for i, source in enumerate(sources)]
        self._running[comparison.id] = _Running(cancel, board)
        try:
            yield comparison
            prices = await asyncio.to_thread(self._prices, comparison)
            events = fan_out(noted, comparison.messages, sampling, time.monotonic, cancel)
            async with aclosing(events) as batches:
                async for batch in batches:
                    for event in batch:
                        board.take(costed(event, prices[event.index], comparison.messages))
                        if isinstance(event, Started):
                            board.learn(event.index, ready[event.index])
                    yield board.comparison()
        finally:
            board.stop()
            await asyncio.to_thread(self._keep, board.comparison(), asking)

    def _prices(self, comparison: Comparison) -> list[Price | None]:
        return [self.comparable.price(answer.card) for answer in comparison.answers]

    def _keep(self, comparison: Comparison, asking: Asking) -> None:
        """Store it, unless nothing was written, or it was stopped inside a set (done again)."""
        is_cut = any(answer.state == "stopped" for answer in comparison.answers)
        has_said = any(a.text or a.state in ("done", "failed") for a in comparison.answers)
        try:
            with self.db.write():
                if has_said and not (comparison.set_id and is_cut):
                    table.insert(self.db, comparison)
                asking.save()
        finally:
            self._running.pop(comparison.id, None)  # only now: no moment in which it is nowhere

    def _stored(self, actor: Actor, comparison_id: str) -> Comparison:
        found = table.get(self.db, comparison_id, actor.user)
        if found is None:
            raise NotFound(
                "That comparison is not stored in this workspace.",
                "It may have been stopped before anything was written.",
            )
        return found


def _noting(
    source: ModelSource, ready: dict[int, ModelCard], index: int, comparison: Comparison
) -> ModelSource:
    """The same source; what the loaded model knows of itself is put into `ready`."""

    def get() -> ChatModel:
        model = source()
        ready[index] = facts_of(model, comparison.answers[index].card)
        return model

    return get


async def _last(frames: AsyncGenerator[Comparison, None]) -> Comparison:
    last: Comparison | None = None
    async for frame in frames:
        last = frame
    assert last is not None  # the first frame comes before any model is asked
    return last


def _conversation(prompt: str, messages: list[Message] | None) -> list[Message]:
    turns = list(messages or [])
    if prompt.strip():
        turns.append(Message(role="user", content=prompt))
    if not turns or turns[-1].role != "user" or not turns[-1].content.strip():
        raise InvalidInput("There is no question to answer.", "Write a prompt.")
    return turns


def _verdict(winner: str, user: str, vote_id: str) -> Verdict:
    if not 8 <= len(vote_id) <= 60:
        raise InvalidInput("A vote's id has 8 to 60 characters.", "Use a UUID.")
    return Verdict(winner=winner, user=user, vote_id=vote_id)


def _held_out(name: str, method: str, config: dict[str, Any], metrics: dict[str, Any]) -> HeldOut:
    return HeldOut(
        run=name,
        method=method,
        base=str(config.get("student", {}).get("base_id", "")),
        before=metrics.get("loss_before"),
        after=metrics.get("loss_after"),
        margin_before=metrics.get("margin_before"),
        margin_after=metrics.get("margin_after"),
    )
