"""How good one model is beside another on the same items, with intervals.

Items are paired: the same question to both, so what makes it hard falls out of the difference
(Miller 2024, arXiv 2411.00640). Items of one cluster (samples of one question, questions on one
text) are not independent; standard errors add up whole clusters. Means and differences have
Student's t intervals; ratios, whose error is skewed, Fieller's.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import scipy
from pydantic import Field

from distill_studio.core.estimate import (
    CONFIDENCE,
    Estimate,
    Floats,
    cluster_sums,
)
from distill_studio.core.records.base import Record

POWER = 0.8
_LEAST_ROOM = 1e-9  # below it a teacher is no better than chance, a gap is none
_FEW = "Two questions at least are needed for an interval."
_NO_SPREAD = "All of them are the same: too little to say how sure this is."
_NO_ITEMS = "There is nothing to count yet."
_NO_BETTER = "The teacher is no better than chance here."
_BARELY_BETTER = "So few prompts do not show that the teacher is better than chance: no interval."
_NO_GAP = "The teacher is no better than the base here, so there is no gap to close."
_WEAK_GAP = "So few prompts do not show that there is a gap to the teacher: no interval."


class Difference(Record):
    """First minus second, over the same items."""

    mean: Estimate = Field(description="Mean difference of the scores.")
    se: float | None = Field(default=None, description="Its standard error, by cluster.")
    p_value: float | None = Field(default=None, description="Of no difference; two-sided t test.")
    detectable: float | None = Field(
        default=None, description="Smallest true difference found 8 times in 10 with so many items."
    )


def mean_score(clusters: Sequence[str], scores: Floats) -> Estimate:
    """The mean score with its t interval over clusters.

    Args:
        clusters: The cluster of each item, (N,).
        scores: (N,) of one model.
    """
    value, se, groups = _mean_and_error(clusters, scores)
    return _with_interval(value, se, groups, len(scores))


def difference(clusters: Sequence[str], first: Floats, second: Floats) -> Difference:
    """How much better the first model is than the second.

    Args:
        clusters: The cluster of each item, (N,).
        first: (N,) scores of one model.
        second: (N,) scores of the other, of the same items in the same order.
    """
    value, se, groups = _mean_and_error(clusters, first - second)
    mean = _with_interval(value, se, groups, len(first))
    if not se or value is None:
        return Difference(mean=mean, se=se)
    p_value = float(2 * scipy.stats.t.sf(abs(value) / se, groups - 1))
    return Difference(mean=mean, se=se, p_value=p_value, detectable=se * _reach())


def items_needed(differences: Floats, effect: float) -> int | None:
    """Items at which a true difference of `effect` would be found 8 times in 10.

    n = (z(1 - alpha / 2) + z(power))^2 * variance / effect^2, the variance that of the paired
    differences seen so far (Miller 2024, section 5). None where it cannot be said.

    Args:
        differences: (N,) of independent items.
        effect: A difference that would matter, above 0.
    """
    if len(differences) < 2 or effect <= 0:
        return None
    variance = float(np.var(differences, ddof=1))
    if not variance:
        return None  # no spread seen: nothing to plan with
    return max(2, math.ceil(_reach() ** 2 * variance / effect**2))


def retained(
    clusters: Sequence[str], student: Floats, teacher: Floats, chance: float | Floats = 0.0
) -> Estimate:
    """The share of the teacher's quality that the student keeps: (s - c) / (t - c).

    Args:
        clusters: The cluster of each item, (N,).
        student: (N,) scores.
        teacher: (N,) scores of the same items.
        chance: What guessing scores, for all items or each (1 / choices).
    """
    luck = np.broadcast_to(np.asarray(chance, dtype=np.float64), student.shape)
    return _ratio(clusters, student - luck, teacher - luck, _NO_BETTER, _BARELY_BETTER)


def recovered(clusters: Sequence[str], student: Floats, base: Floats, teacher: Floats) -> Estimate:
    """The share of the gap between base and teacher that training closed: (s - b) / (t - b).

    Args:
        clusters: The cluster of each item, (N,).
        student: (N,) scores.
        base: (N,) scores of what the student was before.
        teacher: (N,) scores.
    """
    return _ratio(clusters, student - base, teacher - base, _NO_GAP, _WEAK_GAP)


def _mean_and_error(
    clusters: Sequence[str], values: Floats
) -> tuple[float | None, float | None, int]:
    """Mean, its standard error by cluster (None for one cluster), and the number of clusters.

    The error is that of a regression on nothing but a constant with clustered (CR1) errors.
    """
    if not len(values):
        return None, None, 0
    mean = float(np.mean(values))
    sums = cluster_sums(clusters, (values - mean)[:, None])[:, 0]
    groups = len(sums)
    if groups < 2:
        return mean, None, groups
    se = math.sqrt(float(np.sum(sums**2)) * groups / (groups - 1)) / len(values)
    return mean, se, groups


def _with_interval(value: float | None, se: float | None, groups: int, n: int) -> Estimate:
    if value is None:
        return Estimate(why=_NO_ITEMS)
    if not se:
        return Estimate(value=value, n=n, why=_FEW if se is None else _NO_SPREAD)
    reach = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1)) * se
    return Estimate(value=value, low=value - reach, high=value + reach, n=n)


def _ratio(
    clusters: Sequence[str], above: Floats, below: Floats, nothing: str, little: str
) -> Estimate:
    """sum(above) / sum(below) with Fieller's interval over clusters (1954; CR1 errors).

    It holds the ratios q at which above - q below does not differ from 0 by Student's t. Where
    `below` itself does not, it has no ends.

    Args:
        clusters: The cluster of each item, (N,).
        above: (N,), what is divided.
        below: (N,), by what.
        nothing: What to say where the sum of `below` is not above 0.
        little: What to say where it is, but not shown to be.
    """
    if not len(above):
        return Estimate(why=_NO_ITEMS)
    n, up, down = len(above), float(above.mean()), float(below.mean())
    if down <= _LEAST_ROOM:
        return Estimate(n=n, why=nothing)
    value = up / down
    sums = cluster_sums(clusters, np.column_stack([above - up, below - down]))
    groups = len(sums)
    if groups < 2:
        return Estimate(value=value, n=n, why=_FEW)
    if float(np.abs(sums @ [1.0, -value]).max()) < _LEAST_ROOM:
        return Estimate(value=value, n=n, why="Too few items to say how sure this is.")
    spread = sums.T @ sums * groups / (groups - 1) / n**2
    t2 = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1)) ** 2
    a = down**2 - t2 * float(spread[1, 1])
    if a <= 0:
        return Estimate(value=value, n=n, why=little)
    half_b = up * down - t2 * float(spread[0, 1])
    reach = math.sqrt(max(half_b**2 - a * (up**2 - t2 * float(spread[0, 0])), 0.0))
    return Estimate(value=value, low=(half_b - reach) / a, high=(half_b + reach) / a, n=n)


def _reach() -> float:
    """z(1 - alpha / 2) + z(power): standard errors between nothing and what is found."""
    normal = NormalDist()
    return normal.inv_cdf((1 + CONFIDENCE) / 2) + normal.inv_cdf(POWER)
