"""The long work of a trial: asking each model and scoring its answers. Start at `TrialWork.run`.

Each answer is scored and stored as it comes, so that a job that was stopped goes on with what is
missing. Failures are stored with their reason and asked again by a later start of the same job; a
model that cannot be loaded fails alone, and the others are asked.
Where scoring is long work of its own (a judge, a teacher that reads), answers are stored as drafts
first, and what only lacks its score is not written anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.errors import Cancelled, InvalidInput, StudioError, Unavailable
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.suite import DRAFT, Suite, SuiteAnswer, SuiteItem, Trial
from distill_studio.services.asking import Asking
from distill_studio.services.comparable_models import ComparableModels, facts_of
from distill_studio.services.jobs import JobContext, NeedsKey
from distill_studio.services.suite_agreement import agree, teacher_first
from distill_studio.services.suite_judging import judge_answers
from distill_studio.services.suite_scoring import score_answer
from distill_studio.services.suite_weighing import weigh
from distill_studio.store import suites as table
from distill_studio.store.database import Database

Missing = Sequence[tuple[SuiteItem, int]]
_SCORING_THREADS = 2
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
        self._steps = 2 if self.suite.scorer.has_drafts else 1  # for the progress of an answer
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
        missing = [
            (item, sample)
            for item in self.items
            for sample in range(self.trial.samples)
            if (item.number, sample) not in known
        ]
        self._done += (len(self.items) * self.trial.samples - len(missing)) * self._steps
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
            there = self.drafts(card) if self.suite.scorer.has_drafts else {}
            self.keep(
                card,
                [
                    SuiteAnswer(model=card.id, number=item.number, sample=sample, error=str(why))
                    for item, sample in missing
                    if (item.number, sample) not in there
                ],
            )
        return _CannotAsk(why)

    def _score(self, card: ModelCard, model: ChatModel, missing: Missing) -> None:
        items = [item for item, _ in missing]
        match self.suite.scorer:
            case scorer if not scorer.has_drafts and scorer.is_weighed:
                weigh(self, card, model, items)
            case scorer if scorer.has_drafts and scorer.is_weighed:
                agree(self, card, model, items)
            case scorer if scorer.has_drafts:
                judge_answers(self, card, model, missing)
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
            if answer.error and answer.answer
        }

    def skip_writing(self, drafts: int) -> None:
        """So many answers were written before this job."""
        self._done += drafts

    def keep(self, card: ModelCard, answers: Sequence[SuiteAnswer]) -> None:
        """Store answers, and count them; a score of what was a draft is the second of two steps."""
        if not answers:
            return
        table.add_answers(self.db, self.trial.id, answers)
        self.failed += sum(bool(a.error) and not a.is_draft for a in answers)
        has_drafts = self.suite.scorer.has_drafts
        self._done += sum(1 if has_drafts and a.answer else self._steps for a in answers)
        self.say(card.label)

    async def write(self, card: ModelCard, model: ChatModel, missing: Missing) -> None:
        """Have a model answer; each answer is scored, or kept as a draft, as it comes."""
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
        loop = asyncio.get_running_loop()
        started, written = time.monotonic(), 0
        replies: AsyncIterator[ChatReply] = model.generate(requests, self.context.cancel)
        with ThreadPoolExecutor(_SCORING_THREADS, thread_name_prefix="suite") as threads:
            scoring: set[asyncio.Future[SuiteAnswer]] = set()
            async for reply in replies:
                written += reply.completion_tokens or 0
                scoring.add(
                    loop.run_in_executor(threads, self._scored, card, reply, *asked[reply.key])
                )
                ready = {one for one in scoring if one.done()}
                scoring -= ready
                self.keep(card, [one.result() for one in ready])
            if written:
                self._timed(card, written, time.monotonic() - started)
            self.keep(card, list(await asyncio.gather(*scoring)))
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

    def _scored(
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
        if self.suite.scorer.has_drafts:
            if not reply.text.strip():
                return SuiteAnswer(**fields | {"answer": ""}, **self._empty())
            return SuiteAnswer(**fields, error=DRAFT)
        found = score_answer(self.suite.scorer, reply.text, item)
        return SuiteAnswer(**fields, score=found.score, reason=found.reason)

    def _empty(self) -> dict[str, Any]:
        """What becomes of an answer without a word."""
        if self.suite.scorer.is_weighed:
            return {"error": "It wrote nothing, so there is nothing to read."}
        return {"score": 0.0, "reason": "It wrote nothing."}
