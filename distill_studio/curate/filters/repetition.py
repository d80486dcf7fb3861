"""Answers that say the same thing again and again (n-gram loops, repeated lines).

The rules are those of the Gopher paper: `core.repetition`.

The default is 2: of the 805 AlpacaEval answers of each model it drops 2 of GPT-4's (a song's
refrain, a list of paraphrases), 20 to 32 of the weak models', whose loops are real. At 1 it is
19 and 64 to 117, many of them songs and tables.
"""

from typing import Literal

from distill_studio.core.repetition import repetition
from distill_studio.curate.filters.base import (
    Answer,
    Filter,
    FilterConfig,
    Limit,
    Measured,
    setting,
)


class RepetitionConfig(FilterConfig):
    """How much repetition is allowed, as a multiple of Gopher's limits."""

    kind: Literal["repetition"] = "repetition"
    max_score: float = setting(
        2.0,
        "How much repetition is allowed",
        "1 = the limits of the Gopher paper for web pages; songs and lists need more.",
        ge=0.1,
        le=10.0,
        step=0.1,
    )

    def limits(self) -> tuple[Limit, ...]:
        """One limit on the largest quotient of value and published limit."""
        return (
            Limit(
                "repetition.score",
                maximum=self.max_score,
                why_high="repeats itself: {note}",
            ),
        )


def measure(answer: Answer) -> dict[str, Measured]:
    """The largest quotient of a rule's value and its limit, with the rule as the note."""
    worst = repetition(answer.text)
    return {"repetition.score": Measured(worst.score, worst.note)}


REPETITION = Filter(RepetitionConfig, "Repetition", "Loops and repeated lines.", 1, measure)
