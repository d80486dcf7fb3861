"""The texts nearest to each benchmark item, by their vectors; what may be the same in other words.

N-grams see nothing once every few words differ (Yang et al. 2023, arXiv 2311.04850): embeddings
do, and also find what is merely alike, so their finds are a queue for people and nothing more.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.decontaminate.words import leak_words, seen_text

IntArray = npt.NDArray[np.int64]
_COLUMNS = 4096  # windows of texts compared at once
# Numbers and words with a capital (names, where they do not begin a sentence): what a leak in
# disguise changes first.
_DETAILS = re.compile(r"\d[\d.,]*|\b[A-Z]\w*")


@dataclass(frozen=True, slots=True)
class Near:
    """A text near to an item."""

    item: int
    text: str
    similarity: float


class Nearest:
    """Keeps the `count` most similar texts of each item while blocks of texts come by.

    Args:
        windows: (N, dim) unit vectors of the items' windows, end to end.
        counts: (items,) how many windows each item has, none without.
        count: Texts kept for each item.
        floor: Least similarity.
        known: Of texts by name the items for which they are not to be kept, so that they take no
            other text's place; `slice(None)` is all items.
    """

    def __init__(
        self,
        windows: FloatMatrix,
        counts: IntArray,
        count: int,
        floor: float,
        known: Mapping[str, Sequence[int] | slice] | None = None,
    ) -> None:
        self._windows, self._count, self._floor = windows, count, floor
        self._known = known or {}
        self._starts = np.cumsum(counts) - counts
        shape = (len(counts), count)
        self._best = np.full(shape, -np.inf, np.float32)
        self._texts = np.full(shape, -1, np.int64)
        self._names: list[str] = []

    def add(self, names: Sequence[str], windows: FloatMatrix, counts: IntArray) -> None:
        """Compare some texts; a text is as near as its nearest window."""
        if not len(counts) or not len(self._starts):
            return
        ends = np.cumsum(counts)
        start = 0
        while start < len(counts):
            before = int(ends[start] - counts[start])
            stop = max(start + 1, int(np.searchsorted(ends, before + _COLUMNS, side="right")))
            inside = np.cumsum(counts[start:stop]) - counts[start:stop]
            tile = self._windows @ windows[before : int(ends[stop - 1])].T
            tile = np.maximum.reduceat(tile, inside, axis=1)
            tile = np.maximum.reduceat(tile, self._starts, axis=0)
            for k, name in enumerate(names[start:stop]):
                if name in self._known:
                    tile[self._known[name], k] = -np.inf
            self._keep(tile, len(self._names) + start)
            start = stop
        self._names += names

    def found(self) -> list[Near]:
        """All that is kept, by item, the nearest first."""
        order = np.argsort(-self._best, axis=1, kind="stable")
        return [
            Near(item, self._names[text], float(self._best[item, k]))
            for item, ranks in enumerate(order)
            for k in ranks.tolist()
            if (text := int(self._texts[item, k])) >= 0 and self._best[item, k] >= self._floor
        ]

    def _keep(self, tile: FloatMatrix, first: int) -> None:
        """Merge similarities (items, texts) of the texts numbered from `first`."""
        numbers = np.broadcast_to(np.arange(first, first + tile.shape[1]), tile.shape)
        best = np.concatenate([self._best, tile], axis=1)
        texts = np.concatenate([self._texts, numbers], axis=1)
        top = np.argpartition(-best, self._count - 1, axis=1)[:, : self._count]
        self._best = np.take_along_axis(best, top, axis=1)
        self._texts = np.take_along_axis(texts, top, axis=1)


def skeleton_overlap(one: str, other: str) -> float:
    """How much of the shorter text's wording is in the other, names and numbers left out: 0 to 1.

    Counts pairs of neighbouring words, so that a question with other names and numbers is near 1
    and one about the same things in other words is near 0.
    """
    a, b = _skeleton(one), _skeleton(other)
    smaller = min(a.total(), b.total())
    return (a & b).total() / smaller if smaller else 0.0


def _skeleton(text: str) -> Counter[tuple[str, str]]:
    words = leak_words(_DETAILS.sub(" ", seen_text(text)))
    return Counter(pairwise(words))
