"""How alike two units are, and which of the candidates reach a floor.

The similarity of two units is the smallest over their fields, and in each field the smallest over
aligned windows; different numbers of windows are no match (similarity 0). Products are taken in
float64 and rounded to six decimals, so that they do not depend on how the pairs were cut up.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.dedup.projection import SLACK, BoolMatrix, Index
from distill_studio.curate.dedup.vectors import FloatArray, IntArray, WindowedVectors

DECIMALS = 6
_DENSE = 0.02  # share of a tile's pairs above which a full product beats pair by pair
_CHUNK = 8192  # pairs computed at once


def sift(
    mask: BoolMatrix,
    left: Sequence[WindowedVectors],
    rows: Index,
    right: Sequence[WindowedVectors],
    columns: Index,
    floor: float,
) -> None:
    """Where many pairs are candidates, take away what a product of all first windows rules out.

    mask: (R, C) candidates among the units `rows` of `left` and `columns` of `right`.
    """
    if np.count_nonzero(mask) > _DENSE * mask.size:
        for ours, theirs in zip(left, right, strict=True):
            mask &= ours.first[rows] @ theirs.first[columns].T >= floor - SLACK


def near(
    left: Sequence[WindowedVectors],
    i: IntArray,
    right: Sequence[WindowedVectors],
    j: IntArray,
    floor: float,
) -> tuple[IntArray, IntArray, FloatArray]:
    """(i, j, similarity) of the pairs unit i[p] of `left`, j[p] of `right` that reach the floor.

    One entry of `left` and `right` per field. First windows are compared in float32 first: most
    candidates end there, at a third of the cost.
    """
    for ours, theirs in zip(left, right, strict=True):
        likely = _above(ours.first, i, theirs.first, j, floor - SLACK)
        i, j = i[likely], j[likely]
    similarity = np.ones(len(i))
    for ours, theirs in zip(left, right, strict=True):
        similarity = np.minimum(similarity, aligned_similarity(ours, i, theirs, j, floor))
        keep = similarity >= floor
        i, j, similarity = i[keep], j[keep], similarity[keep]
    return i, j, similarity


def aligned_similarity(
    left: WindowedVectors, i: IntArray, right: WindowedVectors, j: IntArray, floor: float = 0.0
) -> FloatArray:
    """(P,) similarity of text i[p] of `left` and j[p] of `right`: the smallest of their windows.

    Texts with different numbers of windows have similarity 0. Where it is below `floor` the value
    may be that of an earlier window only.
    """
    lowest = np.zeros(len(i))
    alive = np.flatnonzero(left.counts[i] == right.counts[j])
    lowest[alive] = _dots(left.first, i[alive], right.first, j[alive])
    window = 0
    while len(alive := alive[(lowest[alive] >= floor) & (left.counts[i[alive]] > window + 1)]):
        p, q = i[alive], j[alive]
        dots = _dots(left.rest, left.starts[p] + window, right.rest, right.starts[q] + window)
        lowest[alive] = np.minimum(lowest[alive], dots)
        window += 1
    return lowest


def _above(
    left: FloatMatrix, i: IntArray, right: FloatMatrix, j: IntArray, least: float
) -> IntArray:
    """Numbers of the pairs whose float32 product is at least `least`."""
    found = [np.zeros(0, dtype=np.int64)]
    for part in _chunks(len(i)):
        products = np.einsum("pd,pd->p", left[i[part]], right[j[part]])
        found.append(np.flatnonzero(products >= least) + part.start)
    return np.concatenate(found)


def _dots(left: FloatMatrix, i: IntArray, right: FloatMatrix, j: IntArray) -> FloatArray:
    """(P,) products of rows, in float64, rounded."""
    found = np.empty(len(i))
    for part in _chunks(len(i)):
        a, b = left[i[part]].astype(np.float64), right[j[part]].astype(np.float64)
        found[part] = np.einsum("pd,pd->p", a, b)
    return np.minimum(np.round(found, DECIMALS), 1.0)


def _chunks(pairs: int) -> Iterator[slice]:
    return (slice(start, min(start + _CHUNK, pairs)) for start in range(0, pairs, _CHUNK))
