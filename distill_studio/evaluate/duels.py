"""From one vote over two to four answers to outcomes between two answers each."""

from dataclasses import dataclass
from itertools import combinations

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.comparison import TIE, Comparison
from distill_studio.core.records.preference import Outcome

BOTH_BAD = "both_bad"


@dataclass(frozen=True)
class Duel:
    """Two places (0-based, left before right) and who won between them."""

    left: int
    right: int
    outcome: Outcome


def duels(comparison: Comparison, winner: str) -> list[Duel]:
    """The winner beats every other complete answer; a tie or both-bad holds between all of them.

    Two answers with the same words tie, whatever was voted: there is nothing to prefer.

    Args:
        comparison: With final answers.
        winner: '1' to '4' (the place), a model's id or label, 'tie' or 'both_bad'.

    Raises:
        InvalidInput: Fewer than two complete answers, or no such winner.
    """
    good = [index for index, answer in enumerate(comparison.answers) if answer.is_ok]
    if len(good) < 2:
        raise InvalidInput(
            "There is nothing to vote on: fewer than two answers are complete.",
            "Run the comparison again.",
        )
    if winner in (TIE, BOTH_BAD):
        return [Duel(a, b, Outcome(winner)) for a, b in combinations(good, 2)]
    best = place_of(comparison, winner)
    if best not in good:
        raise InvalidInput("That answer is not complete, so it cannot win.")
    return [_duel(comparison, best, other) for other in good if other != best]


def place_of(comparison: Comparison, winner: str) -> int:
    """The 0-based place that `winner` names."""
    for index, answer in enumerate(comparison.answers):
        if winner in (str(index + 1), answer.card.id, answer.card.label):
            return index
    raise InvalidInput(
        f"'{winner}' is not part of this comparison.",
        f"Choose 1 to {len(comparison.answers)}, a model's id, {TIE} or {BOTH_BAD}.",
    )


def _duel(comparison: Comparison, best: int, other: int) -> Duel:
    left, right = sorted((best, other))
    texts = [comparison.answers[index].text.strip() for index in (left, right)]
    if texts[0] == texts[1]:
        return Duel(left, right, Outcome.TIE)
    return Duel(left, right, Outcome.LEFT if best == left else Outcome.RIGHT)
