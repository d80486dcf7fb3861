"""How far one embedding model agrees with another on the same texts. Start at `agreement`.

Two models give the same pair of texts different cosines, so a threshold of one says nothing to the
other. What can be compared is the order of pairs, and which pairs lie above the line when each
model draws it so that as many pairs lie above.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy

from distill_studio.curate.dedup.similarity import aligned_similarity
from distill_studio.curate.dedup.vectors import FloatArray, WindowedVectors
from distill_studio.curate.reports import ThresholdMatch

THRESHOLDS = (0.8, 0.85, 0.9, 0.95)


def all_similarities(fields: Sequence[WindowedVectors]) -> FloatArray:
    """(N * (N - 1) / 2,) similarity of all pairs of N units, as the search has it; no floor."""
    i, j = np.triu_indices(len(fields[0]), k=1)
    found = np.ones(len(i))
    for field in fields:
        found = np.minimum(found, aligned_similarity(field, i, field, j, floor=-1.0))
    return found


def same_windows(fields: Sequence[WindowedVectors]) -> npt.NDArray[np.bool_]:
    """(N * (N - 1) / 2,) False for pairs whose texts have different numbers of windows.

    Their similarity is 0 by rule, so that their order says nothing of a model.
    """
    i, j = np.triu_indices(len(fields[0]), k=1)
    same = [field.counts[i] == field.counts[j] for field in fields]
    return np.asarray(np.logical_and.reduce(same), dtype=np.bool_)


def spearman(full: FloatArray, fast: FloatArray) -> float | None:
    """Rank correlation of the pairs' similarities; None where one model finds all alike."""
    if len(full) < 2 or np.ptp(full) == 0 or np.ptp(fast) == 0:
        return None
    return float(scipy.stats.spearmanr(full, fast).statistic)


def matches(full: FloatArray, fast: FloatArray, threshold: float) -> list[ThresholdMatch]:
    """The matching threshold and its recall for the usual thresholds and for `threshold`."""
    return [match(full, fast, one) for one in sorted({*THRESHOLDS, threshold})]


def match(full: FloatArray, fast: FloatArray, threshold: float) -> ThresholdMatch:
    """Where the other model finds as many pairs as the full one from `threshold` up.

    Ties at the line all count as above it. As the numbers are equal, recall is precision too.
    """
    is_near = full >= threshold
    count = int(np.count_nonzero(is_near))
    if count == 0:
        return ThresholdMatch(threshold=threshold, matching=None, pairs=0, recall=None)
    line = float(np.partition(fast, len(fast) - count)[len(fast) - count])
    recall = float(np.count_nonzero(is_near & (fast >= line)) / count)
    return ThresholdMatch(threshold=threshold, matching=line, pairs=count, recall=recall)
