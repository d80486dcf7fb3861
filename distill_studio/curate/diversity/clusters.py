"""Clusters of unit vectors by scikit-learn's k-means, the same for the same vectors and seed.

On vectors of length one the nearest centre is the one with the greatest cosine, but for the
centres' length: they are brought to one at the end, and each row goes to the greatest cosine.
Beyond `FULL_ROWS` rows the centres come from small batches of rows (Sculley 2010).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import FloatMatrix

IntArray = npt.NDArray[np.int64]
FloatVector = npt.NDArray[np.float32]

FULL_ROWS = 20_000
MAX_CLUSTERS = 200
_STARTS = 3  # the best of
_BATCH, _ROUNDS = 4096, 10
_BLOCK = 16_384


@dataclass(frozen=True)
class Clusters:
    """centres: (K, D) of length one, the largest cluster first. labels: (N,) of the rows.

    similarity: (N,) cosine of each row to its centre.
    """

    centres: FloatMatrix
    labels: IntArray
    similarity: FloatVector


def default_count(rows: int) -> int:
    """How many clusters to begin with: 14 for 1,000 rows, 30 for 10,000, at most 60.

    Grows with the cube root, so that a person can still read the list.
    """
    return max(1, min(60, round(1.4 * math.cbrt(rows)), rows // 3))


def mean_vectors(windows: FloatMatrix, counts: IntArray) -> FloatMatrix:
    """(N, D) of length one: each text's windows (M, D), counts (N,) each, averaged."""
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(windows, starts, axis=0) if len(counts) else windows
    return unit(sums)


def unit(vectors: FloatMatrix) -> FloatMatrix:
    """(N, D): the rows, brought to length one; a row of zeros stays one."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)


def cluster(
    vectors: FloatMatrix,
    count: int,
    seed: int = 0,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Clusters:
    """Cluster the rows of (N, D), N at least 1, into at most `count` groups; none is empty."""
    from sklearn.cluster import KMeans, MiniBatchKMeans  # noqa: PLC0415

    if cancel is not None:
        cancel.raise_if_cancelled()
    progress(0, None, "clustering")
    count = min(count, len(vectors))
    if len(vectors) <= FULL_ROWS:
        model = KMeans(count, n_init=_STARTS, random_state=seed)
    else:
        model = MiniBatchKMeans(
            count,
            n_init=1,
            random_state=seed,
            batch_size=_BATCH,
            init_size=_BATCH,
            max_iter=_ROUNDS,
        )
    with threadpool_limits(1):  # sums depend on the number of threads
        centres = unit(model.fit(vectors).cluster_centers_)
    if cancel is not None:
        cancel.raise_if_cancelled()
    labels, _ = assign(vectors, centres)
    sizes = np.bincount(labels, minlength=len(centres))
    order = np.lexsort((np.arange(len(sizes)), -sizes))
    centres = centres[order[: np.count_nonzero(sizes)]]
    return Clusters(centres, *assign(vectors, centres))


def assign(vectors: FloatMatrix, centres: FloatMatrix) -> tuple[IntArray, FloatVector]:
    """(N,) nearest centre of each row, and (N,) the cosine to it."""
    labels = np.empty(len(vectors), dtype=np.int64)
    similarity = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] @ centres.T
        labels[start : start + _BLOCK] = block.argmax(axis=1)
        similarity[start : start + _BLOCK] = block.max(axis=1)
    return labels, similarity
