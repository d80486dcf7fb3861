"""One generation at work: from a job's parameters to rows in the store.

`GenerationRun.run` asks what is missing and nothing else, so a job that was cut off goes on where
it stopped. It runs on the job's thread, in an event loop of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.errors import TeacherError
from distill_studio.core.protocols import ChatReply, SamplingParams
from distill_studio.core.records import Failure, Pair, Record, TeacherKind
from distill_studio.generate.meter import Meter, in_words
from distill_studio.generate.parse import NOT_VERIFIED, parse
from distill_studio.generate.recipes import RECIPES, Ask, Recipe, reseeded
from distill_studio.generate.runner import Line, Outcome, Runner
from distill_studio.services import verification
from distill_studio.store import failures as failures_table
from distill_studio.store import generation as table
from distill_studio.store import jobs as jobs_table
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from distill_studio.verify import Verdict

if TYPE_CHECKING:
    from distill_studio.services.jobs import JobContext
    from distill_studio.services.workspace import Workspace

_PAGE = 200  # seeds in memory at a time, per teacher
_LOCAL_IN_FLIGHT = 64  # the engine batches them as it sees fit


class GenerationPlan(Record):
    """Input of a generation job."""

    selection: str = Field(default="", description="Id of the fixed list of seeds.")
    teachers: tuple[str, ...] = Field(min_length=1, description="Names of the teachers.")
    recipe: str = Field(description="Key of RECIPES.")
    n: int = Field(default=1, ge=1, description="Answers per seed and teacher, as asked for.")
    sampling: SamplingParams = Field(default=SamplingParams(), description="How to sample.")
    system_prompt: str = Field(default="", description="Put before seeds that have none.")

    @property
    def recipe_object(self) -> Recipe:
        """The recipe itself."""
        return RECIPES[self.recipe]

    @property
    def samples(self) -> int:
        """Answers per seed and teacher, as the recipe makes them."""
        return self.recipe_object.samples(self.n)

    def asks_for(self, teacher: int, seeds: Sequence[Any]) -> Iterator[Ask]:
        """What teacher number `teacher` is asked; each has its own range of sample numbers."""
        system_prompt = self.system_prompt or self.recipe_object.prompts.system_prompt
        for seed in seeds:
            for sample in range(teacher * self.samples, (teacher + 1) * self.samples):
                yield from self.recipe_object.requests_for(
                    seed, sample, self.sampling, system_prompt
                )


@dataclass
class _Counts:
    """Where the job stands."""

    requests: int
    answered: int = 0
    failed: int = 0
    tokens: int = 0


class GenerationRun:
    """One run of a generation job.

    Args:
        workspace: Whose store and teachers.
        context: The job's.
    """

    def __init__(self, workspace: Workspace, context: JobContext) -> None:
        self._workspace = workspace
        self._db = workspace.db
        self._context = context
        self._job_id = context.job.id
        self._plan = GenerationPlan(**context.params)
        self._meter = Meter(time.monotonic)
        self._is_verified = self._plan.recipe_object.prompts.is_verified
        self._counts = self._count()

    def run(self) -> dict[str, Any]:
        """Ask what is missing; returns the final counts.

        Raises:
            NeedsKey: A teacher's session key is gone.
            TeacherError: A teacher could not answer at all, or nothing was answered.
            Cancelled: Somebody stopped it; what arrived is stored.
        """
        lines = [self._line(number, name) for number, name in enumerate(self._plan.teachers)]
        try:
            asyncio.run(self._ask(lines))
        finally:
            self._counts = self._count()
            self._report()
        counts = self._counts
        if counts.failed and not counts.answered and not self._is_verified:
            worst = failures_table.by_reason(self._db, self._job_id, 1)[0]
            raise TeacherError(f"None of {counts.failed} requests was answered: {worst['reason']}")
        return self._result()

    # -- asking ---------------------------------------------------------------------------

    async def _ask(self, lines: Sequence[Line]) -> None:
        runner = Runner(self._commit, self._context.cancel, self._report)
        try:
            await runner.run(lines)
        finally:
            for line in lines:
                if isinstance(line.model, OpenAIChatModel):
                    await line.model.aclose()

    def _line(self, number: int, name: str) -> Line:
        config = self._workspace.teachers.config(name)
        is_local = config.kind is TeacherKind.LOCAL
        return Line(
            teacher=name,
            model=self._workspace.teachers.model(name),
            asks=self._missing(number),
            workers=_LOCAL_IN_FLIGHT if is_local else config.concurrency,
            check=self._check if self._is_verified else None,
        )

    async def _check(self, ask: Ask, reply: ChatReply) -> Verdict:
        return await verification.check(self._workspace.studio.verifier, ask, reply)

    def _missing(self, teacher: int) -> Iterator[Ask]:
        """The requests without an answer, a page of seeds at a time."""
        after = ""
        while page := table.page_selected(self._db, self._plan.selection, after, _PAGE):
            first, after = page[0].id, page[-1].id
            answered = table.answered_keys(self._db, self._job_id, first, after)
            tried = failures_table.attempts(self._db, self._job_id, NOT_VERIFIED, first, after)
            for ask in self._plan.asks_for(teacher, page):
                key = (ask.seed.id, ask.step, ask.sample)
                if key not in answered:
                    yield reseeded(ask, tried[key]) if key in tried else ask

    # -- storing --------------------------------------------------------------------------

    def _commit(self, group: Sequence[Outcome]) -> None:
        recipe = self._plan.recipe_object.prompts
        rows = [
            parse(
                o.ask,
                o.reply,
                job_id=self._job_id,
                teacher=o.teacher,
                recipe=recipe,
                verdict=o.verdict,
            )
            for o in group
        ]
        pairs = [row for row in rows if isinstance(row, Pair)]
        failures = [row for row in rows if isinstance(row, Failure)]
        table.commit(self._db, self._job_id, pairs, failures)
        tokens = sum(pair.completion_tokens or 0 for pair in pairs)
        self._meter.add(len(group), tokens)
        self._counts.answered += len(pairs)
        self._counts.tokens += tokens
        self._counts.failed = failures_table.count(self._db, self._job_id)

    # -- telling --------------------------------------------------------------------------

    def _count(self) -> _Counts:
        seeds = table.count_selected(self._db, self._plan.selection)
        stored = table.answered(self._db, self._job_id)
        return _Counts(
            requests=seeds * self._plan.samples * len(self._plan.teachers),
            answered=stored["answers"],
            failed=failures_table.count(self._db, self._job_id),
            tokens=stored["tokens"],
        )

    def _result(self) -> dict[str, Any]:
        counts = self._counts
        _, tokens_per_s = self._meter.rates()
        missing = max(0, counts.requests - counts.answered - counts.failed)
        return {
            "requests": counts.requests,
            "answered": counts.answered,
            "failed": counts.failed,
            "tokens": counts.tokens,
            "tokens_per_s": round(tokens_per_s, 1),
            "eta_s": self._meter.eta_s(missing) if missing else None,
        }

    def _report(self) -> None:
        result = self._result()
        parts = [f"{result['answered']} {'verified' if self._is_verified else 'answered'}"]
        if result["failed"]:
            parts.append(f"{result['failed']} {'not' if self._is_verified else 'failed'}")
        if result["tokens_per_s"]:
            parts.append(f"{result['tokens_per_s']:.0f} tokens/s")
        if result["eta_s"] is not None:
            parts.append(f"about {in_words(result['eta_s'])} left")
        jobs_table.update(
            self._db,
            self._job_id,
            done=min(result["requests"], result["answered"] + result["failed"]),
            total=result["requests"],
            note=", ".join(parts),
            result=result,
        )
