"""A short vector for each long one, whose products are never below the real similarities.

With an orthonormal H of k columns and r = u - H H'u (what the projection misses),
u.v = H'u . H'v + r_u . r_v <= H'u . H'v + |r_u| |r_v| (Cauchy-Schwarz). So the product of the
(k+1)-vectors [H'u, |r_u|] bounds the cosine from above: pairs whose bound lies below the
threshold need no look at the full vectors, and none is missed. H is made of the leading
eigenvectors of the second moments, which leaves the least residual.
"""

import numpy as np

from distill_studio.core.protocols import FloatMatrix

# Rounding of a float32 product of unit vectors, with room: 384 terms of eps 6e-8.
SLACK = 3e-5


def basis(sample: FloatMatrix, columns: int) -> FloatMatrix:
    """(D, columns) orthonormal: the leading eigenvectors of sample' sample, sample (N, D)."""
    moments = sample.T.astype(np.float64) @ sample.astype(np.float64)
    _, vectors = np.linalg.eigh(moments)
    return np.ascontiguousarray(vectors[:, ::-1][:, :columns], dtype=np.float32)


def project(vectors: FloatMatrix, onto: FloatMatrix) -> FloatMatrix:
    """(N, k+1): the k projections of each row of (N, D), then the length of what they miss."""
    short = vectors @ onto
    missed = np.linalg.norm(vectors - short @ onto.T, axis=1, keepdims=True)
    return np.ascontiguousarray(np.concatenate([short, missed], axis=1), dtype=np.float32)
