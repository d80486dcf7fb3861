"""Figures with intervals: a bootstrap that draws whole clusters, and Wilson's for plain shares.

What was the same in every cluster has no spread to draw from: see `same_everywhere`.

Every statistic here is a function of sums over clusters (prompts). So a resample is one row of
multinomial counts times the clusters' vectors, and thousands of resamples are one matrix product.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import scipy
from pydantic import Field

from distill_studio.core.records.base import Record

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

ROUNDS = 1000
CONFIDENCE = 0.95
_LEAST_DEFINED = 0.9  # of the rounds; with fewer, an interval would leave the awkward ones out


class Estimate(Record):
    """A figure with its 95% interval; what cannot be said is None, and `why` says why."""

    value: float | None = Field(default=None, description="The figure.")
    low: float | None = Field(default=None, description="Lower end of the 95% interval.")
    high: float | None = Field(default=None, description="Upper end of the 95% interval.")
    n: int = Field(default=0, ge=0, description="Items that it rests on.")
    why: str = Field(default="", description="In words, where figure or interval is missing.")


def cluster_sums(clusters: Sequence[str], features: Floats) -> Floats:
    """One row per cluster (in order of its name): the sum of its items' rows.

    Args:
        clusters: The cluster of each item.
        features: A row per item.
    """
    _, places = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.zeros((int(places.max()) + 1 if len(places) else 0, features.shape[1]))
    np.add.at(sums, places, features)
    return sums


def resampled(sums: Floats, seed: int, rounds: int = ROUNDS) -> Floats:
    """Totals of `rounds` bootstrap samples, each of as many clusters as there are.

    Clusters with the same vector are alike: how many of each kind are drawn is multinomial.

    Args:
        sums: A row per cluster.
        seed: Of the random draws; the same seed gives the same figures.
        rounds: Samples.
    """
    kinds, counts = np.unique(sums, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), counts / len(sums), size=rounds)
    totals: Floats = drawn.astype(np.float64) @ kinds
    return totals


def percentiles(values: Floats) -> tuple[float, float] | None:
    """The 95% percentile interval; None where too many of the values are undefined (nan)."""
    defined = values[~np.isnan(values)]
    if len(defined) < _LEAST_DEFINED * len(values):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def same_everywhere(value: float, clusters: int) -> tuple[float, float]:
    """95% interval of a mean of values from 0 to 1 that was the same in every cluster.

    No spread was seen, so nothing can be resampled. What can be said is how many clusters may be
    otherwise without one having been met (Clopper and Pearson 1934: exact): they may be all 0 or
    all 1.

    Args:
        value: In each of them.
        clusters: How many, 1 or more.
    """
    unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / clusters)
    return value * (1 - unseen), value * (1 - unseen) + unseen


def wilson(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share; (0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    found = scipy.stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def share(count: int, total: int) -> Estimate:
    """A plain share of independent events with Wilson's interval."""
    if not total:
        return Estimate(why="There is nothing to count yet.")
    low, high = wilson(count, total)
    return Estimate(value=count / total, low=low, high=high, n=total)
