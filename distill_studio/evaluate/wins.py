"""Win rates from votes, with bootstrap intervals that resample prompts.

Votes on one prompt are not independent of each other, so whole prompts are drawn again
(cluster bootstrap; Miller 2024, arXiv 2411.00640). A tie counts half.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from distill_studio.core.records.base import Record
from distill_studio.core.records.preference import OUTCOME_POINTS

_ROUNDS = 2000


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


def win_rates(bouts: Sequence[Bout], seed: int = 0) -> list[WinRate]:
    """A row per model over all its bouts, best first, then a row per ordered pair of models."""
    by_pair: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for bout in bouts:
        good, bad = OUTCOME_POINTS[bout.outcome]
        by_pair[bout.winner, bout.loser].append((bout.prompt, good))
        by_pair[bout.loser, bout.winner].append((bout.prompt, bad))
    by_model: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for (model, _), scores in by_pair.items():
        by_model[model] += scores
    rng = np.random.default_rng(seed)
    overall = [_rate(model, "", scores, rng) for model, scores in sorted(by_model.items())]
    paired = [_rate(a, b, scores, rng) for (a, b), scores in sorted(by_pair.items())]
    return sorted(overall, key=lambda row: -row.rate) + paired


def _rate(
    model: str, against: str, scores: Sequence[tuple[str, float]], rng: np.random.Generator
) -> WinRate:
    values = [score for _, score in scores]
    low, high = clustered_interval(scores, rng)
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


def clustered_interval(
    scores: Iterable[tuple[str, float]], rng: np.random.Generator, rounds: int = _ROUNDS
) -> tuple[float, float]:
    """95% percentile interval of the mean score; whole prompts are drawn with replacement.

    With fewer than two prompts nothing can be said: (0, 1).
    """
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for prompt, score in scores:
        sums[prompt] += score
        counts[prompt] += 1
    if len(sums) < 2:
        return 0.0, 1.0
    # Prompts with equal (sum, count) are alike: draw how many of each kind, not each prompt.
    kinds = Counter((sums[prompt], counts[prompt]) for prompt in sums)
    total: npt.NDArray[np.float64] = np.array([kind[0] for kind in kinds])
    size: npt.NDArray[np.float64] = np.array([kind[1] for kind in kinds])
    shares = np.array(list(kinds.values())) / len(sums)
    drawn = rng.multinomial(len(sums), shares, size=rounds)
    means = (drawn @ total) / (drawn @ size)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
