"""Vectors of texts, some of them longer than the embedding model can read at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from distill_studio.core.protocols import FloatMatrix

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WindowedVectors:
    """N texts of one field. A text has one vector per window, the first apart from the rest.

    first: (N, D) float32 of length one, the first window of each text.
    counts: (N,) windows of each text, at least 1.
    rest: (M, D) windows 1, 2, ... of the first text, then of the second, ...
    """

    first: FloatMatrix
    counts: IntArray
    rest: FloatMatrix

    @property
    def starts(self) -> IntArray:
        """(N,) where each text's windows begin in `rest`."""
        ends = np.cumsum(self.counts - 1)
        return np.asarray(ends - (self.counts - 1), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def of(cls, texts: Sequence[FloatMatrix]) -> "WindowedVectors":
        """From one (windows, D) matrix per text."""
        return cls.stack(np.concatenate(texts), np.array([len(t) for t in texts], np.int64))

    @classmethod
    def stack(cls, rows: FloatMatrix, counts: IntArray) -> "WindowedVectors":
        """From all windows of all texts in order, (sum of counts, D), and the counts."""
        is_first = np.zeros(len(rows), dtype=bool)
        is_first[np.cumsum(counts) - counts] = True
        return cls(rows[is_first], counts, rows[~is_first])


class VectorSource(Protocol):
    """Units to compare, numbered 0, 1, ...; each has the same fields (prompt, answer, or both)."""

    def __len__(self) -> int:
        """How many units."""
        ...

    def load(self, start: int, stop: int) -> tuple[WindowedVectors, ...]:
        """The vectors of units start to stop-1, one entry per field."""
        ...


@dataclass(frozen=True)
class MemorySource:
    """Units that are in memory already."""

    fields: tuple[WindowedVectors, ...]

    def __len__(self) -> int:
        return len(self.fields[0])

    def load(self, start: int, stop: int) -> tuple[WindowedVectors, ...]:
        """See `VectorSource`."""
        return tuple(_slice(field, start, stop) for field in self.fields)


def _slice(field: WindowedVectors, start: int, stop: int) -> WindowedVectors:
    counts = field.counts[start:stop]
    begin = int((field.counts[:start] - 1).sum())
    end = begin + int((counts - 1).sum())
    return WindowedVectors(field.first[start:stop], counts, field.rest[begin:end])
