"""Written answers scored by a rule, beside the asking. Start at `RuleScoring` or `score_drafts`.

A rule may run a model's code, ten seconds where it loops, while answers come by the dozen. So
what is not scored at once is stored as a draft. Whatever ends the asking leaves drafts, and a later
job scores them by `score_drafts`, without asking the model again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.suite import SuiteAnswer, SuiteItem
from distill_studio.services.suite_scoring import Scored, score_answer

if TYPE_CHECKING:
    from distill_studio.services.suite_work import TrialWork

_THREADS = 2
_AT_ONCE_S = 0.03  # two writes take about as long: numbers and words are scored within it
_POLL_S = 0.1  # how soon a stop is noticed


class RuleScoring:
    """Scores answers a few at a time, and stores each score as it is found.

    As a context it waits for nothing at its end: what is not scored by then stays a draft.

    Args:
        work: Whose answers.
        card: Of the model that wrote them.
    """

    def __init__(self, work: TrialWork, card: ModelCard) -> None:
        self._work, self._card = work, card
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="suite")
        self._open: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._open:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def store(self, draft: SuiteAnswer, item: SuiteItem) -> None:
        """Store what has just been written: scored where that takes no time, else as it is.

        Raises:
            StudioError: An earlier one could not be scored (no sandbox here).
        """
        found = self._begin(draft, item)
        if len(self._open) < _THREADS:
            await asyncio.wait({found}, timeout=_AT_ONCE_S)
        if found.done() and found.exception() is None:
            self._keep(draft, found.result())
        else:
            self._work.keep(self._card, [draft])
            self._open.add(asyncio.create_task(self._follow(draft, found)))
        self._settle({task for task in self._open if task.done()})

    def add(self, draft: SuiteAnswer, item: SuiteItem) -> None:
        """Score a draft that is stored already, when its turn comes."""
        self._open.add(asyncio.create_task(self._follow(draft, self._begin(draft, item))))

    async def finish(self) -> None:
        """Wait until all are scored.

        Raises:
            Cancelled: Somebody asked to stop.
            StudioError: One could not be scored.
        """
        while self._open:
            self._work.context.cancel.raise_if_cancelled()
            done, _ = await asyncio.wait(
                self._open, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED
            )
            self._settle(done)

    def _begin(self, draft: SuiteAnswer, item: SuiteItem) -> asyncio.Future[Scored]:
        scorer = self._work.suite.scorer
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, score_answer, scorer, draft.answer, item)

    async def _follow(self, draft: SuiteAnswer, found: asyncio.Future[Scored]) -> None:
        self._keep(draft, await found)

    def _keep(self, draft: SuiteAnswer, found: Scored) -> None:
        scored = {"error": "", "score": found.score, "reason": found.reason}
        self._work.keep(self._card, [draft.model_copy(update=scored)])

    def _settle(self, done: Collection[asyncio.Task[None]]) -> None:
        self._open.difference_update(done)
        for error in [task.exception() for task in done]:
            if error is not None:
                raise error


async def score_drafts(
    work: TrialWork, card: ModelCard, drafts: Sequence[tuple[SuiteAnswer, SuiteItem]]
) -> None:
    """Score what a model wrote in an earlier job.

    Raises:
        Cancelled: Somebody asked to stop.
        StudioError: One could not be scored.
    """
    with RuleScoring(work, card) as scoring:
        for draft, item in drafts:
            scoring.add(draft, item)
        await scoring.finish()
