"""What a recipe's run over one seed came to, as rows to store together."""

from typing import Any

from pydantic import Field

from distill_studio.core.records.base import Record
from distill_studio.core.records.failure import Failure
from distill_studio.core.records.pair import Pair
from distill_studio.core.records.preference import Preference
from distill_studio.core.records.seed import Seed


class UnitRows(Record):
    """The end of one unit: pairs and what goes with them, or a failure."""

    seed_id: str = Field(description="Of the unit.")
    sample: int = Field(ge=0, description="Its number among the units of the seed.")
    pairs: tuple[Pair, ...] = Field(default=(), description="Answers, with their provenance.")
    seeds: tuple[Seed, ...] = Field(default=(), description="New prompts, those of pairs too.")
    preferences: tuple[Preference, ...] = Field(default=(), description="Between its pairs.")
    failure: Failure | None = Field(default=None, description="Why nothing was kept.")
    forgotten: tuple[str, ...] = Field(default=(), description="Steps to be asked again.")
    logprobs: dict[str, Any] = Field(
        default_factory=dict, description="Pair id -> TokenLogprobs of its answer."
    )
