"""Does a judge's score tell what people keep from what they reject? Start from `separation`."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill_studio.core.estimate import (
    Estimate,
    Floats,
    cluster_sums,
    percentiles,
    resampled,
)

_MOST_STEPS = 200  # different scores; finer ones are put together


def separation(
    scores: Sequence[float], kept: Sequence[bool], clusters: Sequence[str], seed: int = 0
) -> Estimate:
    """The chance that a kept answer scores higher than a rejected one, ties half (ROC AUC).

    0.5 is no better than chance. Interval: bootstrap over prompts.
    """
    is_kept = np.asarray(kept, dtype=bool)
    if is_kept.all() or not is_kept.any():
        return Estimate(n=len(scores), why="People have not both kept and rejected scored answers.")
    steps, place = _steps(np.asarray(scores, dtype=np.float64))
    features = np.zeros((len(scores), 2, steps))
    features[np.arange(len(scores)), is_kept.astype(int), place] = 1
    sums = cluster_sums(clusters, features.reshape(len(scores), -1))
    value = float(_auc(sums.sum(axis=0, keepdims=True), steps)[0])
    if len(sums) < 2:
        return Estimate(value=value, n=len(scores), why="All of it is about one prompt.")
    ends = percentiles(_auc(resampled(sums, seed), steps))
    if ends is None:
        return Estimate(value=value, n=len(scores), why="Too few of one kind for an interval.")
    return Estimate(value=value, low=ends[0], high=ends[1], n=len(scores))


def _steps(scores: Floats) -> tuple[int, npt.NDArray[np.intp]]:
    values, place = np.unique(scores, return_inverse=True)
    if len(values) > _MOST_STEPS:
        edges = np.quantile(scores, np.linspace(0, 1, _MOST_STEPS + 1)[1:-1])
        values, place = np.unique(np.digitize(scores, edges), return_inverse=True)
    return len(values), place


def _auc(totals: Floats, steps: int) -> Floats:
    table = totals.reshape(len(totals), 2, steps)
    rejected, kept = table[:, 0], table[:, 1]
    below = np.cumsum(rejected, axis=1) - rejected / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        area: Floats = (kept * below).sum(axis=1) / (kept.sum(axis=1) * rejected.sum(axis=1))
    return area
