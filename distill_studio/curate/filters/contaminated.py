"""Rows that hold an item of a benchmark.

What the others measure of a text alone, this one takes from the check against benchmarks
(`decontaminate`): the store gives a row with a leak the score `leak`, above zero, and a note.
"""

from typing import Literal

from distill_studio.curate.filters.base import Answer, Filter, FilterConfig, Limit, Measured

LEAK = "leak"


class ContaminatedConfig(FilterConfig):
    """Whether rows with a leak go."""

    kind: Literal["contaminated"] = "contaminated"

    def limits(self) -> tuple[Limit, ...]:
        """No leak may be there."""
        return (Limit(LEAK, maximum=0.0, why_high="{note}"),)


def measure(answer: Answer) -> dict[str, Measured]:
    """Nothing: a text alone does not say what a benchmark holds."""
    del answer
    return {}


CONTAMINATED = Filter(
    ContaminatedConfig,
    "Benchmark leaks",
    "Rows that hold an item of a benchmark word for word, or in words a person called a leak.",
    0,
    measure,
)
