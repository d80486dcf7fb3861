"""Which comparison to ask for next: the one that tells most about the models' strengths.

A vote between a and b has information w = p (1 - p) about R_a - R_b. With S the covariance of the
strengths and d = e_a - e_b it tells

    log(1 + w d' S d) / 2

about all of them (the fall of log det S; a D-optimal design chosen greedily: Fedorov, Theory of
Optimal Experiments, 1972). So close models whose difference is uncertain come first; a pair that is
decided, and a model with itself, tell little or nothing. Start from `most_informative`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill_studio.agreement.bradley_terry import covariance, fit
from distill_studio.core.estimate import Floats
from distill_studio.core.records.preference import OUTCOME_POINTS

Kind = tuple[str, str]  # two models

# Strengths before any vote: standard deviation of one logit (174 points), so that a model that
# nobody has met is uncertain but not endlessly so.
_PRIOR = 1.0
_SAME = 12  # decimals: gains that differ less are equal, and rounding does not choose


@dataclass(frozen=True, slots=True)
class Couple:
    """Two answers that may be compared, and the models that wrote them."""

    first_id: str
    second_id: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How often two models met with one outcome: `win` of the first, `tie` or `both_bad`."""

    first: str
    second: str
    outcome: str = "win"
    n: int = 1


def most_informative(
    couples: Sequence[Couple], votes: Sequence[Tally], limit: int, asked: Iterable[Kind] = ()
) -> list[Couple]:
    """The couples in the order in which to ask for them; each answer is taken once at most.

    Every choice counts as asked when the next is made, so one batch does not ask for the same two
    models only. Of one kind the earlier couple in `couples` comes first, of equally informative
    kinds the one with more couples left.

    Args:
        couples: What could be asked; shuffle them first to leave the choice within a kind to
            chance.
        votes: Votes so far.
        limit: Couples at most.
        asked: The models of comparisons that are shown and not voted on yet.
    """
    waiting: dict[Kind, list[Couple]] = {}
    for couple in reversed(couples):
        waiting.setdefault(_kind(couple.first, couple.second), []).append(couple)
    kinds = sorted(waiting)
    left = np.array([len(waiting[kind]) for kind in kinds])
    design = _Design(kinds, votes, list(asked))
    chosen: list[Couple] = []
    taken: set[str] = set()
    while len(chosen) < limit and left.any():
        best = design.best(left)
        couple = waiting[kinds[best]].pop()
        left[best] -= 1
        ids = {couple.first_id, couple.second_id}
        if taken.isdisjoint(ids):
            taken |= ids
            chosen.append(couple)
            design.ask(kinds[best])
    return chosen


class _Design:
    """The covariance of the strengths, given the votes so far and those asked for."""

    def __init__(
        self, kinds: Sequence[Kind], votes: Sequence[Tally], asked: Sequence[Kind]
    ) -> None:
        used = [vote for vote in votes if vote.first != vote.second]
        met = [(vote.first, vote.second) for vote in used]
        names = sorted({name for kind in (*kinds, *asked, *met) for name in kind})
        self.place = {name: k for k, name in enumerate(names)}
        self.a = np.array([self.place[first] for first, _ in kinds], dtype=np.intp)
        self.b = np.array([self.place[second] for _, second in kinds], dtype=np.intp)
        wins = self._wins(used)
        self.theta = fit(_with_average(wins)[None])[0][:-1]
        self.spread: Floats = covariance(wins, self.theta, _PRIOR)
        for kind in asked:
            self.ask(kind)

    def best(self, left: npt.NDArray[np.int_]) -> int:
        """Which kind of those that are left tells most."""
        variance = self.spread.diagonal()
        across = variance[self.a] + variance[self.b] - 2 * self.spread[self.a, self.b]
        gains = np.log1p(self._weight(self.a, self.b) * across) / 2  # nats
        gains = np.where(left > 0, np.round(gains, _SAME), -np.inf)
        return int(np.lexsort((left, gains))[-1])

    def ask(self, kind: Kind) -> None:
        """Count a vote between these two as made (Sherman and Morrison, 1950)."""
        a, b = (self.place[name] for name in kind)
        weight = float(self._weight(a, b))
        along = self.spread[:, a] - self.spread[:, b]
        across = float(along[a] - along[b])
        self.spread = self.spread - weight * np.outer(along, along) / (1 + weight * across)

    def _weight(self, a: npt.NDArray[np.intp] | int, b: npt.NDArray[np.intp] | int) -> Floats:
        chance = 1 / (1 + np.exp(self.theta[b] - self.theta[a]))
        return np.asarray(chance * (1 - chance), dtype=np.float64)

    def _wins(self, votes: Sequence[Tally]) -> Floats:
        wins = np.zeros((len(self.place), len(self.place)))
        for vote in votes:
            good, bad = OUTCOME_POINTS[vote.outcome]
            a, b = self.place[vote.first], self.place[vote.second]
            wins[a, b] += good * vote.n
            wins[b, a] += bad * vote.n
        return wins


def _kind(first: str, second: str) -> Kind:
    return (first, second) if first <= second else (second, first)


def _with_average(wins: Floats) -> Floats:
    """Half a win each way against an average model keeps a beginner's strength finite."""
    size = len(wins)
    padded = np.zeros((size + 1, size + 1))
    padded[:size, :size] = wins
    padded[:size, size] = padded[size, :size] = 0.5
    return padded
