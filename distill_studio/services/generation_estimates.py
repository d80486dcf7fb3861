"""About what a generation will take, before it runs: from the form, or from its dry run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distill_studio.core.actor import Actor
from distill_studio.core.records import Job
from distill_studio.services.generation_plan import GenerationPlan
from distill_studio.services.generation_trial import TriedSeed
from distill_studio.services.teacher_costs import Estimate
from distill_studio.store import generation as table
from distill_studio.store.generation import SeedFilter

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace


def estimates(
    workspace: Workspace,
    actor: Actor,
    plan: GenerationPlan,
    seeds: SeedFilter,
    trial: Job | None,
) -> list[Estimate]:
    """Tokens and cost for each model asked; none for steps that no dry run has counted."""
    chosen = table.counts(workspace.db, seeds)["chosen"]
    if not chosen or (plan.prompts.has_steps and trial is None):
        return []
    units = chosen * plan.samples
    characters = table.characters(workspace.db, seeds) / chosen + len(plan.system_prompt)
    calls = calls_of(trial.result["tried"]) if trial and plan.prompts.has_steps else None
    found = []
    for name in plan.everyone:
        requests, length = 1.0, characters
        if calls is not None:
            requests, length = calls.get(name) or _of_another_line(plan, name, calls)
        count = round(units * requests)
        found.append(
            workspace.teachers.estimate(
                actor, name, count, round(count * length), plan.sampling.max_tokens
            )
        )
    return found


def _of_another_line(
    plan: GenerationPlan, name: str, calls: dict[str, tuple[float, float]]
) -> tuple[float, float]:
    """A dry run asks the first teacher alone: the others will do as it did."""
    is_teacher = name in plan.teachers and not plan.prompts.asks_all
    return calls.get(plan.teachers[0], (0.0, 0.0)) if is_teacher else (0.0, 0.0)


def calls_of(tried: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Teacher -> requests per seed, and characters sent per request, in a dry run's report."""
    sent: dict[str, list[int]] = {}
    for seed in (TriedSeed(**each) for each in tried):
        for step in seed.steps:
            sent.setdefault(step.teacher, []).append(sum(len(m.content) for m in step.sent))
    return {name: (len(n) / len(tried), sum(n) / len(n)) for name, n in sent.items()}
