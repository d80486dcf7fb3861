"""Generate: teachers answer seeds. The work itself is in `generation.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.records import AskedTotals, Failure, Job, JobState, Pair
from distill_studio.services.base import Service
from distill_studio.services.generation import GenerationRun
from distill_studio.services.generation_estimates import estimates
from distill_studio.services.generation_making import Making, making, steps_of
from distill_studio.services.generation_plan import GenerationPlan
from distill_studio.services.generation_planning import (
    GenerationWish,
    first_request,
    fitting,
    is_local,
    judge_warning,
    make_plan,
)
from distill_studio.services.generation_trial import SEEDS as TRIAL_SEEDS
from distill_studio.services.generation_trial import TrialRun
from distill_studio.services.ledger_csv import csv_of
from distill_studio.store import failures as failures_table
from distill_studio.store import generation as table
from distill_studio.store import ledger
from distill_studio.store import pairs as pairs_table
from distill_studio.store.database import Row
from distill_studio.store.generation import SeedFilter
from distill_studio.store.generation_steps import StoredStep
from distill_studio.store.pairs import PairQuery

if TYPE_CHECKING:
    from distill_studio.services.jobs import JobContext
    from distill_studio.services.workspace import Workspace

KIND_HTTP = "generate"  # waits on servers: several at a time
KIND_LOCAL = "generate_local"  # computes here: one at a time
KINDS = (KIND_HTTP, KIND_LOCAL)
KIND_TRY = "generate_try"
KIND_TRY_LOCAL = "generate_try_local"
TRIAL_KINDS = (KIND_TRY, KIND_TRY_LOCAL)
_TRIAL_SELECTION = 200  # seeds to draw examples from
_DEFAULT_SEEDS = SeedFilter()


class GenerateService(Service):
    """Preview, start and watch generations."""

    word = "generate"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        workspace.jobs.register(KIND_HTTP, self._handle, lane="io")
        workspace.jobs.register(KIND_LOCAL, self._handle, lane="compute")
        workspace.jobs.register(KIND_TRY, self._handle_trial, lane="io")
        workspace.jobs.register(KIND_TRY_LOCAL, self._handle_trial, lane="compute")

    # -- before ---------------------------------------------------------------------------

    def facets(self, actor: Actor) -> dict[str, list[str]]:
        """The values of `topic` and `source` that seeds have, most frequent first."""
        actor.require(Role.VIEWER)
        return table.facets(self.db)

    def count(self, actor: Actor, seeds: SeedFilter = _DEFAULT_SEEDS) -> dict[str, int]:
        """`seeds` there are, `matching` the filter, `unanswered` of those, `chosen` in the end."""
        actor.require(Role.VIEWER)
        return table.counts(self.db, seeds)

    def preview(self, actor: Actor, wish: GenerationWish) -> dict[str, Any]:
        """The exact first request, and how many runs over a seed there will be.

        Returns:
            `seeds`, `requests`, and `first`: for a server `method`, `url`, `headers` (key
            blanked) and `body`; for a model of this machine `model`, `messages`, `sampling`.
            `first` is None where no seed is chosen. `tried`: a dry run of these settings has
            ended; else `tried_otherwise`: in which settings the newest one of the same recipe
            differs. `has_steps`: the recipe is one that should be tried first. `estimates`: tokens
            and cost for each teacher. `templates`: teacher -> the chat template found for it, where
            the recipe continues one ('own' is the model's). `warning`: on judge and teacher of one
            family.
        """
        actor.require(Role.VIEWER)
        plan = make_plan(self.workspace, wish)
        seeds = fitting(plan, wish.seeds)
        chosen = table.counts(self.db, seeds)["chosen"]
        seed = table.first(self.db, seeds)
        trial, differing = self._trial_of(actor, plan)
        return {
            "seeds": chosen,
            "requests": chosen * plan.samples * len(plan.lines),
            "first": first_request(self.workspace, plan, seed) if seed else None,
            "has_steps": plan.prompts.has_steps,
            "tried": trial is not None,
            "tried_otherwise": differing,
            "estimates": estimates(self.workspace, actor, plan, seeds, trial),
            "templates": {name: turn.name for name, turn in plan.turns.items()},
            "warning": judge_warning(self.workspace, plan),
        }

    def try_out(self, actor: Actor, wish: GenerationWish) -> Job:
        """Run the recipe on the first three seeds and store nothing; returns the job.

        Its result has `tried`: for each seed the requests, replies, and what would be stored.

        Raises:
            InvalidInput, NotFound, NeedsKey: As `start`.
        """
        actor.require(Role.REVIEWER)
        plan, _ = self._selected(wish, at_most=_TRIAL_SELECTION)
        kind = KIND_TRY_LOCAL if is_local(self.workspace, plan) else KIND_TRY
        title = f"Dry run of {plan.prompts.label} on {TRIAL_SEEDS} seeds"
        params = {"plan": plan.model_dump(mode="json")}
        return self.workspace.jobs.submit(actor, kind, title, params)

    # -- the job --------------------------------------------------------------------------

    def start(self, actor: Actor, wish: GenerationWish) -> Job:
        """Let teachers answer the chosen seeds; returns the job.

        The list of seeds, the recipe's texts and the examples are fixed now. Cancel and resume
        with `jobs_cancel` and `jobs_resume`.

        Raises:
            InvalidInput: Nothing to ask, an unknown recipe, or settings that cannot work.
            NotFound: A teacher is not there.
            NeedsKey: A teacher's key is missing.
        """
        actor.require(Role.REVIEWER)
        plan, count = self._selected(wish)
        kind = KIND_LOCAL if is_local(self.workspace, plan) else KIND_HTTP
        words = f"{count:,} seed{'' if count == 1 else 's'} to {', '.join(plan.teachers)}"
        title = f"{plan.prompts.label}: {words}"
        return self.workspace.jobs.submit(actor, kind, title, plan.model_dump(mode="json"))

    def recent(self, actor: Actor, job_id: str, limit: int = 10) -> list[Pair]:
        """The answers of a generation that arrived last, newest first."""
        actor.require(Role.VIEWER)
        query = PairQuery(job_id=job_id, newest_first=True, limit=limit)
        return pairs_table.page(self.db, query)

    def failures(self, actor: Actor, job_id: str, limit: int = 50) -> list[Failure]:
        """The requests of a generation that failed so far, newest first, with their reasons."""
        actor.require(Role.VIEWER)
        return failures_table.page(self.db, job_id, limit)

    def reasons(self, actor: Actor, job_id: str) -> list[Row]:
        """Why requests failed: `teacher`, `code`, `reason`, `count` and `text` (one reply)."""
        actor.require(Role.VIEWER)
        return failures_table.by_reason(self.db, job_id)

    def asked(self, actor: Actor, job_id: str = "") -> list[AskedTotals]:
        """What each teacher was asked, useless replies and dry runs too: by one job, or by all.

        Requests, tokens, cost (where the price is known), failures by code, and the time in which
        a request was in flight.
        """
        actor.require(Role.VIEWER)
        return ledger.of_job(self.db, job_id) if job_id else ledger.of_all(self.db)

    def asked_csv(self, actor: Actor) -> str:
        """The ledger as CSV: a row for each job and teacher, the newest job first."""
        actor.require(Role.VIEWER)
        return csv_of(ledger.rows(self.db))

    def trials(self, actor: Actor, limit: int = 1) -> list[Job]:
        """Dry runs, newest first; `result["tried"]` holds a TriedSeed for each seed."""
        actor.require(Role.VIEWER)
        return self.workspace.jobs.page(actor, kinds=list(TRIAL_KINDS), limit=limit)

    def steps(self, actor: Actor, pair_id: str) -> list[StoredStep]:
        """The requests and replies that led to an answer, where its recipe has several steps."""
        actor.require(Role.VIEWER)
        return steps_of(self.db, self._pair(pair_id))

    def made(self, actor: Actor, pair_id: str) -> Making:
        """How an answer was made, in plain text: settings, judge's words, requests, replies."""
        actor.require(Role.VIEWER)
        return making(self.db, self._pair(pair_id))

    def retry(self, actor: Actor, job_id: str) -> Job:
        """Ask a generation's missing and failed requests again, those too that did not hold.

        `jobs_resume` leaves out those whose reply came and was no use.
        """
        actor.require(Role.REVIEWER)
        job = self.workspace.jobs.get(actor, job_id)
        if job.kind not in KINDS:
            raise InvalidInput("That job is no generation.")
        if job.state.is_active:
            raise Conflict("This generation is running already.")
        failures_table.make_due(self.db, job_id)
        return self.workspace.jobs.resume(actor, job_id)

    def jobs(self, actor: Actor, limit: int = 20) -> list[Job]:
        """Generations, newest first."""
        actor.require(Role.VIEWER)
        return self.workspace.jobs.page(actor, kinds=list(KINDS), limit=limit)

    # -- inside ---------------------------------------------------------------------------

    def _pair(self, pair_id: str) -> Pair:
        pair = next(iter(pairs_table.get(self.db, [pair_id])), None)
        if pair is None:
            raise NotFound("There is no such answer.")
        return pair

    def _selected(self, wish: GenerationWish, at_most: int = 0) -> tuple[GenerationPlan, int]:
        """The plan with its seeds written down, and how many they are."""
        plan = make_plan(self.workspace, wish)
        for name in plan.everyone:
            self.workspace.teachers.model(name)  # a missing key shows now, not in the job
        seeds = fitting(plan, wish.seeds)
        if at_most and not 0 < seeds.limit <= at_most:
            seeds = seeds.model_copy(update={"limit": at_most})
        plan = plan.model_copy(update={"selection": new_id()})
        count = table.select(self.db, plan.selection, seeds)
        if count == 0:
            raise _nothing_to_ask(table.counts(self.db, seeds), plan)
        return plan, count

    def _trial_of(self, actor: Actor, plan: GenerationPlan) -> tuple[Job | None, list[str]]:
        """The newest dry run that shows what this plan does; else how the newest one differs."""
        trials = self.workspace.jobs.page(actor, kinds=list(TRIAL_KINDS), limit=20)
        done = [(j, GenerationPlan(**j.params["plan"])) for j in trials if j.state is JobState.DONE]
        differing: list[str] = []
        for job, tried in done:
            if not (found := plan.differences(tried)):
                return job, []
            if tried.recipe == plan.recipe:
                differing = differing or found
        return None, differing

    def _handle(self, context: JobContext) -> dict[str, Any]:
        return GenerationRun(self.workspace, context).run()

    def _handle_trial(self, context: JobContext) -> dict[str, Any]:
        return TrialRun(self.workspace, context).run()


def _nothing_to_ask(counts: Row, plan: GenerationPlan) -> InvalidInput:
    if counts["seeds"] == 0:
        return InvalidInput("There are no seeds to answer.", "Import some on the Seeds tab.")
    if counts["matching"] == 0 and plan.prompts.is_verified:
        return InvalidInput(
            "No seed of this choice has a reference answer or tests to verify against.",
            "Import a column as 'Reference' on the Seeds tab, or take another recipe.",
        )
    if counts["matching"] == 0:
        return InvalidInput("No seed matches this choice.", "Widen topic, source or search.")
    return InvalidInput(
        "Every seed of this choice has an answer or is being asked.",
        "Untick 'only seeds without an answer' to ask again.",
    )
