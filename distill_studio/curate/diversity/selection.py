"""Choosing N of the rows: facility location, k-centre, or at random.

Facility location: f(S) = sum over rows i of max over j in S of quality[j] * similarity(i, j). A row
counts as served as well as the chosen row nearest to it is alike and good. f is monotone and
submodular, so the greedy choice reaches at least (1 - 1/e) of the best possible (Nemhauser, Wolsey
and Fisher 1978). Lazy evaluation (Minoux 1978) makes the same choice with fewer sums. Similarities
below the graph's m nearest count as zero: the bound holds for that objective, which is the full
one when m is N - 1.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.diversity.clusters import IntArray
from distill_studio.curate.diversity.neighbours import Neighbours

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FULL_ROWS = 2_500  # up to here all similarities are in the graph
CHEAP_PRODUCTS = 4e10  # k-centre beyond works on fewer dimensions
SHORT_DIMENSIONS = 64
OUTLIERS = 0.02  # share of the rows that k-centre does not take: those farthest from all others
_LOOK_EVERY = 512


@dataclass(frozen=True)
class Chosen:
    """rows: (N,) in the order of choice. value: what the objective reached, where there is one."""

    rows: IntArray
    value: float = 0.0


def graph_size(rows: int, count: int) -> int:
    """Neighbours per row that a choice of `count` rows needs: all when that is cheap.

    Each chosen row stands for rows / count others on average; the graph holds some times that.
    """
    if rows <= FULL_ROWS:
        return rows - 1
    return int(min(256, max(32, np.ceil(4 * rows / max(1, count)))))


def facility_location(
    graph: Neighbours,
    quality: FloatArray,
    count: int,
    already: Sequence[int] = (),
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Chosen:
    """Choose `count` rows greedily, those in `already` first.

    When nothing is gained any more, the best of the rest by quality fill up.

    Args:
        graph: Nearest rows of the N rows.
        quality: (N,) of each row, above 0; 1 is best.
        count: How many, those in `already` included.
        already: Rows that are chosen whatever they add.
        progress: Told how many are chosen.
        cancel: Stops between choices.
    """
    columns = _Columns.of(graph, quality)
    total = len(quality)
    served = np.zeros(total)
    taken = np.zeros(total, dtype=bool)
    chosen: list[int] = []
    for row in already:
        columns.choose(int(row), served)
        taken[row] = True
        chosen.append(int(row))
    heap = [(-gain, row) for row, gain in enumerate(columns.gains(served)) if not taken[row]]
    heapq.heapify(heap)
    while len(chosen) < min(count, total) and heap:
        if len(chosen) % _LOOK_EVERY == 0:
            progress(len(chosen), count, "choosing")
            if cancel is not None:
                cancel.raise_if_cancelled()
        row = _best(heap, columns, served)
        if row < 0:
            break
        columns.choose(row, served)
        taken[row] = True
        chosen.append(row)
    rest = np.flatnonzero(~taken)
    fill = rest[np.lexsort((rest, -quality[rest]))][: max(0, min(count, total) - len(chosen))]
    return Chosen(np.array([*chosen, *fill], dtype=np.int64), float(served.sum()))


def objective(graph: Neighbours, quality: FloatArray, rows: Sequence[int]) -> float:
    """f of a choice."""
    columns = _Columns.of(graph, quality)
    served = np.zeros(len(quality))
    for row in rows:
        columns.choose(int(row), served)
    return float(served.sum())


def k_centre(
    vectors: FloatMatrix,
    count: int,
    already: Sequence[int] = (),
    allowed: BoolArray | None = None,
    cancel: CancelToken | None = None,
) -> Chosen:
    """Take again and again the row farthest from all that is chosen (Gonzalez 1985).

    At most twice the smallest possible greatest distance, among the `allowed` rows. Begins with
    the row nearest to the mean where nothing is chosen already.

    Args:
        vectors: (N, D) of length one; projected to fewer dimensions when that would be long.
        count: How many, those in `already` included.
        already: Rows that are chosen first.
        allowed: (N,) which rows may be taken; all by default.
        cancel: Stops between choices.
    """
    points = _shorter(vectors, count)
    square = np.einsum("nd,nd->n", points, points)
    chosen = [int(row) for row in already]
    if not chosen:
        towards = points @ points.mean(axis=0)
        chosen = [int(np.argmax(towards if allowed is None else np.where(allowed, towards, -9)))]
    away = np.full(len(points), np.inf, dtype=np.float32)
    if allowed is not None:
        away[~allowed] = -1
    for row in chosen:
        _come_nearer(away, points, square, row)
    while len(chosen) < min(count, len(points)):
        if cancel is not None and len(chosen) % _LOOK_EVERY == 0:
            cancel.raise_if_cancelled()
        row = int(np.argmax(away))
        if away[row] == -np.inf:
            break
        if away[row] < 0:  # none of the allowed rows is left
            away[np.isneginf(away) == 0] = 0
            continue
        chosen.append(row)
        _come_nearer(away, points, square, row)
    return Chosen(np.array(chosen[: max(count, len(already))], dtype=np.int64))


def at_random(total: int, count: int, seed: int, already: Sequence[int] = ()) -> Chosen:
    """`count` of `total` rows, those in `already` first, the rest in a fixed random order."""
    first = np.asarray(list(already), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(total)
    rest = order[~np.isin(order, first)]
    return Chosen(np.concatenate([first, rest])[: max(min(count, total), len(first))])


def without_outliers(graph: Neighbours) -> BoolArray:
    """(N,) rows but for the few whose nearest ten are the least alike to them."""
    if graph.similarity.shape[1] == 0:
        return np.ones(len(graph.rows), dtype=bool)
    closeness = graph.similarity[:, :10].mean(axis=1)
    return np.asarray(closeness >= np.quantile(closeness, OUTLIERS), dtype=bool)


@dataclass(frozen=True)
class _Columns:
    """For each row j, those i that it may serve: rows[starts[j]:starts[j + 1]], and how well."""

    starts: IntArray
    rows: IntArray
    served: FloatArray

    @classmethod
    def of(cls, graph: Neighbours, quality: FloatArray) -> "_Columns":
        total, m = graph.rows.shape
        serving = np.concatenate([graph.rows.reshape(-1), np.arange(total, dtype=np.int32)])
        rows = np.concatenate([np.repeat(np.arange(total), m), np.arange(total)])
        alike = np.concatenate([graph.similarity.reshape(-1), np.ones(total, np.float32)])
        real = (serving >= 0) & (alike > 0)
        serving, rows, alike = serving[real], rows[real], alike[real]
        order = np.argsort(serving, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(serving, minlength=total))])
        return cls(starts, rows[order], (alike * quality[serving])[order].astype(np.float64))

    def choose(self, row: int, served: FloatArray) -> None:
        part = slice(self.starts[row], self.starts[row + 1])
        rows = self.rows[part]
        served[rows] = np.maximum(served[rows], self.served[part])

    def gain(self, row: int, served: FloatArray) -> float:
        part = slice(self.starts[row], self.starts[row + 1])
        more = self.served[part] - served[self.rows[part]]
        return float(more[more > 0].sum())

    def gains(self, served: FloatArray) -> list[float]:
        """What each row would add."""
        more = np.maximum(self.served - served[self.rows], 0)
        sums = np.add.reduceat(np.append(more, 0.0), self.starts[:-1])
        return list(np.where(np.diff(self.starts) > 0, sums, 0.0))


def _best(heap: list[tuple[float, int]], columns: _Columns, served: FloatArray) -> int:
    """The row that adds most, taken from the heap; -1 when none adds anything.

    Gains only shrink, so an old gain is a bound: the first whose new gain still leads is best.
    """
    while heap:
        _, row = heapq.heappop(heap)
        entry = (-columns.gain(row, served), row)
        if not heap or entry <= heap[0]:
            return row if entry[0] < -1e-12 else -1
        heapq.heappush(heap, entry)
    return -1


def _come_nearer(
    away: npt.NDArray[np.float32], points: FloatMatrix, square: npt.NDArray[np.float32], row: int
) -> None:
    """(N,) squared distances to the nearest chosen row, with one more; chosen ones get -inf."""
    np.minimum(away, np.maximum(square + square[row] - 2 * (points @ points[row]), 0), out=away)
    away[row] = -np.inf


def _shorter(vectors: FloatMatrix, count: int) -> FloatMatrix:
    """The vectors, or their leading principal components where N * count * D is large."""
    if len(vectors) * count * vectors.shape[1] <= CHEAP_PRODUCTS:
        return vectors
    sample = vectors[:: max(1, len(vectors) // 20_000)].astype(np.float64)
    _, basis = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(vectors @ basis[:, ::-1][:, :SHORT_DIMENSIONS].astype(np.float32))
