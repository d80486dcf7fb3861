"""The long work of a trial: asking each model and scoring its answers. Start at `TrialWork.run`.

Each answer is stored as it comes, as a draft where its score takes time: rules score beside the
asking, a judge or a teacher that reads when all is written. So a job that was stopped goes on with
what is missing, and what only lacks its score is not written anew. Failures are stored with their
reason and asked again by a later start of the same job; a model that cannot be loaded fails alone,
and the others are asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.errors import Cancelled, InvalidInput, StudioError, Unavailable
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.suite import (
    DRAFT,
    Suite,
    SuiteAnswer,
    SuiteItem,
    SuiteScorer,
    Trial,
)
from distill_studio.services.asking import Asking
from distill_studio.services.comparable_models import ComparableModels, facts_of
from distill_studio.services.jobs import JobContext, NeedsKey
from distill_studio.services.suite_agreement import agree, teacher_first
from distill_studio.services.suite_judging import judge_answers
from distill_studio.services.suite_rules import RuleScoring, score_drafts
from distill_studio.services.suite_weighing import weigh
from distill_studio.store import suites as table
from distill_studio.store.database import Database

Missing = Sequence[tuple[SuiteItem, int]]
# What libraries raise for weights that are broken, too large or of a kind they do not know.
_NOT_LOADED = (OSError, RuntimeError, ValueError, KeyError, ImportError, MemoryError)


class _CannotAsk(Exception):
    """A model that gave no answer at all; the others are asked."""

    def __init__(self, why: StudioError) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass
class TrialWork:
    """One trial at work: model after model.

    Args:
        db: The store.
        suite: What is asked.
        trial: Of whom.
        context: Of the job.
        comparable: Where models are.
        asking: How they are reached.
    """

    db: Database
    suite: Suite
    trial: Trial
    context: JobContext
    comparable: ComparableModels
    asking: Asking
    failed: int = 0
    _cards: dict[str, ModelCard] = field(default_factory=dict)
    _done: int = 0

    def __post_init__(self) -> None:
        self.items = table.items(self.db, self.suite.id, limit=self.trial.most_items)
        self._steps = 2 if self.suite.scorer.has_second_step else 1  # for the progress of an answer
        each = len(self.items) * self.trial.samples
        self.total = each * len(self.trial.models) * self._steps
        self._cards = {card.id: card for card in self.trial.models}

    def run(self) -> None:
        """Ask all models what they have not answered yet.

        Raises:
            NeedsKey: A model's key is gone; the others were asked.
            StudioError: No model could be asked at all.
        """
        problems: list[StudioError] = []
        for card in teacher_first(self.trial):
            self.context.cancel.raise_if_cancelled()
            try:
                self._ask(card)
            except _CannotAsk as err:
                problems.append(err.why)
        for problem in problems:
            if isinstance(problem, NeedsKey) or len(problems) == len(self.trial.models):
                raise problem

    def _ask(self, card: ModelCard) -> None:
        known = table.done(self.db, self.trial.id, card.id)
        missing: Missing = [
            (item, sample)
            for item in self.items
            for sample in range(self.trial.samples)
            if (item.number, sample) not in known
        ]
        self._done += (len(self.items) * self.trial.samples - len(missing)) * self._steps
        if self.suite.scorer.is_rule:
            missing = self._without_drafts(card, missing)
        if not missing:
            return
        self.say(f"loading {card.label}")
        try:
            model = self.asking.source(card)()
        except Cancelled:
            raise
        except (StudioError, *_NOT_LOADED) as err:
            raise self._without(card, missing, err) from err
        self._cards[card.id] = facts_of(model, card)
        table.set_models(self.db, self.trial.id, list(self._cards.values()))
        before = self.failed
        try:
            self._score(card, model, missing)
        except InvalidInput as err:
            if not self.suite.scorer.is_weighed:
                raise
            raise self._without(card, missing, err) from err  # its tokens are not the teacher's
        if failures := self.failed - before:
            self.context.log(f"{card.label}: {failures} of {len(missing)} answers failed.")

    def _without(self, card: ModelCard, missing: Missing, err: Exception) -> _CannotAsk:
        """Store the error in place of each answer that a model cannot give."""
        why = err if isinstance(err, StudioError) else Unavailable(f"{type(err).__name__}: {err}")
        self.context.log(f"{card.label} cannot be asked: {why}")
        if not isinstance(why, NeedsKey):  # else it is asked when the key is there
            there = self.drafts(card)
            self.keep(
                card,
                [
                    SuiteAnswer(model=card.id, number=item.number, sample=sample, error=str(why))
                    for item, sample in missing
                    if (item.number, sample) not in there
                ],
            )
        return _CannotAsk(why)

    def _without_drafts(self, card: ModelCard, missing: Missing) -> Missing:
        """Score what an earlier job left written; returns what has still to be asked."""
        there = {place: one for place, one in self.drafts(card).items() if one.is_draft}
        places = {(item.number, sample): item for item, sample in missing}
        if drafts := [(there[place], item) for place, item in places.items() if place in there]:
            self.say(f"scoring what {card.label} has written")
            asyncio.run(score_drafts(self, card, drafts))
        return [(item, sample) for item, sample in missing if (item.number, sample) not in there]

    def _score(self, card: ModelCard, model: ChatModel, missing: Missing) -> None:
        items = [item for item, _ in missing]
        match self.suite.scorer:
            case SuiteScorer.AGREEMENT:
                agree(self, card, model, items)
            case SuiteScorer.JUDGE:
                judge_answers(self, card, model, missing)
            case scorer if scorer.is_weighed:
                weigh(self, card, model, items)
            case _:
                asyncio.run(self.write(card, model, missing))

    # -- what the ways to score share -----------------------------------------------------

    def say(self, what: str) -> None:
        """How far it is, and what goes on."""
        self.context.progress(self._done, self.total, self.asking.said(what))

    def drafts(self, card: ModelCard) -> dict[tuple[int, int], SuiteAnswer]:
        """What a model has written that has no score, by number and sample."""
        return {
            (answer.number, answer.sample): answer
            for answer in table.of_model(self.db, self.trial.id, card.id)
            if answer.is_draft or (answer.error and answer.answer)
        }

    def skip_writing(self, drafts: int) -> None:
        """So many answers were written before this job."""
        self._done += drafts

    def keep(self, card: ModelCard, answers: Sequence[SuiteAnswer]) -> None:
        """Store answers, and count them: the score of a draft is its last step."""
        if not answers:
            return
        table.add_answers(self.db, self.trial.id, answers)
        self.failed += sum(bool(a.error) and not a.is_draft for a in answers)
        for one in answers:
            if one.is_draft:
                self._done += self._steps - 1
            else:
                self._done += 1 if one.answer else self._steps
        self.say(card.label)

    async def write(self, card: ModelCard, model: ChatModel, missing: Missing) -> None:
        """Have a model answer; each answer is stored as it comes, and scored where a rule does."""
        sampling = SamplingParams.model_validate(self.trial.sampling)
        asked: dict[str, tuple[SuiteItem, int]] = {}
        requests = []
        for item, sample in missing:
            key = f"{item.number}/{sample}"
            asked[key] = item, sample
            seed = None if sampling.seed is None else sampling.seed + sample
            requests.append(
                ChatRequest(
                    key=key,
                    messages=item.messages,
                    sampling=sampling.model_copy(update={"seed": seed}),
                )
            )
        started, written = time.monotonic(), 0
        replies: AsyncIterator[ChatReply] = model.generate(requests, self.context.cancel)
        with RuleScoring(self, card) as scoring:
            async for reply in replies:
                written += reply.completion_tokens or 0
                item, sample = asked[reply.key]
                answer = self._written(card, reply, item, sample)
                if answer.is_draft and self.suite.scorer.is_rule:
                    await scoring.store(answer, item)
                else:
                    self.keep(card, [answer])
            if written:
                self._timed(card, written, time.monotonic() - started)
            await scoring.finish()
        self.context.cancel.raise_if_cancelled()

    def _timed(self, card: ModelCard, tokens: int, took_s: float) -> None:
        """Add to what is known of a model's speed with so many requests in flight."""
        known = self._cards[card.id]
        self._cards[card.id] = known.model_copy(
            update={
                "written_tokens": known.written_tokens + tokens,
                "writing_s": known.writing_s + took_s,
            }
        )
        table.set_models(self.db, self.trial.id, list(self._cards.values()))

    def _written(
        self, card: ModelCard, reply: ChatReply, item: SuiteItem, sample: int
    ) -> SuiteAnswer:
        fields: dict[str, Any] = {
            "model": card.id,
            "number": item.number,
            "sample": sample,
            "answer": reply.text,
            "is_cut": reply.finish_reason == "length",
            "tokens": reply.completion_tokens,
            "prompt_tokens": reply.prompt_tokens,
            "latency_ms": reply.latency_ms,
        }
        if not reply.is_ok:
            return SuiteAnswer(**fields, error=reply.error or reply.error_code)
        if self.suite.scorer.has_second_step and not reply.text.strip():
            return SuiteAnswer(**fields | {"answer": ""}, **self._empty())
        return SuiteAnswer(**fields, error=DRAFT)

    def _empty(self) -> dict[str, Any]:
        """What becomes of an answer without a word."""
        if self.suite.scorer.is_weighed:
            return {"error": "It wrote nothing, so there is nothing to read."}
        return {"score": 0.0, "reason": "It wrote nothing."}
