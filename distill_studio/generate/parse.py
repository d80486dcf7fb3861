"""What a unit came to, as rows: pairs with their provenance, new seeds, or the failure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Failure, Pair, Preference, Seed, UnitRows
from distill_studio.generate.drive import Ended
from distill_studio.generate.effects import RECIPE_CODES, Draft, Dropped, Made, Unit
from distill_studio.generate.prompts import OptionValue
from distill_studio.generate.recipes.base import ANSWER

_TEXT_KEPT = 20_000  # characters of a reply that is not kept; enough to see why


@dataclass(frozen=True)
class Provenance:
    """What all pairs of a generation have in common."""

    job_id: str
    recipe: str
    recipe_version: str
    sampling: SamplingParams
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    examples: tuple[str, ...] = ()  # ids of the pairs shown to the teacher


def to_rows(ended: Ended, origin: Provenance) -> UnitRows:
    """The rows of a unit."""
    unit, result = ended.unit, ended.result
    if isinstance(result, Dropped):
        return UnitRows(
            seed_id=unit.seed.id,
            sample=unit.sample,
            failure=_failure(ended, result, origin),
            forgotten=ended.forgotten,
        )
    pairs = tuple(_pair(unit, draft, origin) for draft in result.drafts)
    return UnitRows(
        seed_id=unit.seed.id,
        sample=unit.sample,
        pairs=pairs,
        seeds=_seeds(unit, result, origin),
        preferences=_preferences(result, pairs),
        logprobs={
            pair.id: draft.reply.logprobs
            for pair, draft in zip(pairs, result.drafts, strict=True)
            if draft.reply.logprobs and draft.answer is None
        },
    )


def _pair(unit: Unit, draft: Draft, origin: Provenance) -> Pair:
    reply, seed = draft.reply, draft.seed or unit.seed
    params = origin.sampling.model_dump(mode="json") | reply.extra | draft.params
    if origin.options:
        params["options"] = dict(origin.options)
    if origin.examples:
        params["examples"] = list(origin.examples)
    if draft.seed is not None:
        params["from_seed"] = unit.seed.id
    if draft.sample is not None:
        params["unit"] = unit.sample
    return Pair(
        seed_id=seed.id,
        messages=draft.messages,
        answer=reply.text if draft.answer is None else draft.answer,
        reasoning=reply.reasoning if draft.reasoning is None else draft.reasoning,
        topic=draft.topic or seed.topic,
        source=unit.seed.source if draft.seed is None else unit.seed.source or "generated",
        teacher=draft.teacher or unit.teacher,
        model=reply.model,
        recipe=origin.recipe,
        recipe_version=origin.recipe_version,
        params=params,
        job_id=origin.job_id,
        step=ANSWER,
        sample=unit.sample if draft.sample is None else draft.sample,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        latency_ms=reply.latency_ms,
        judge_score=draft.judge_score,
    )


def _seeds(unit: Unit, made: Made, origin: Provenance) -> tuple[Seed, ...]:
    """New prompts, marked with the generation and the seed that they come from."""
    new = [draft.seed for draft in made.drafts if draft.seed is not None]
    found = {"job": origin.job_id, "from_seed": unit.seed.id}
    return tuple(
        seed.model_copy(
            update={"source": seed.source or origin.recipe, "extra": seed.extra | found}
        )
        for seed in {seed.id: seed for seed in (*new, *made.seeds)}.values()
    )


def _preferences(made: Made, pairs: Sequence[Pair]) -> tuple[Preference, ...]:
    return tuple(
        Preference(
            seed_id=pairs[ranked.chosen].seed_id,
            chosen_pair_id=pairs[ranked.chosen].id,
            rejected_pair_id=pairs[ranked.rejected].id,
            strength=ranked.strength,
            source=ranked.source,
        )
        for ranked in made.ranked
    )


def _failure(ended: Ended, dropped: Dropped, origin: Provenance) -> Failure:
    unit = ended.unit
    is_of_reply = dropped.code in RECIPE_CODES
    return Failure(
        job_id=origin.job_id,
        seed_id=unit.seed.id,
        step=dropped.step,
        sample=unit.sample,
        teacher=ended.teacher or unit.teacher,
        code=dropped.code,
        reason=dropped.reason,
        text=dropped.text[:_TEXT_KEPT],
        attempts=unit.attempt + is_of_reply,
    )
