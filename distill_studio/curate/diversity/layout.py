"""A map: rows in the plane so that near rows stay near. t-SNE, as openTSNE draws it.

t-SNE (van der Maaten and Hinton 2008) on the graph of nearest rows, begun from the two principal
components; openTSNE (Policar et al. 2024) finds the repulsive forces by trees for few rows, by
interpolation on a grid (Linderman et al. 2019) for many. The same rows give the same map.

Only nearness on the map means something; distances between far groups, their sizes and the axes
do not. `kept_neighbours` measures how far to trust it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.diversity.neighbours import Neighbours, nearest_of

Places = npt.NDArray[np.float32]

NEIGHBOURS = 36
LAID_OUT = 10_000  # rows that are laid out; further ones are placed among their nearest
_GRID_ROWS = 3_000  # from here the grid is quicker than the trees
_CELL = 2  # side of a grid cell on the map; half of it takes twice the time and keeps no more
_STEPS = ((125, 12.0, 0.5), (250, 1.0, 0.8))  # how many, exaggeration, momentum
_LOOK_EVERY = 5
_THREADS = 2
_PLACED_BY = 3
_FAR = 1e3


def lay_out(
    graph: Neighbours,
    vectors: FloatMatrix,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Places:
    """(N, 2) places of all rows, centred, the farthest at about 1."""
    first = principal_places(vectors)
    if len(first) < 5:
        return _scaled(first)
    from openTSNE import TSNEEmbedding  # noqa: PLC0415

    total = sum(steps for steps, _, _ in _STEPS)
    before = 0

    def look(step: int, _error: float, _places: Places) -> None:
        if cancel is not None:
            cancel.raise_if_cancelled()
        progress(before + step, total, "drawing the map")

    drawn = TSNEEmbedding(
        first.astype(np.float64) * 1e-4,
        _affinities(graph.first(NEIGHBOURS)),
        negative_gradient_method="bh" if len(first) < _GRID_ROWS else "fft",
        ints_in_interval=_CELL,
        n_jobs=_THREADS,
        random_state=1,
        callbacks=look,
        callbacks_every_iters=_LOOK_EVERY,
    )
    for steps, exaggeration, momentum in _STEPS:
        drawn.optimize(steps, exaggeration=exaggeration, momentum=momentum, inplace=True)
        before += steps
    return _scaled(np.asarray(drawn, dtype=np.float32))


def place_among(queries: FloatMatrix, base: FloatMatrix, places: Places) -> Places:
    """(Q, 2) places for further rows: between the nearest rows that have one, by similarity."""
    near, similarity = nearest_of(queries, base, min(_PLACED_BY, len(base)))
    weight = np.exp(20 * (similarity - similarity[:, :1]))  # the nearest counts most
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("qk,qkd->qd", weight, places[near]), dtype=np.float32)


def principal_places(vectors: FloatMatrix) -> Places:
    """(N, 2) the two principal components, each with a standard deviation of one."""
    centred = vectors - vectors.mean(axis=0)
    _, basis = np.linalg.eigh(centred.T.astype(np.float64) @ centred.astype(np.float64))
    flat = np.zeros((len(vectors), 2), dtype=np.float32)
    two = centred @ basis[:, ::-1][:, :2].astype(np.float32)
    flat[:, : two.shape[1]] = two
    return np.asarray(flat / np.maximum(flat.std(axis=0), 1e-9), dtype=np.float32)


def kept_neighbours(
    graph: Neighbours, places: Places, count: int = 10, sample: int = 1000
) -> float:
    """Of the rows' nearest `count`, the share that is among their nearest `count` on the map."""
    count = min(count, graph.rows.shape[1])
    if count == 0:
        return 1.0
    total = len(places)
    some = np.random.default_rng(2).choice(total, min(sample, total), replace=False)
    hits = 0
    for row in np.sort(some):
        away = ((places - places[row]) ** 2).sum(axis=1)
        away[row] = np.inf
        on_map = np.argpartition(away, count - 1)[:count]
        hits += len(np.intersect1d(on_map, graph.rows[row, :count]))
    return hits / (count * len(some))


def _affinities(graph: Neighbours) -> Any:  # noqa: ANN401
    """openTSNE's affinities with a perplexity of a third of the neighbours.

    A row with fewer neighbours than others has itself in their place, infinitely far.
    """
    from openTSNE import affinity, nearest_neighbors  # noqa: PLC0415

    is_there = graph.rows >= 0
    own = np.arange(len(graph.rows))[:, None]
    away = np.sqrt(np.maximum(2 - 2 * graph.similarity.astype(np.float64), 0))
    index = nearest_neighbors.PrecomputedNeighbors(
        np.where(is_there, graph.rows, own).astype(np.int64), np.where(is_there, away, _FAR)
    )
    perplexity = max(1.0, graph.rows.shape[1] / 3)
    return affinity.PerplexityBasedNN(perplexity=perplexity, knn_index=index, n_jobs=_THREADS)


def _scaled(places: Places) -> Places:
    """Centred, so that all but the farthest few lie within -1 and 1."""
    centred = places - np.median(places, axis=0)
    reach = float(np.quantile(np.abs(centred), 0.999)) if centred.size else 1.0
    return np.asarray(centred / max(reach, 1e-9), dtype=np.float32).clip(-1.3, 1.3)
