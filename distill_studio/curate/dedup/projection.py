"""A short vector for each long one, whose products are never below the real similarities.

With an orthonormal H of k columns and r = u - H H'u (what the projection misses),
u.v = H'u . H'v + r_u . r_v <= H'u . H'v + |r_u| |r_v| (Cauchy-Schwarz). So the product of the
(k+1)-vectors [H'u, |r_u|] bounds the cosine from above: pairs whose bound lies below the
threshold need no look at the full vectors, and none is missed. H is made of the leading
eigenvectors of the second moments, which leaves the least residual. How many: fewer make the
products cheaper and let more pairs through, so a sample of the data decides (`choose_bases`).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill_studio.core.protocols import FloatMatrix

BoolMatrix = npt.NDArray[np.bool_]
Index = slice | npt.NDArray[np.int64]

# Rounding of a float32 product of unit vectors, with room: 384 terms of eps 6e-8.
SLACK = 3e-5

_COLUMNS = (15, 31, 47, 63, 95, 127, 191)
_ROWS, _COLUMN_ROWS = 512, 4096  # of the sample: that many rows against that many
# Costs of a pair in ns on one core: any product and its comparison, each column, each candidate.
# Measured on an AVX512 machine; only their proportions matter.
_PAIR, _COLUMN, _CANDIDATE = 0.75, 0.02, 600.0


def basis(sample: FloatMatrix, columns: int) -> FloatMatrix:
    """(D, columns) orthonormal: the leading eigenvectors of sample' sample, sample (N, D)."""
    _, vectors = np.linalg.eigh((sample.T @ sample).astype(np.float64))
    return np.ascontiguousarray(vectors[:, ::-1][:, :columns], dtype=np.float32)


def project(vectors: FloatMatrix, onto: FloatMatrix) -> FloatMatrix:
    """(N, k+1): the k projections of each row of (N, D), then the length of what they miss."""
    short = vectors @ onto
    missed = np.linalg.norm(vectors - short @ onto.T, axis=1, keepdims=True)
    return np.ascontiguousarray(np.concatenate([short, missed], axis=1), dtype=np.float32)


def bounds_reach(
    short: Sequence[FloatMatrix], rows: Index, columns: Index, floor: float
) -> BoolMatrix:
    """(R, C): which pairs of units may reach the floor in every field.

    Args:
        short: Per field the short vectors of all units.
        rows: Units, as numbers or a slice.
        columns: Likewise.
        floor: Of the similarity.
    """
    first, *others = (one[rows] @ one[columns].T for one in short)
    mask: BoolMatrix = first >= floor - SLACK
    for bound in others:
        mask &= bound >= floor - SLACK
    return mask


def choose_bases(samples: Sequence[FloatMatrix], floor: float) -> list[FloatMatrix]:
    """A basis per field, all of the size that makes the search cheapest.

    Args:
        samples: Per field the first windows of the same units, (S, D) each.
        floor: Pairs must reach it in every field.
    """
    whole = [basis(sample, sample.shape[1]) for sample in samples]
    rotated = [sample[:_COLUMN_ROWS] @ one for sample, one in zip(samples, whole, strict=True)]
    smallest = min(sample.shape[1] for sample in samples)
    choices = [k for k in _COLUMNS if k < smallest] or [smallest]
    best = min(choices, key=lambda k: _cost(rotated, k, floor))
    return [np.ascontiguousarray(one[:, :best]) for one in whole]


def _cost(rotated: Sequence[FloatMatrix], columns: int, floor: float) -> float:
    """Nanoseconds per pair when only the first columns of the rotated vectors are used."""
    short = [
        np.concatenate(
            [one[:, :columns], np.linalg.norm(one[:, columns:], axis=1, keepdims=True)], axis=1
        )
        for one in rotated
    ]
    rows = min(_ROWS, len(short[0]))
    hit = bounds_reach(short, slice(rows), slice(None), floor)
    candidates = (np.count_nonzero(hit) - rows) / hit.size  # each row meets itself
    return len(short) * (_PAIR + _COLUMN * (columns + 1)) + _CANDIDATE * candidates
