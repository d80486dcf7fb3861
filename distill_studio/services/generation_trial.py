"""A dry run of a recipe on a few seeds: everything is asked, nothing is stored but the report."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.errors import Conflict
from distill_studio.core.records import Message, Record, UnitRows
from distill_studio.generate.drive import Asked, Ended
from distill_studio.generate.effects import Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.runner import Endpoint, Outcome, Runner, Taken
from distill_studio.services.generation import asked_of, close, endpoints, lines_of, provenance
from distill_studio.services.generation_help import GenerationHelp, examples
from distill_studio.services.generation_plan import GenerationPlan
from distill_studio.store import generation as table
from distill_studio.store import ledger

if TYPE_CHECKING:
    from distill_studio.services.jobs import JobContext
    from distill_studio.services.workspace import Workspace

SEEDS = 3
_KEPT = 6000  # characters of each text in the report


class TriedStep(Record):
    """One request and its reply."""

    step: str = Field(description="Recipe step.")
    teacher: str = Field(description="Who was asked.")
    sent: tuple[Message, ...] = Field(description="The conversation sent.")
    reply: str = Field(description="What came; the reasoning first.")


class TriedPair(Record):
    """A pair as it would be stored."""

    messages: tuple[Message, ...] = Field(description="The conversation before the answer.")
    answer: str = Field(description="The answer.")
    reasoning: str = Field(default="", description="Chain of thought.")
    teacher: str = Field(default="", description="Who wrote it.")
    topic: str = Field(default="", description="Topic label.")
    judge_score: float | None = Field(default=None, description="Higher is better.")


class TriedSeed(Record):
    """What became of one seed."""

    prompt: str = Field(description="The seed's last user turn.")
    steps: tuple[TriedStep, ...] = Field(default=(), description="What was asked.")
    pairs: tuple[TriedPair, ...] = Field(default=(), description="What would be stored.")
    new_seeds: tuple[str, ...] = Field(default=(), description="New prompts.")
    preferences: int = Field(default=0, description="Preferences between the pairs.")
    no_preference: str = Field(default="", description="Why the judge made none.")
    failure: str = Field(default="", description="Why there is nothing.")
    failed_text: str = Field(default="", description="The reply that is to blame.")


class TrialRun:
    """One dry run, as a job.

    Args:
        workspace: Whose seeds and teachers.
        context: The job's; `params["plan"]` is a GenerationPlan.
    """

    def __init__(self, workspace: Workspace, context: JobContext) -> None:
        self._workspace = workspace
        self._context = context
        self._plan = GenerationPlan(**context.params["plan"])
        self._taken: dict[str, list[Asked]] = {}
        self._ended: list[UnitRows] = []

    def run(self) -> dict[str, Any]:
        """`tried`: a TriedSeed for each seed.

        Raises:
            Conflict: Its seeds are no longer there.
        """
        db, selection = self._workspace.db, self._plan.selection
        seeds = table.page_selected(db, selection, "", SEEDS)
        if not seeds:
            raise Conflict("The seeds of this dry run are gone.", "Start another one.")
        asyncio.run(self._ask(list(self._plan.units_for(0, seeds))))
        table.drop_selection(db, selection)
        by_seed = {rows.seed_id: rows for rows in self._ended}
        tried = [
            self._tried(seed.prompt, self._taken.get(seed.id, []), by_seed[seed.id])
            for seed in seeds
            if seed.id in by_seed
        ]
        return {"tried": [each.model_dump(mode="json") for each in tried]}

    async def _ask(self, units: Sequence[Unit]) -> None:
        job_id = self._context.job.id
        points = endpoints(self._workspace, self._plan, job_id)
        runner = Runner(
            self._plan.recipe_object,
            self._plan.settings(examples(self._workspace.db, self._plan.examples)),
            points,
            GenerationHelp(self._workspace, self._plan.selection, job_id),
            lambda group: self._collect(group, points),
            self._context.cancel,
            lambda: self._context.progress(len(self._ended), len(units)),
            keeps_steps=True,
        )

        def once(line: int) -> Iterator[Unit]:  # one run over each seed is enough to see
            return (unit for unit in units if unit.sample == 0 and line == 0)

        try:
            await runner.run(list(lines_of(self._plan, points, once)))
        finally:
            ledger.save(self._workspace.db, job_id, asked_of(points))
            await close(points)

    def _collect(self, group: Sequence[Outcome], points: Sequence[Endpoint]) -> None:
        ledger.save(self._workspace.db, self._context.job.id, asked_of(points))
        origin = provenance(self._plan, self._context.job.id)
        for outcome in group:
            if isinstance(outcome, Taken):
                self._taken.setdefault(outcome.unit.seed.id, []).append(outcome.asked)
            if isinstance(outcome, Ended):
                self._ended.append(to_rows(outcome, origin))

    def _tried(self, prompt: str, asked: Sequence[Asked], rows: UnitRows) -> TriedSeed:
        found = _tried(prompt, asked, rows)
        if not self._plan.prompts.needs_judge or rows.preferences or rows.failure:
            return found
        return found.model_copy(update={"no_preference": _no_preference(rows)})


def _tried(prompt: str, asked: Sequence[Asked], rows: UnitRows) -> TriedSeed:
    failure = rows.failure
    return TriedSeed(
        prompt=prompt[:_KEPT],
        steps=tuple(
            TriedStep(
                step=each.step,
                teacher=each.teacher,
                sent=_sent(each),
                reply=f"{each.reply.reasoning}\n\n{each.reply.text}".strip()[:_KEPT],
            )
            for each in asked
        ),
        pairs=tuple(
            TriedPair(
                messages=pair.messages,
                answer=pair.answer[:_KEPT],
                reasoning=pair.reasoning[:_KEPT],
                teacher=pair.teacher,
                topic=pair.topic,
                judge_score=pair.judge_score,
            )
            for pair in rows.pairs
        ),
        new_seeds=tuple(seed.prompt[:_KEPT] for seed in rows.seeds),
        preferences=len(rows.preferences),
        failure=failure.reason if failure else "",
        failed_text=failure.text[:_KEPT] if failure else "",
    )


def _no_preference(rows: UnitRows) -> str:
    """Why a judge preferred no answer."""
    judged = [pair.params.get("judged") or {} for pair in rows.pairs]
    unreadable = next((str(j["unreadable"]) for j in judged if j.get("unreadable")), "")
    return unreadable or "the answers are within the margin."


def _sent(asked: Asked) -> tuple[Message, ...]:
    request = asked.request
    messages = request.messages or (Message(role="user", content=request.raw),)
    return tuple(m.model_copy(update={"content": m.content[:_KEPT]}) for m in messages)
