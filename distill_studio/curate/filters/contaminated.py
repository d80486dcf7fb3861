"""Rows that hold an item of a benchmark.

What the others measure of a text alone, this one takes from the check against benchmarks
(`decontaminate`): the store gives a row with a leak the score `leak`, above zero, and a note.
"""

from typing import Literal

from distill_studio.curate.filters.base import (
    Filter,
    FilterConfig,
    Group,
    Limit,
    measures_nothing,
    setting,
)

LEAK = "leak"
LEAK_BY_MODEL = "leak.model"


class ContaminatedConfig(FilterConfig):
    """Whether rows with a leak go; what only a model called one goes when that is switched on."""

    kind: Literal["contaminated"] = "contaminated"
    by_model: bool = setting(
        False,
        "Also what a model called a leak",
        "Reworded questions that no person has judged yet; models err.",
    )

    def limits(self) -> tuple[Limit, ...]:
        """No leak may be there."""
        measures = (LEAK, LEAK_BY_MODEL) if self.by_model else (LEAK,)
        return tuple(Limit(one, maximum=0.0, why_high="{note}") for one in measures)


CONTAMINATED = Filter(
    ContaminatedConfig,
    "Benchmark leaks",
    "Rows that hold an item of a benchmark word for word, or in words a person called a leak.",
    0,
    measures_nothing,
    Group.PROOF,
)
