"""One generation at work: from a job's parameters to rows in the store.

`GenerationRun.run` asks what is missing and nothing else, so a job that was cut off goes on where
it stopped. It runs on the job's thread, in an event loop of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from distill_studio.core.errors import TeacherError
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import AskedTotals, TeacherKind
from distill_studio.generate.drive import Asked, Ended
from distill_studio.generate.effects import RECIPE_CODES, Unit
from distill_studio.generate.meter import Meter, in_words
from distill_studio.generate.parse import Provenance, to_rows
from distill_studio.generate.runner import Endpoint, Line, Outcome, Runner, Taken
from distill_studio.generate.tally import Tally
from distill_studio.services.asking import cost_usd
from distill_studio.services.generation_help import GenerationHelp, examples
from distill_studio.services.generation_plan import GenerationPlan
from distill_studio.store import failures as failures_table
from distill_studio.store import generation as table
from distill_studio.store import generation_steps as steps_table
from distill_studio.store import jobs as jobs_table
from distill_studio.store import ledger
from distill_studio.store.generation_steps import StoredStep
from distill_studio.teachers.openai_compatible import OpenAIChatModel

if TYPE_CHECKING:
    from distill_studio.services.jobs import JobContext
    from distill_studio.services.workspace import Workspace

_PAGE = 200  # seeds in memory at a time, per teacher
_LOCAL_IN_FLIGHT = 64  # the engine batches them as it sees fit
_NO_REPLIES: Mapping[str, ChatReply] = {}


@dataclass
class _Counts:
    """Where the job stands. A unit is one run of the recipe over one seed."""

    units: int
    through: int = 0
    failed: int = 0
    pairs: int = 0
    preferences: int = 0
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
        self._prompts = self._plan.prompts
        self._meter = Meter(time.monotonic)
        self._origin = provenance(self._plan, self._job_id)
        self._points: Sequence[Endpoint] = ()
        # What failed in passing is asked again whenever the job runs; the rest when people say so.
        failures_table.make_due(self._db, self._job_id, but_codes=RECIPE_CODES)
        self._counts = self._count()

    def run(self) -> dict[str, Any]:
        """Ask what is missing; returns the final counts.

        Raises:
            NeedsKey: A teacher's session key is gone.
            TeacherError: A teacher could not answer at all, or nothing was answered.
            Cancelled: Somebody stopped it; what arrived is stored.
        """
        points = endpoints(self._workspace, self._plan, self._job_id)
        self._points = points
        lines = list(lines_of(self._plan, points, self._missing))
        try:
            asyncio.run(self._ask(points, lines))
        finally:
            self._counts = self._count()
            ledger.save(self._db, self._job_id, self._asked())  # what came too late to be stored
            self._report()
        counts = self._counts
        worst = next(iter(failures_table.by_reason(self._db, self._job_id, 1)), None)
        if worst and not counts.through and worst["code"] not in RECIPE_CODES:
            raise TeacherError(f"None of {counts.failed} requests was answered: {worst['reason']}")
        return self._result()

    # -- asking ---------------------------------------------------------------------------

    async def _ask(self, points: Sequence[Endpoint], lines: Sequence[Line]) -> None:
        runner = Runner(
            self._plan.recipe_object,
            self._plan.settings(examples(self._db, self._plan.examples)),
            points,
            GenerationHelp(self._workspace, self._plan.selection, self._job_id),
            self._commit,
            self._context.cancel,
            self._report,
            keeps_steps=self._prompts.has_steps,
        )
        try:
            await runner.run(lines)
        finally:
            await close(points)

    def _missing(self, line: int) -> Iterator[Unit]:
        """The units that are not through, a page of seeds at a time."""
        after = ""
        while page := table.page_selected(self._db, self._plan.selection, after, _PAGE):
            first, after = page[0].id, page[-1].id
            where = (self._db, self._job_id, first, after)
            through = (
                steps_table.units_through(*where)
                if self._prompts.has_steps
                else table.units_answered(*where)
            )
            failed = failures_table.standing(*where)
            stored = steps_table.replies(*where) if self._prompts.has_steps else {}
            for unit in self._plan.units_for(line, page):
                key = (unit.seed.id, unit.sample)
                attempt, is_due = failed.get(key, (0, True))
                if key not in through and is_due:
                    yield replace(unit, attempt=attempt, stored=stored.get(key, _NO_REPLIES))

    # -- storing --------------------------------------------------------------------------

    def _commit(self, group: Sequence[Outcome]) -> None:
        taken = [(o.unit, o.asked) for o in group if isinstance(o, Taken)]
        ended = [to_rows(o, self._origin) for o in group if isinstance(o, Ended)]
        steps = [self._step(unit, asked) for unit, asked in taken]
        asked = self._asked()
        has_steps = self._prompts.has_steps
        table.commit(self._db, self._job_id, steps, ended, asked, marks_units=has_steps)
        tokens = sum(each.completion_tokens for each in asked)
        self._meter.add(len(ended), tokens - self._counts.tokens)
        self._counts.through += sum(rows.failure is None for rows in ended)
        self._counts.pairs += sum(len(rows.pairs) for rows in ended)
        self._counts.preferences += sum(len(rows.preferences) for rows in ended)
        self._counts.tokens = tokens
        self._counts.failed = failures_table.count(self._db, self._job_id)

    def _step(self, unit: Unit, asked: Asked) -> StoredStep:
        return StoredStep(
            job_id=self._job_id,
            seed_id=unit.seed.id,
            sample=unit.sample,
            step=asked.step,
            teacher=asked.teacher,
            request=asked.request,
            reply=asked.reply,
        )

    # -- telling --------------------------------------------------------------------------

    def _asked(self) -> list[AskedTotals]:
        """What this job has asked of each teacher, in all its runs."""
        return asked_of(self._points) or ledger.of_job(self._db, self._job_id)

    def _count(self) -> _Counts:
        seeds = table.count_selected(self._db, self._plan.selection)
        stored = table.answered(self._db, self._job_id)
        has_steps = self._prompts.has_steps
        return _Counts(
            units=seeds * self._plan.samples * len(self._plan.lines),
            through=steps_table.through(self._db, self._job_id) if has_steps else stored["answers"],
            failed=failures_table.count(self._db, self._job_id),
            pairs=stored["answers"],
            preferences=table.preferences_of(self._db, self._job_id) if has_steps else 0,
            tokens=sum(each.completion_tokens for each in self._asked()),
        )

    def _result(self) -> dict[str, Any]:
        counts = self._counts
        _, tokens_per_s = self._meter.rates()
        costs = [each.cost_usd for each in self._asked() if each.cost_usd is not None]
        missing = max(0, counts.units - counts.through - counts.failed)
        return {
            "requests": counts.units,
            "through": counts.through,
            "answered": counts.pairs,
            "failed": counts.failed,
            "preferences": counts.preferences,
            "tokens": counts.tokens,
            "tokens_per_s": round(tokens_per_s, 1),
            "cost_usd": round(sum(costs), 6) if costs else None,
            "eta_s": self._meter.eta_s(missing) if missing else None,
        }

    def _report(self) -> None:
        result = self._result()
        is_verified = self._prompts.is_verified
        parts = [f"{result['answered']} {'verified' if is_verified else 'answered'}"]
        if result["failed"]:
            parts.append(f"{result['failed']} {'not' if is_verified else 'failed'}")
        if result["tokens_per_s"]:
            parts.append(f"{result['tokens_per_s']:.0f} tokens/s")
        if result["eta_s"] is not None:
            parts.append(f"about {in_words(result['eta_s'])} left")
        jobs_table.update(
            self._db,
            self._job_id,
            done=min(result["requests"], result["through"] + result["failed"]),
            total=result["requests"],
            note=", ".join(parts),
            result=result,
        )


# -- shared with a trial ------------------------------------------------------------------


def provenance(plan: GenerationPlan, job_id: str) -> Provenance:
    """What all pairs of a plan have in common."""
    return Provenance(
        job_id=job_id,
        recipe=plan.prompts.name,
        recipe_version=plan.prompts.version,
        sampling=plan.sampling,
        options=plan.chosen,
        examples=plan.examples,
    )


def endpoints(workspace: Workspace, plan: GenerationPlan, job_id: str) -> list[Endpoint]:
    """The teachers of a plan, and its judge, ready to be asked.

    Args:
        workspace: Where they are configured.
        plan: Which.
        job_id: Whose counts go on: what the same job has asked and spent before.

    Raises:
        NeedsKey: A teacher's session key is gone.
    """
    points = []
    before = {each.teacher: each for each in ledger.of_job(workspace.db, job_id)}
    for name in plan.everyone:
        config = workspace.teachers.config(name)
        is_local = config.kind is TeacherKind.LOCAL
        workers = _LOCAL_IN_FLIGHT if is_local else config.concurrency
        asked = before.get(name)
        model = workspace.teachers.model(name, (asked and asked.cost_usd) or 0.0)
        points.append(Endpoint(name, model, workers, Tally(time.monotonic, asked)))
    return points


def lines_of(
    plan: GenerationPlan, points: Sequence[Endpoint], units: Callable[[int], Iterator[Unit]]
) -> Iterator[Line]:
    """A line for each teacher, or one for all; `units(line)` feeds it."""
    by_name = {point.teacher: point for point in points}
    judge = (plan.judge,) if plan.judge else ()
    for number, teachers in enumerate(plan.lines):
        uses = tuple(dict.fromkeys((*teachers, *judge)))
        workers = max(by_name[name].workers for name in teachers)
        yield Line(units(number), uses, workers)


def asked_of(points: Sequence[Endpoint]) -> list[AskedTotals]:
    """What each has been asked in this job so far, with its cost where its price is known."""
    return [point.tally.totals(point.teacher, cost_usd(point.model)) for point in points]


async def close(points: Sequence[Endpoint]) -> None:
    """Close the connections of the running event loop."""
    for point in points:
        if isinstance(point.model, OpenAIChatModel):
            await point.model.aclose()
