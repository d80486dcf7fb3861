"""Cohen's kappa, Fleiss' kappa, Krippendorff's alpha and plain agreement, with intervals.

All four have one form, (observed - expected) / (1 - expected), and differ in what they expect by
chance. Sources: Cohen 1960 (doi 10.1177/001316446002000104); Fleiss 1971 (10.1037/h0031619), for
items with different numbers of raters as in Gwet, Handbook of Inter-Rater Reliability (2014);
Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, nominal, any pattern of gaps.
"""

from collections.abc import Callable, Sequence

import numpy as np

from distill_studio.core.estimate import (
    Estimate,
    Floats,
    cluster_sums,
    percentiles,
    resampled,
    wilson,
)

# Totals, one row per (re)sample -> (observed, expected) agreement per row.
Reading = Callable[[Floats], tuple[Floats, Floats]]

NO_OVERLAP = "No record has been judged by two."
NO_VARIATION = "Everybody gave the same verdict everywhere: chance alone would agree as well."
ONE_PROMPT = "All of it is about one prompt: no interval."
FEW = "Too little variation for an interval."
_TINY = 1e-12


def percent(counts: Floats, clusters: Sequence[str], seed: int = 0) -> Estimate:
    """Share of agreeing pairs of raters, as a mean over items.

    Args:
        counts: `[N, K]`: how many raters gave item n the label k; two raters or more each.
        clusters: Of each item.
        seed: Of the bootstrap.
    """
    return mean_share(_item_agreement(counts), clusters, seed)


def mean_share(shares: Floats, clusters: Sequence[str], seed: int = 0) -> Estimate:
    """The mean of a share per item; nothing is expected by chance."""
    features = np.column_stack([shares, np.ones(len(shares))])
    return estimate(features, clusters, _read_percent, seed)


def fleiss_kappa(counts: Floats, clusters: Sequence[str], seed: int = 0) -> Estimate:
    """Chance is that of the mean share of each label. Arguments as for `percent`."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    features = np.column_stack([_item_agreement(counts), np.ones(len(counts)), shares])
    return estimate(features, clusters, _read_fleiss, seed)


def krippendorff_alpha(counts: Floats, clusters: Sequence[str], seed: int = 0) -> Estimate:
    """Nominal; chance is that of two verdicts drawn without replacement. Arguments as above."""
    size = counts.shape[1]
    raters = np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None]
    both = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(size)
    features = (both / raters).reshape(len(counts), size * size)
    return estimate(features, clusters, _read_alpha, seed)


def cohen_kappa(confusion: Floats, clusters: Sequence[str], seed: int = 0) -> Estimate:
    """Of two raters; chance is that of their own shares of each label.

    Args:
        confusion: `[N, K, K]`: per item, weight of (label of the first, label of the second);
            sums to 1. A "rater" may be several: then the weights are the shares of their labels.
        clusters: Of each item.
        seed: Of the bootstrap.
    """
    size = confusion.shape[1] ** 2
    return estimate(confusion.reshape(len(confusion), size), clusters, _read_cohen, seed)


def estimate(features: Floats, clusters: Sequence[str], reading: Reading, seed: int) -> Estimate:
    """The coefficient of all items, and its interval over resampled clusters."""
    n = len(features)
    if not n:
        return Estimate(why=NO_OVERLAP)
    sums = cluster_sums(clusters, features)
    observed, expected = (float(one[0]) for one in reading(sums.sum(axis=0, keepdims=True)))
    if 1 - expected < _TINY:
        return Estimate(n=n, why=NO_VARIATION)
    value = (observed - expected) / (1 - expected)
    if len(sums) < 2:
        return Estimate(value=value, n=n, why=ONE_PROMPT)
    if 1 - observed < _TINY or observed < _TINY:
        low, high = _ends(observed, expected, len(sums))
        return Estimate(value=value, low=low, high=high, n=n)
    found = percentiles(_values(*reading(resampled(sums, seed))))
    if found is None:
        return Estimate(value=value, n=n, why=FEW)
    return Estimate(value=value, low=found[0], high=found[1], n=n)


def _ends(observed: float, expected: float, clusters: int) -> tuple[float, float]:
    """Where all agree (or none) every resample does: Wilson's interval of that share instead."""
    ends = wilson(round(observed) * clusters, clusters)
    low, high = ((end - expected) / (1 - expected) for end in ends)
    return low, high


def _values(observed: Floats, expected: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        values: Floats = np.where(
            1 - expected < _TINY, np.nan, (observed - expected) / (1 - expected)
        )
    return values


def _item_agreement(counts: Floats) -> Floats:
    """Share of the pairs of raters of each item that agree."""
    raters = counts.sum(axis=1)
    agreeing: Floats = (counts * (counts - 1)).sum(axis=1) / np.maximum(raters * (raters - 1), 1)
    return agreeing


def _read_percent(totals: Floats) -> tuple[Floats, Floats]:
    observed = totals[:, 0] / totals[:, 1]
    return observed, np.zeros_like(observed)


def _read_fleiss(totals: Floats) -> tuple[Floats, Floats]:
    shares = totals[:, 2:] / totals[:, 1:2]
    return totals[:, 0] / totals[:, 1], (shares**2).sum(axis=1)


def _read_alpha(totals: Floats) -> tuple[Floats, Floats]:
    table = _square(totals)
    values = table.sum(axis=2)
    n = values.sum(axis=1)
    expected = (values * (values - 1)).sum(axis=1) / (n * (n - 1))
    return np.trace(table, axis1=1, axis2=2) / n, expected


def _read_cohen(totals: Floats) -> tuple[Floats, Floats]:
    table = _square(totals)
    n = table.sum(axis=(1, 2))
    expected = (table.sum(axis=2) * table.sum(axis=1)).sum(axis=1) / n**2
    return np.trace(table, axis1=1, axis2=2) / n, expected


def _square(totals: Floats) -> Floats:
    size = round(totals.shape[1] ** 0.5)
    return totals.reshape(len(totals), size, size)
