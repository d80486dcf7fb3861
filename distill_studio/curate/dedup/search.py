"""All pairs of units at least `floor` alike, exactly, by tiled matrix products.

Start at `NearSearch`. Units are compared tile by tile, each pair once (the newer unit against the
older ones). A product of short vectors bounds every similarity from above (`projection`); only
pairs that reach the floor by that bound are computed in full, in float64. Memory is bounded:
short vectors of all units, what the source holds, and one tile's worth of pairs per thread.

The similarity of two units is the smallest over their fields, and in each field the smallest over
aligned windows; different numbers of windows are no match (similarity 0). Similarities are
rounded to six decimals, so that they do not depend on the tiling.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.dedup.projection import SLACK, basis, project
from distill_studio.curate.dedup.vectors import (
    FloatArray,
    IntArray,
    VectorSource,
    WindowedVectors,
)

BoolMatrix = npt.NDArray[np.bool_]

DECIMALS = 6
_TILE = 1024
_SAMPLE_ROWS = 8192
_DENSE = 0.02  # share of a tile's pairs above which a full product beats pair by pair
_CHUNK = 8192  # pairs computed at once in float64
_THREADS = 2


@dataclass(frozen=True)
class Found:
    """Near pairs of one tile: unit a < unit b, and how alike they are.

    `done_to`: every pair among units 0 to done_to-1 has been given once this one is stored.
    """

    a: IntArray
    b: IntArray
    similarity: FloatArray
    done_to: int


class NearSearch:
    """One search. `floor` may be raised while it runs; what follows obeys the new one.

    Args:
        source: The units' vectors.
        floor: Smallest similarity of interest, 0 < floor <= 1.
        known: Units 0 to known-1 were compared with each other before.
        tile: Units per tile side.
    """

    def __init__(
        self, source: VectorSource, floor: float, *, known: int = 0, tile: int = _TILE
    ) -> None:
        if not 0.0 < floor <= 1.0:
            raise ValueError(f"floor must lie in (0, 1], not {floor}")
        self.floor = floor
        self._source, self._known, self._tile = source, known, tile
        self._short: list[FloatMatrix] = []

    def run(self, cancel: CancelToken | None = None) -> Iterator[Found]:
        """Yield the pairs of each tile; an empty `Found` marks progress as well."""
        total = len(self._source)
        if total <= max(1, self._known):
            return
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
            self._short = self._project_all(total)
            for start in range(self._known, total, self._tile):
                rows = range(start, min(start + self._tile, total))
                yield from self._strip(pool, rows, cancel)

    def _strip(
        self, pool: ThreadPoolExecutor, rows: range, cancel: CancelToken | None
    ) -> Iterator[Found]:
        """Every pair of `rows` with an older unit, tile by tile, a few tiles ahead."""
        waiting: deque[Future[Found]] = deque()
        row_vectors = self._source.load(rows.start, rows.stop)
        for start in range(0, rows.stop, self._tile):
            if cancel is not None:
                cancel.raise_if_cancelled()
            columns = range(start, min(start + self._tile, rows.stop))
            vectors = (
                row_vectors if columns == rows else self._source.load(columns.start, columns.stop)
            )
            waiting.append(pool.submit(self._compare, rows, row_vectors, columns, vectors))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            found = waiting.popleft().result()
            done_to = found.done_to if waiting else rows.stop
            yield Found(found.a, found.b, found.similarity, done_to)

    def _compare(
        self,
        rows: range,
        row_vectors: tuple[WindowedVectors, ...],
        columns: range,
        column_vectors: tuple[WindowedVectors, ...],
    ) -> Found:
        floor = self.floor
        mask = self._candidates(rows, columns, floor)
        if np.count_nonzero(mask) > _DENSE * mask.size:
            for left, right in zip(row_vectors, column_vectors, strict=True):
                mask &= left.first @ right.first.T >= floor - SLACK
        i, j = np.divmod(np.flatnonzero(mask), len(columns))  # 10 times np.nonzero's speed here
        similarity = np.ones(len(i))
        for left, right in zip(row_vectors, column_vectors, strict=True):
            similarity = np.minimum(similarity, aligned_similarity(left, i, right, j, floor))
            keep = similarity >= floor
            i, j, similarity = i[keep], j[keep], similarity[keep]
        return Found(j + columns.start, i + rows.start, similarity, rows.start)

    def _candidates(self, rows: range, columns: range, floor: float) -> BoolMatrix:
        """(R, C): pairs that may reach the floor in every field, each pair once."""
        mask: BoolMatrix | None = None
        for short in self._short:
            bound = short[rows.start : rows.stop] @ short[columns.start : columns.stop].T
            hit = bound >= floor - SLACK
            mask = hit if mask is None else mask & hit
        if mask is None:
            raise ValueError("units have no fields")
        if columns.stop > rows.start:  # the tile holds the diagonal: only older units
            mask &= np.tri(len(rows), len(columns), rows.start - columns.start - 1, dtype=bool)
        return mask

    def _project_all(self, total: int) -> list[FloatMatrix]:
        """[(N, k+1)] per field, the short vectors of all units."""
        columns = 63 if self.floor >= 0.85 else 127
        bases: list[FloatMatrix] = []
        parts: list[list[FloatMatrix]] = []
        for field in self._sample(total):
            bases.append(basis(field, min(columns, field.shape[1])))
            parts.append([])
        for start in range(0, total, self._tile):
            loaded = self._source.load(start, min(start + self._tile, total))
            for part, vectors, onto in zip(parts, loaded, bases, strict=True):
                part.append(project(vectors.first, onto))
        return [np.concatenate(part) for part in parts]

    def _sample(self, total: int) -> list[FloatMatrix]:
        """Per field, first windows of tiles spread over all units."""
        starts = range(0, total, self._tile)
        step = max(1, len(starts) * self._tile // _SAMPLE_ROWS)
        loaded = [self._source.load(s, min(s + self._tile, total)) for s in starts[::step]]
        return [np.concatenate([tile[f].first for tile in loaded]) for f in range(len(loaded[0]))]


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
    left_starts, right_starts = left.starts, right.starts
    window = 0
    while len(alive := alive[(lowest[alive] >= floor) & (left.counts[i[alive]] > window + 1)]):
        p, q = i[alive], j[alive]
        dots = _dots(left.rest, left_starts[p] + window, right.rest, right_starts[q] + window)
        lowest[alive] = np.minimum(lowest[alive], dots)
        window += 1
    return lowest


def _dots(left: FloatMatrix, i: IntArray, right: FloatMatrix, j: IntArray) -> FloatArray:
    """(P,) products of rows, in float64, rounded."""
    found = np.empty(len(i))
    for start in range(0, len(i), _CHUNK):
        part = slice(start, start + _CHUNK)
        a, b = left[i[part]].astype(np.float64), right[j[part]].astype(np.float64)
        found[part] = np.einsum("pd,pd->p", a, b)
    return np.minimum(np.round(found, DECIMALS), 1.0)
