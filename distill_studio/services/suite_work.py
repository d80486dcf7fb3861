"""The long work of a trial: asking each model and scoring its answers. Start at `TrialWork.run`.

Each answer is scored and stored as it comes, so that a job that was stopped goes on with what is
missing. Failures are stored with their reason and asked again by a later start of the same job.
Where scoring is long work of its own (a judge, a teacher that reads), answers are stored as drafts
first, and what only lacks its score is not written anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.suite import DRAFT, Suite, SuiteAnswer, SuiteItem, Trial
from distill_studio.services.asking import Asking
from distill_studio.services.comparable_models import ComparableModels, facts_of
from distill_studio.services.jobs import JobContext
from distill_studio.services.suite_agreement import agree, teacher_first
from distill_studio.services.suite_judging import judge_answers
from distill_studio.services.suite_scoring import score_answer
from distill_studio.services.suite_weighing import weigh
from distill_studio.store import suites as table
from distill_studio.store.database import Database

Missing = Sequence[tuple[SuiteItem, int]]
_SCORING_THREADS = 2


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
        """Ask all models what they have not answered yet."""
        for card in teacher_first(self.trial):
            self.context.cancel.raise_if_cancelled()
            self._ask(card)

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
        model = self.asking.source(card)()
        self._cards[card.id] = facts_of(model, card)
        table.set_models(self.db, self.trial.id, list(self._cards.values()))
        before = self.failed
        self._score(card, model, missing)
        if failures := self.failed - before:
            self.context.log(f"{card.label}: {failures} of {len(missing)} answers failed.")

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
        replies: AsyncIterator[ChatReply] = model.generate(requests, self.context.cancel)
        with ThreadPoolExecutor(_SCORING_THREADS, thread_name_prefix="suite") as threads:
            scoring: set[asyncio.Future[SuiteAnswer]] = set()
            async for reply in replies:
                scoring.add(
                    loop.run_in_executor(threads, self._scored, card, reply, *asked[reply.key])
                )
                ready = {one for one in scoring if one.done()}
                scoring -= ready
                self.keep(card, [one.result() for one in ready])
            self.keep(card, list(await asyncio.gather(*scoring)))
        self.context.cancel.raise_if_cancelled()

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
