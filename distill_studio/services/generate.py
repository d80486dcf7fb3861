"""Generate: teachers answer seeds. The work itself is in `generation.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Failure, Job, Pair, TeacherKind
from distill_studio.generate.recipes import RECIPES
from distill_studio.generate.recipes.base import Prompts
from distill_studio.services.base import Service
from distill_studio.services.generation import GenerationPlan, GenerationRun
from distill_studio.store import failures as failures_table
from distill_studio.store import generation as table
from distill_studio.store import pairs as pairs_table
from distill_studio.store.database import Row
from distill_studio.store.generation import SeedFilter
from distill_studio.store.pairs import PairQuery
from distill_studio.teachers.openai_compatible import OpenAIChatModel

if TYPE_CHECKING:
    from distill_studio.services.jobs import JobContext
    from distill_studio.services.workspace import Workspace

KIND_HTTP = "generate"  # waits on servers: several at a time
KIND_LOCAL = "generate_local"  # computes here: one at a time
KINDS = (KIND_HTTP, KIND_LOCAL)
_DEFAULT_SAMPLING = SamplingParams()
_DEFAULT_SEEDS = SeedFilter()


class GenerateService(Service):
    """Preview, start and watch generations."""

    word = "generate"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        workspace.jobs.register(KIND_HTTP, self._handle, lane="io")
        workspace.jobs.register(KIND_LOCAL, self._handle, lane="compute")

    # -- before ---------------------------------------------------------------------------

    def recipes(self, actor: Actor) -> list[Prompts]:
        """The recipes, with their texts."""
        actor.require(Role.VIEWER)
        return [recipe.prompts for recipe in RECIPES.values()]

    def facets(self, actor: Actor) -> dict[str, list[str]]:
        """The values of `topic` and `source` that seeds have, most frequent first."""
        actor.require(Role.VIEWER)
        return table.facets(self.db)

    def count(self, actor: Actor, seeds: SeedFilter = _DEFAULT_SEEDS) -> dict[str, int]:
        """`seeds` there are, `matching` the filter, `unanswered` of those, `chosen` in the end."""
        actor.require(Role.VIEWER)
        return table.counts(self.db, seeds)

    def preview(
        self,
        actor: Actor,
        teachers: list[str],
        recipe: str = "direct",
        n: int = 1,
        sampling: SamplingParams = _DEFAULT_SAMPLING,
        system_prompt: str = "",
        seeds: SeedFilter = _DEFAULT_SEEDS,
    ) -> dict[str, Any]:
        """The exact first request, and how many there will be.

        Returns:
            `seeds`, `requests`, and `first`: for a server `method`, `url`, `headers` (key
            blanked) and `body`; for a model of this machine `model`, `messages`, `sampling`.
            `first` is None where no seed is chosen.
        """
        actor.require(Role.VIEWER)
        plan = self._plan(teachers, recipe, n, sampling, system_prompt)
        seeds = _fitting(plan, seeds)
        chosen = table.counts(self.db, seeds)["chosen"]
        seed = table.first(self.db, seeds)
        first = self._first_request(plan, seed) if seed else None
        return {
            "seeds": chosen,
            "requests": chosen * plan.samples * len(plan.teachers),
            "first": first,
        }

    # -- the job --------------------------------------------------------------------------

    def start(
        self,
        actor: Actor,
        teachers: list[str],
        recipe: str = "direct",
        n: int = 1,
        sampling: SamplingParams = _DEFAULT_SAMPLING,
        system_prompt: str = "",
        seeds: SeedFilter = _DEFAULT_SEEDS,
    ) -> Job:
        """Let teachers answer the chosen seeds; returns the job.

        The list of seeds is fixed now. Cancel and resume with `jobs_cancel` and `jobs_resume`.

        Raises:
            InvalidInput: Nothing to ask, an unknown recipe, or settings that cannot work.
            NotFound: A teacher is not there.
            NeedsKey: A teacher's key is missing.
        """
        actor.require(Role.REVIEWER)
        plan = self._plan(teachers, recipe, n, sampling, system_prompt)
        for name in plan.teachers:
            self.workspace.teachers.model(name)  # a missing key shows now, not in the job
        seeds = _fitting(plan, seeds)
        plan = plan.model_copy(update={"selection": new_id()})
        count = table.select(self.db, plan.selection, seeds)
        if count == 0:
            raise _nothing_to_ask(table.counts(self.db, seeds), plan)
        kinds = {self.workspace.teachers.config(name).kind for name in plan.teachers}
        kind = KIND_LOCAL if TeacherKind.LOCAL in kinds else KIND_HTTP
        words = f"{count:,} seed{'' if count == 1 else 's'} to {', '.join(plan.teachers)}"
        title = f"{plan.recipe_object.prompts.label}: {words}"
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

    def retry(self, actor: Actor, job_id: str) -> Job:
        """Ask a generation's missing and failed requests again."""
        actor.require(Role.REVIEWER)
        job = self.workspace.jobs.get(actor, job_id)
        if job.kind not in KINDS:
            raise InvalidInput("That job is no generation.")
        if job.state.is_active:
            raise Conflict("This generation is running already.")
        return self.workspace.jobs.resume(actor, job_id)

    def jobs(self, actor: Actor, limit: int = 20) -> list[Job]:
        """Generations, newest first."""
        actor.require(Role.VIEWER)
        return self.workspace.jobs.page(actor, kinds=list(KINDS), limit=limit)

    # -- inside ---------------------------------------------------------------------------

    def _handle(self, context: JobContext) -> dict[str, Any]:
        return GenerationRun(self.workspace, context).run()

    def _plan(
        self,
        teachers: list[str],
        recipe: str,
        n: int,
        sampling: SamplingParams,
        system_prompt: str,
    ) -> GenerationPlan:
        names = tuple(dict.fromkeys(teachers))
        if not names:
            raise InvalidInput("No teacher is chosen.", "Pick at least one.")
        for name in names:
            self.workspace.teachers.config(name)
        if recipe not in RECIPES:
            raise NotFound(f"There is no recipe '{recipe}'.", f"Choose of: {', '.join(RECIPES)}.")
        if n < 1:
            raise InvalidInput("At least one answer per seed is needed.")
        plan = GenerationPlan(
            teachers=names,
            recipe=recipe,
            n=n,
            sampling=sampling,
            system_prompt=system_prompt.strip(),
        )
        if plan.samples > 1 and sampling.temperature == 0:
            raise InvalidInput(
                "With temperature 0 all candidates of a seed would be the same.",
                "Raise the temperature, or ask for one answer.",
            )
        return plan

    def _first_request(self, plan: GenerationPlan, seed: Any) -> dict[str, Any]:  # noqa: ANN401
        config = self.workspace.teachers.config(plan.teachers[0])
        request = next(plan.asks_for(0, [seed])).request
        if config.kind is TeacherKind.LOCAL:
            return {
                "model": config.model,
                "messages": [m.model_dump() for m in request.messages],
                "sampling": request.sampling.model_dump(mode="json"),
            }
        has_key = config.needs_key or bool(config.key_env)
        return {
            "method": "POST",
            "url": f"{config.base_url}/chat/completions",
            "headers": {"Authorization": "Bearer [key]"} if has_key else {},
            "body": OpenAIChatModel(config).body(request),
        }


def _fitting(plan: GenerationPlan, seeds: SeedFilter) -> SeedFilter:
    """The filter, narrowed to what the recipe can work on."""
    if not plan.recipe_object.prompts.is_verified:
        return seeds
    return seeds.model_copy(update={"only_verifiable": True})


def _nothing_to_ask(counts: Row, plan: GenerationPlan) -> InvalidInput:
    if counts["seeds"] == 0:
        return InvalidInput("There are no seeds to answer.", "Import some on the Seeds tab.")
    if counts["matching"] == 0 and plan.recipe_object.prompts.is_verified:
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
