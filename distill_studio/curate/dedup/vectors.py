"""Vectors of texts, some of them longer than the embedding model can read at once."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    @cached_property
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

    @classmethod
    def join(cls, parts: Sequence["WindowedVectors"]) -> "WindowedVectors":
        """Texts of several, one after the other."""
        return cls(
            np.concatenate([p.first for p in parts]),
            np.concatenate([p.counts for p in parts]),
            np.concatenate([p.rest for p in parts]),
        )

    def part(self, start: int, stop: int) -> "WindowedVectors":
        """Texts start to stop-1, sharing memory."""
        if len(self.rest) == 0:
            return WindowedVectors(self.first[start:stop], self.counts[start:stop], self.rest)
        counts = self.counts[start:stop]
        begin = int(self.starts[start]) if start < len(self) else len(self.rest)
        end = begin + int((counts - 1).sum())
        return WindowedVectors(self.first[start:stop], counts, self.rest[begin:end])

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors."""
        return self.first.nbytes + self.rest.nbytes


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
        return tuple(field.part(start, stop) for field in self.fields)


class BlockSource:
    """Units read block by block from somewhere slow; the blocks last used stay in memory.

    Args:
        total: How many units.
        read: Reads units start to stop-1.
        block: Units per read.
        cache_bytes: Memory for blocks; two are always held.
    """

    def __init__(
        self,
        total: int,
        read: Callable[[int, int], tuple[WindowedVectors, ...]],
        block: int = 8192,
        cache_bytes: int = 2**30,
    ) -> None:
        self._total, self._read, self._block = total, read, block
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[int, tuple[WindowedVectors, ...]] = OrderedDict()

    def __len__(self) -> int:
        return self._total

    def load(self, start: int, stop: int) -> tuple[WindowedVectors, ...]:
        """See `VectorSource`."""
        parts = []
        for first in range(start - start % self._block, stop, self._block):
            lo, hi = max(start - first, 0), min(stop - first, self._block)
            parts.append(tuple(field.part(lo, hi) for field in self._cached(first)))
        if len(parts) == 1:
            return parts[0]
        return tuple(WindowedVectors.join(list(field)) for field in zip(*parts, strict=True))

    def _cached(self, first: int) -> tuple[WindowedVectors, ...]:
        if first not in self._cache:
            self._cache[first] = self._read(first, min(first + self._block, self._total))
            size = sum(f.nbytes for block in self._cache.values() for f in block)
            while size > self._cache_bytes and len(self._cache) > 2:
                _, gone = self._cache.popitem(last=False)
                size -= sum(f.nbytes for f in gone)
        self._cache.move_to_end(first)
        return self._cache[first]


def load_all(source: VectorSource, block: int = 16_384) -> tuple[WindowedVectors, ...]:
    """All units of a source in memory, read block by block; what is there already is shared."""
    if isinstance(source, MemorySource):
        return source.fields
    total = len(source)
    first: list[FloatMatrix] = []
    counts: list[list[IntArray]] = []
    rest: list[list[FloatMatrix]] = []
    for start in range(0, total, block):
        loaded = source.load(start, min(start + block, total))
        for f, part in enumerate(loaded):
            if start == 0:
                first.append(np.empty((total, part.first.shape[1]), dtype=np.float32))
                counts.append([])
                rest.append([])
            first[f][start : start + len(part)] = part.first
            counts[f].append(part.counts)
            rest[f].append(part.rest)
    return tuple(
        WindowedVectors(first[f], np.concatenate(counts[f]), np.concatenate(rest[f]))
        for f in range(len(first))
    )
