"""The m nearest rows of each row: exact up to `EXACT_ROWS`, by clusters beyond.

Beyond, rows are clustered and each is compared only with some `COMPARED` rows, those of the
clusters nearest to its own (an inverted file, as in Jegou et al. 2011). What that misses is
measured on a fixed sample: `recall` is the share of the true m nearest that were found.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.diversity.clusters import IntArray, cluster

Int32Matrix = npt.NDArray[np.int32]

EXACT_ROWS = 20_000
COMPARED = 16_000
_TILE = 512
_THREADS = 2
_SAMPLE = 400


@dataclass(frozen=True)
class Neighbours:
    """rows: (N, m) numbers of the nearest rows, itself left out. similarity: (N, m) cosines.

    recall: share of the true nearest that are there; 1.0 when the search was exact.
    """

    rows: Int32Matrix
    similarity: FloatMatrix
    recall: float = 1.0

    def first(self, count: int) -> "Neighbours":
        """The same with fewer neighbours each."""
        return Neighbours(self.rows[:, :count], self.similarity[:, :count], self.recall)


def find_neighbours(
    vectors: FloatMatrix,
    count: int,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    exact_rows: int = EXACT_ROWS,
) -> Neighbours:
    """The `count` nearest other rows of each row of (N, D), the nearest first."""
    total = len(vectors)
    count = max(0, min(count, total - 1))
    if count == 0:
        return Neighbours(np.zeros((total, 0), np.int32), np.zeros((total, 0), np.float32))
    if total <= exact_rows:
        return _exact(vectors, count, progress, cancel)
    return _by_clusters(vectors, count, progress, cancel)


def nearest_of(queries: FloatMatrix, base: FloatMatrix, count: int) -> tuple[IntArray, FloatMatrix]:
    """(Q, count) numbers of the rows of `base` nearest to each query, and their cosines; exact."""
    rows = np.empty((len(queries), count), dtype=np.int64)
    similarity = np.empty((len(queries), count), dtype=np.float32)
    for start in range(0, len(queries), _TILE):
        part = slice(start, start + _TILE)
        rows[part], similarity[part] = _top(queries[part] @ base.T, count)
    return rows, similarity


def _exact(
    vectors: FloatMatrix, count: int, progress: Progress, cancel: CancelToken | None
) -> Neighbours:
    total = len(vectors)
    rows = np.empty((total, count), dtype=np.int32)
    similarity = np.empty((total, count), dtype=np.float32)

    def one(start: int) -> None:
        stop = min(start + _TILE, total)
        block = vectors[start:stop] @ vectors.T
        block[np.arange(stop - start), np.arange(start, stop)] = -2
        rows[start:stop], similarity[start:stop] = _top(block, count)

    _in_threads(one, range(0, total, _TILE), progress, cancel)
    return Neighbours(rows, similarity)


def _by_clusters(
    vectors: FloatMatrix, count: int, progress: Progress, cancel: CancelToken | None
) -> Neighbours:
    total = len(vectors)
    groups = cluster(vectors, round(total**0.5), 0, progress, cancel)
    order = np.argsort(groups.labels, kind="stable")
    in_order = vectors[order]
    sizes = np.bincount(groups.labels, minlength=len(groups.centres))
    ends = np.cumsum(sizes)
    near = np.argsort(-(groups.centres @ groups.centres.T), axis=1, kind="stable")
    rows = np.full((total, count), -1, dtype=np.int32)
    similarity = np.full((total, count), -1, dtype=np.float32)

    def one(number: int) -> None:
        members = np.arange(ends[number] - sizes[number], ends[number])
        taken, have = [], 0
        for other in near[number]:
            if have >= COMPARED:
                break
            taken.append(np.arange(ends[other] - sizes[other], ends[other]))
            have += int(sizes[other])
        candidates = np.sort(np.concatenate(taken))
        places = np.searchsorted(candidates, members)
        against = in_order[candidates]
        for start in range(0, len(members), _TILE):
            some = members[start : start + _TILE]
            block = in_order[some] @ against.T
            block[np.arange(len(some)), places[start : start + _TILE]] = -2
            found, cosines = _top(block, min(count, block.shape[1] - 1))
            rows[order[some], : found.shape[1]] = order[candidates[found]]
            similarity[order[some], : found.shape[1]] = cosines

    _in_threads(one, range(len(sizes)), progress, cancel)
    return Neighbours(rows, similarity, _recall(vectors, rows))


def _recall(vectors: FloatMatrix, rows: Int32Matrix) -> float:
    """Share of the true nearest rows of a fixed sample that were found."""
    sample = np.random.default_rng(1).choice(len(vectors), min(_SAMPLE, len(vectors)), False)
    truth, _ = nearest_of(vectors[sample], vectors, rows.shape[1] + 1)
    hits = total = 0
    for number, near in zip(sample, truth, strict=True):
        others = near[near != number][: rows.shape[1]]
        hits += len(np.intersect1d(others, rows[number]))
        total += len(others)
    return hits / max(1, total)


def _top(block: FloatMatrix, count: int) -> tuple[IntArray, FloatMatrix]:
    """The `count` greatest of each row of (R, C), greatest first: (columns, values)."""
    if count < block.shape[1]:
        columns = np.argpartition(block, -count, axis=1)[:, -count:]
    else:
        columns = np.broadcast_to(np.arange(block.shape[1]), block.shape)
    values = np.take_along_axis(block, columns, axis=1)
    order = np.lexsort((columns, -values), axis=1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _in_threads(
    work: Callable[[int], None], steps: range, progress: Progress, cancel: CancelToken | None
) -> None:
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(steps), 2 * _THREADS):
            if cancel is not None:
                cancel.raise_if_cancelled()
            progress(first, len(steps), "finding neighbours")
            list(pool.map(work, steps[first : first + 2 * _THREADS]))
