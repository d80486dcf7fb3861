"""Near pairs among very many units: each is compared with the older units of a few clusters only.

Start at `ClusteredSearch`. Units are clustered by what the projection keeps of them (an inverted
file, as in Jegou et al. 2011), which near pairs share more than full vectors do. A unit is compared
with the older members of every cluster whose centre is almost as near as its own's: at most
`margin` less. Before the search the exact pairs of a sample of units say how large the margin must
be for the recall that is wanted; afterwards those of another sample measure it (`sampled`). Within
a cluster nothing is missed, and no pair is found that is not near.

All vectors are held in memory, about 1.5 KB per window of 384 dimensions.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.dedup.projection import bounds_reach, choose_bases, project
from distill_studio.curate.dedup.recall import margin_for
from distill_studio.curate.dedup.search import THREADS, Found
from distill_studio.curate.dedup.similarity import near, sift
from distill_studio.curate.dedup.vectors import (
    FloatArray,
    IntArray,
    VectorSource,
    WindowedVectors,
    load_all,
)
from distill_studio.curate.diversity.clusters import assign, cluster, unit

WANTED = 0.995
_TILE = 1024
_SAMPLE, _SAMPLE_STEP = 8192, 2048  # units whose pairs are searched exactly, before and after
_SAMPLE_PAIRS = 1000  # enough
_PILOT_SEED = 2
_PER_CENTRE = 60  # units that a centre is made of
_BASIS_ROWS = 8192
_MARGIN = 0.1  # where the sample has no near pair
_AHEAD = 4


@dataclass(frozen=True)
class Probing:
    """centres: (K, J) of the clusters. margin: how much farther a probed centre may be."""

    centres: FloatMatrix
    margin: float


class ClusteredSearch:
    """One search. `floor` may be raised while it runs; what follows obeys the new one.

    Args:
        source: The units' vectors.
        floor: Smallest similarity of interest, 0 < floor <= 1.
        known: Units 0 to known-1 were compared with each other before.
        wanted: The recall to aim for.
        probing: Clusters and margin of another search, instead of finding them anew.
        block: Units between two marks; a stop loses at most one block.
    """

    BLOCK = 131_072

    def __init__(
        self,
        source: VectorSource,
        floor: float,
        *,
        known: int = 0,
        wanted: float = WANTED,
        probing: Probing | None = None,
        block: int | None = None,
    ) -> None:
        if not 0.0 < floor <= 1.0:
            raise ValueError(f"floor must lie in (0, 1], not {floor}")
        self.floor = floor
        self.probing = probing
        self._source, self._known, self._wanted = source, known, wanted
        self._block = block or self.BLOCK
        self._fields: tuple[WindowedVectors, ...] = ()
        self._short: list[FloatMatrix] = []
        self._joint: FloatMatrix = np.zeros((0, 0), np.float32)
        self._members: list[IntArray] = []

    def prepare(
        self, progress: Progress = no_progress, cancel: CancelToken | None = None
    ) -> Probing:
        """Load the vectors, cluster them, choose the margin. `run` does it when it is not done."""
        if not self._fields:
            progress(0, None, "loading vectors")
            self._load()
        if not self._members:
            with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(THREADS) as pool:
                centres = self.probing.centres if self.probing else self._cluster(progress, cancel)
                homes = self._homes(pool, centres)
                order = np.argsort(homes, kind="stable")
                ends = np.cumsum(np.bincount(homes, minlength=len(centres)))
                self._members = np.split(order, ends[:-1])
                if self.probing is None:
                    progress(0, None, "choosing what to compare")
                    self.probing = Probing(centres, self._margin(pool, centres, homes, cancel))
        assert self.probing is not None
        return self.probing

    def run(self, cancel: CancelToken | None = None) -> Iterator[Found]:
        """Yield pairs cluster by cluster; the last of a block of units moves the mark."""
        total = len(self._source)
        if total <= max(1, self._known):
            return
        probing = self.prepare(cancel=cancel)
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(THREADS) as pool:
            for start in range(self._known, total, self._block):
                stop = min(start + self._block, total)
                yield from self._search_block(pool, probing, start, stop, cancel)

    def sampled(self, seed: int, cancel: CancelToken | None = None) -> tuple[IntArray, IntArray]:
        """(a, b) of all near pairs a < b of a random sample of units b, exactly."""
        self.prepare(cancel=cancel)
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(THREADS) as pool:
            return self._exact_pairs(pool, seed, 0, cancel)

    # -- before the search ------------------------------------------------------------------

    def _load(self) -> None:
        self._fields = load_all(self._source)
        total = len(self._source)
        sample = np.sort(self._choose(0, _BASIS_ROWS, 0))
        bases = choose_bases([field.first[sample] for field in self._fields], self.floor)
        self._short = [
            np.concatenate([
                project(field.first[start : start + self._block], onto)
                for start in range(0, total, self._block)
            ])
            for field, onto in zip(self._fields, bases, strict=True)
        ]
        self._joint = unit(np.concatenate([short[:, :-1] for short in self._short], axis=1))

    def _cluster(self, progress: Progress, cancel: CancelToken | None) -> FloatMatrix:
        count = max(1, round(len(self._joint) ** 0.5))
        sample = np.sort(self._choose(1, count * _PER_CENTRE, 0))
        return cluster(self._joint[sample], count, 0, progress, cancel).centres

    def _homes(self, pool: ThreadPoolExecutor, centres: FloatMatrix) -> IntArray:
        """(N,) the nearest centre of each unit."""
        starts = range(0, len(self._joint), _TILE * 8)
        parts = (self._joint[start : start + _TILE * 8] for start in starts)
        return np.concatenate(list(pool.map(lambda part: assign(part, centres)[0], parts)))

    def _margin(
        self,
        pool: ThreadPoolExecutor,
        centres: FloatMatrix,
        homes: IntArray,
        cancel: CancelToken | None,
    ) -> float:
        """How much farther than the nearest centre the homes of near older units are."""
        a, b = self._exact_pairs(pool, _PILOT_SEED, self._known, cancel)
        if len(b) == 0:
            return _MARGIN
        units, place = np.unique(b, return_inverse=True)
        scores = self._joint[units] @ centres.T
        needed = scores.max(axis=1)[place] - scores[place, homes[a]]
        return margin_for(needed.astype(np.float64), b, self._wanted)

    def _choose(self, seed: int, count: int, first: int) -> IntArray:
        """A random sample of units from `first` on."""
        total = len(self._source) - first
        rng = np.random.default_rng(seed)
        return rng.choice(total, min(count, total), replace=False) + first

    def _exact_pairs(
        self, pool: ThreadPoolExecutor, seed: int, first: int, cancel: CancelToken | None
    ) -> tuple[IntArray, IntArray]:
        """(a, b) of all near pairs of a sample of units b from `first` on with any older unit a.

        The sample grows until it has pairs enough to judge by, or is large.
        """
        sample = self._choose(seed, _SAMPLE, first)
        a = b = np.zeros(0, dtype=np.int64)
        for start in range(0, len(sample), _SAMPLE_STEP):
            units = np.sort(sample[start : start + _SAMPLE_STEP])
            tiles = (
                (units[k : k + _TILE], np.arange(j, min(j + _TILE, len(self._joint))))
                for k in range(0, len(units), _TILE)
                for j in range(0, int(units[k : k + _TILE][-1]), _TILE)
            )
            found = list(self._in_order(pool, tiles, cancel))
            a = np.concatenate([a, *(tile[0] for tile in found)])
            b = np.concatenate([b, *(tile[1] for tile in found)])
            if len(b) >= _SAMPLE_PAIRS:
                break
        return a, b

    # -- the search -------------------------------------------------------------------------

    def _search_block(
        self,
        pool: ThreadPoolExecutor,
        probing: Probing,
        start: int,
        stop: int,
        cancel: CancelToken | None,
    ) -> Iterator[Found]:
        units, clusters = self._probes(pool, probing, start, stop)
        ends = np.cumsum(np.bincount(clusters, minlength=len(probing.centres)))
        tiles = (
            (asking[i : i + _TILE], older[j : j + _TILE])
            for asking, members in zip(np.split(units, ends[:-1]), self._members, strict=True)
            for older in [members[: np.searchsorted(members, stop)]]
            for i in range(0, len(asking), _TILE)
            for j in range(0, len(older), _TILE)
        )
        for a, b, similarity in self._in_order(pool, tiles, cancel):
            if len(a):
                yield Found(a, b, similarity, start)
        empty = np.zeros(0, dtype=np.int64)
        yield Found(empty, empty, np.zeros(0), stop)

    def _probes(
        self, pool: ThreadPoolExecutor, probing: Probing, start: int, stop: int
    ) -> tuple[IntArray, IntArray]:
        """(unit, cluster) for all clusters that units start to stop-1 are compared with.

        In order of clusters, and of units in each.
        """

        def one(first: int) -> tuple[IntArray, IntArray]:
            scores = self._joint[first : min(first + _TILE, stop)] @ probing.centres.T
            least = scores.max(axis=1, keepdims=True) - np.float32(probing.margin + 1e-6)
            rows, clusters = np.divmod(np.flatnonzero(scores >= least), scores.shape[1])
            return rows + first, clusters

        parts = list(pool.map(one, range(start, stop, _TILE)))
        units, clusters = (np.concatenate(side) for side in zip(*parts, strict=True))
        order = np.argsort(clusters, kind="stable")
        return units[order], clusters[order]

    def _in_order(
        self,
        pool: ThreadPoolExecutor,
        tiles: Iterator[tuple[IntArray, IntArray]],
        cancel: CancelToken | None,
    ) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """The near pairs of each tile, a few tiles ahead."""
        waiting: deque[Future[tuple[IntArray, IntArray, FloatArray]]] = deque()
        for rows, columns in tiles:
            if cancel is not None:
                cancel.raise_if_cancelled()
            waiting.append(pool.submit(self._compare, rows, columns))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _compare(self, rows: IntArray, columns: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
        """(a, b, similarity) of near pairs of units b in `rows` and a in `columns`, a < b."""
        floor, fields = self.floor, self._fields
        mask = bounds_reach(self._short, rows, columns, floor)
        sift(mask, fields, rows, fields, columns, floor)
        i, j = np.divmod(np.flatnonzero(mask), len(columns))
        b, a = rows[i], columns[j]
        is_older = a < b
        b, a, similarity = near(fields, b[is_older], fields, a[is_older], floor)
        return a, b, similarity
