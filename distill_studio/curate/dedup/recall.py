"""What share of the near pairs an approximate search finds, judged by a sample of units.

All near pairs of each sampled unit with older ones are known by an exact search. Pairs of one unit
tend to be found or missed together, so the interval counts as if they always were: the exact
binomial interval with Kish's effective number of pairs (Korn and Graubard 1998, "Confidence
intervals for proportions with small expected number of positive counts", section 2).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from distill_studio.curate.dedup.vectors import FloatArray, IntArray

_TAIL = 0.025  # on each side: a 95% interval


@dataclass(frozen=True)
class Recall:
    """share: of the sampled pairs, those found; low, high: its 95% interval. pairs: the sample's.

    Without pairs nothing is known: share 1, interval 0 to 1.
    """

    share: float
    low: float
    high: float
    pairs: int


def estimate(found: npt.NDArray[np.bool_], units: IntArray) -> Recall:
    """Judge by sampled pairs: found (P,) which the search has, units (P,) the sampled unit."""
    pairs = len(found)
    if pairs == 0:
        return Recall(1.0, 0.0, 1.0, 0)
    share = float(found.mean())
    low, high = interval(share, effective(units))
    return Recall(share, low, high, pairs)


def effective(units: IntArray) -> float:
    """Kish's effective number of pairs, (sum m)^2 / sum m^2 for units with m pairs each."""
    _, sizes = np.unique(units, return_counts=True)
    return float(sizes.sum() ** 2 / (sizes.astype(np.float64) ** 2).sum())


def interval(share: float, count: float) -> tuple[float, float]:
    """Clopper and Pearson's 95% interval of a share among `count` trials, not always whole."""
    hits = share * count
    low = float(scipy.stats.beta.ppf(_TAIL, hits, count - hits + 1)) if hits > 0 else 0.0
    high = float(scipy.stats.beta.ppf(1 - _TAIL, hits + 1, count - hits)) if hits < count else 1.0
    return low, high


def margin_for(needed: FloatArray, units: IntArray, wanted: float) -> float:
    """The smallest margin whose recall is at least `wanted`, by the lower end of its interval.

    Args:
        needed: (P,) for each sampled pair the margin from which it is found.
        units: (P,) the sampled unit of each.
        wanted: Share of all pairs. When the sample is too small to vouch for it, nothing of the
            sample is missed.
    """
    ordered = np.sort(needed)
    count, total = effective(units), len(needed)
    missed = 0
    while missed + 1 < total and interval(1 - (missed + 1) / total, count)[0] >= wanted:
        missed += 1
    return float(max(0.0, ordered[total - 1 - missed]))
