"""The most alike text of another dataset for each of some texts, by the measure of near-duplicates.

Not `decontaminate.nearest`, which looks for what may be the same in other words and so takes the
nearest window: here all aligned windows of a text must agree, as between rows (`similarity`).
"""

from collections.abc import Sequence

import numpy as np

from distill_studio.curate.dedup.projection import SLACK
from distill_studio.curate.dedup.similarity import near
from distill_studio.curate.dedup.vectors import FloatArray, IntArray, WindowedVectors

_TILE = 2048


def most_alike(
    texts: Sequence[WindowedVectors], items: Sequence[WindowedVectors], floor: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """(text, item, similarity) of the texts that an item is at least `floor` like.

    Args:
        texts: Their vectors, one entry per field (prompt, answer).
        items: Those of the items, likewise.
        floor: Least similarity. Of equally alike items the first is named.
    """
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for start in range(0, len(items[0]), _TILE):
        tile = [field.part(start, start + _TILE) for field in items]
        text, item, similarity = _near(texts, tile, floor)
        parts.append((text, item + start, similarity))
    text, item, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((item, -similarity, text))
    text, first = np.unique(text[order], return_index=True)
    best = order[first]
    return text, item[best], similarity[best]


def _near(
    texts: Sequence[WindowedVectors], items: Sequence[WindowedVectors], floor: float
) -> tuple[IntArray, IntArray, FloatArray]:
    mask = np.ones((len(texts[0]), len(items[0])), bool)
    for left, right in zip(texts, items, strict=True):
        mask &= left.first @ right.first.T >= floor - SLACK
    i, j = np.divmod(np.flatnonzero(mask), len(items[0]))
    return near(texts, i, items, j, floor)
