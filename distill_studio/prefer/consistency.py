"""How steady a voter is, from comparisons shown twice with the sides swapped."""

from collections.abc import Sequence

from pydantic import Field

from distill_studio.core.records import Outcome, Record

_SWAPPED = {Outcome.LEFT: Outcome.RIGHT, Outcome.RIGHT: Outcome.LEFT}


class Consistency(Record):
    """A voter's agreement with themselves."""

    repeats: int = Field(description="Comparisons voted on twice; of a ranking, every two answers.")
    tasks: int = Field(default=0, description="Different comparisons and rankings among them.")
    same: int = Field(description="Of those, with the same answer (or verdict) both times.")
    same_side: int = Field(description="Of those, the same side both times: a habit, not a reason.")
    left_share: float | None = Field(description="Share of wins given to the left, of all wins.")
    wins: int = Field(description="Votes for a side, the base of `left_share`.")

    @property
    def share(self) -> float | None:
        """Share of repeats answered the same way; None before the first."""
        return self.same / self.repeats if self.repeats else None


def is_same(first: Outcome, again: Outcome) -> bool:
    """Whether the vote with the sides swapped says what the first one said."""
    return again == _SWAPPED.get(first, first)


def consistency(
    twice: Sequence[tuple[Outcome, Outcome]], left_wins: int, right_wins: int, *, tasks: int = 0
) -> Consistency:
    """Compare each vote with its repeat.

    Args:
        twice: (first outcome, outcome with the sides swapped), as seen on each screen.
        left_wins: Votes for the left side, of all comparisons.
        right_wins: Votes for the right side.
        tasks: Different comparisons and rankings among `twice`.
    """
    wins = left_wins + right_wins
    return Consistency(
        repeats=len(twice),
        tasks=tasks,
        same=sum(is_same(first, again) for first, again in twice),
        same_side=sum(first in _SWAPPED and again == first for first, again in twice),
        left_share=left_wins / wins if wins else None,
        wins=wins,
    )
