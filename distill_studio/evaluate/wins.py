"""Win rates from votes, with intervals that take prompts for what is independent.

Votes on one prompt hang together, so that whole prompts count as clusters (Miller 2024, arXiv
2411.00640). A tie counts half.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import scipy
from pydantic import Field

from distill_studio.core.estimate import CONFIDENCE, cluster_sums, same_everywhere
from distill_studio.core.records.base import Record
from distill_studio.core.records.preference import OUTCOME_POINTS

_NO_SPREAD = 1e-15  # a variance: rounding alone


class Bout(Record):
    """One outcome between two models on one prompt."""

    prompt: str = Field(description="Key of the prompt; bouts that share it are resampled as one.")
    winner: str = Field(description="The better model, or the first one of a tie.")
    loser: str = Field(description="The other model.")
    outcome: str = Field(default="win", description="win, tie or both_bad.")


class WinRate(Record):
    """How often a model was preferred, over all its bouts or against one other."""

    model: str = Field(description="Whose rate.")
    against: str = Field(default="", description="The other model; empty: all others.")
    n: int = Field(ge=0, description="Bouts.")
    prompts: int = Field(ge=0, description="Different prompts among them.")
    wins: int = Field(ge=0, description="Bouts won.")
    ties: int = Field(ge=0, description="Bouts without a winner.")
    losses: int = Field(ge=0, description="Bouts lost.")
    rate: float = Field(description="(wins + ties / 2) / n.")
    low: float = Field(description="Lower end of the 95% interval.")
    high: float = Field(description="Upper end of the 95% interval.")


def win_rates(bouts: Sequence[Bout]) -> list[WinRate]:
    """A row per model over all its bouts, best first, then a row per ordered pair of models."""
    by_pair: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for bout in bouts:
        good, bad = OUTCOME_POINTS[bout.outcome]
        by_pair[bout.winner, bout.loser].append((bout.prompt, good))
        by_pair[bout.loser, bout.winner].append((bout.prompt, bad))
    by_model: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for (model, _), scores in by_pair.items():
        by_model[model] += scores
    overall = [_rate(model, "", scores) for model, scores in sorted(by_model.items())]
    paired = [_rate(a, b, scores) for (a, b), scores in sorted(by_pair.items())]
    return sorted(overall, key=lambda row: -row.rate) + paired


def _rate(model: str, against: str, scores: Sequence[tuple[str, float]]) -> WinRate:
    values = [score for _, score in scores]
    low, high = clustered_interval(scores)
    return WinRate(
        model=model,
        against=against,
        n=len(values),
        prompts=len({prompt for prompt, _ in scores}),
        wins=sum(value == 1.0 for value in values),
        ties=sum(value == 0.5 for value in values),
        losses=sum(value == 0.0 for value in values),
        rate=sum(values) / len(values),
        low=low,
        high=high,
    )


def clustered_interval(scores: Iterable[tuple[str, float]]) -> tuple[float, float]:
    """95% interval of the mean of scores from 0 to 1, prompts taken for what is independent.

    With r the mean and v its variance by cluster (CR1), r (1 - r) / v is how many independent
    scores tell as much: Wilson's interval of so many, with Student's t over prompts (as Korn and
    Graubard 1998 do for Clopper and Pearson's). With fewer than two prompts nothing can be said:
    (0, 1).
    """
    rows = list(scores)
    prompts, values = [prompt for prompt, _ in rows], np.array([score for _, score in rows])
    if len(set(prompts)) < 2:
        return 0.0, 1.0
    rate = float(values.mean())
    sums = cluster_sums(prompts, (values - rate)[:, None])[:, 0]
    groups = len(sums)
    variance = float((sums**2).sum()) * groups / (groups - 1) / len(values) ** 2
    if variance < _NO_SPREAD:
        return same_everywhere(rate, groups)
    t = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1))
    each = t**2 * variance / (rate * (1 - rate))  # t^2 over the number of independent scores
    middle = (rate + each / 2) / (1 + each)
    reach = math.sqrt(t**2 * variance + each**2 / 4) / (1 + each)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)
