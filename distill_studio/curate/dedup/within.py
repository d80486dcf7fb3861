"""Near-duplicates within one topic only: a text that occurs in two topics counts as two texts."""

from dataclasses import replace

import numpy as np

from distill_studio.curate.dedup.groups import Edges
from distill_studio.curate.dedup.rounds import Contenders
from distill_studio.curate.dedup.vectors import IntArray


def within_topics(rows: Contenders, edges: Edges, topic: IntArray) -> tuple[Contenders, Edges]:
    """Rows and edges such that no two rows of different topics are alike any more.

    Args:
        rows: N rows.
        edges: Near pairs of their units.
        topic: (N,) number of each row's topic, from 0.
    """
    topics = int(topic.max(initial=0)) + 1
    known, unit = _split(rows.unit, topic, topics)
    _, key = _split(rows.key, topic, topics)
    begin = np.searchsorted(known, edges.a * topics)
    count = np.searchsorted(known, (edges.a + 1) * topics) - begin
    edge = np.repeat(np.arange(len(edges.a)), count)
    a = np.repeat(begin, count) + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    wanted = edges.b[edge] * topics + known[a] % topics  # the other text in the same topic
    b = np.searchsorted(known, wanted)
    is_there = np.append(known, -1)[b] == wanted
    edge, a, b = edge[is_there], a[is_there], b[is_there]
    return replace(rows, unit=unit, key=key), Edges(a, b, edges.similarity[edge])


def _split(group: IntArray, topic: IntArray, topics: int) -> tuple[IntArray, IntArray]:
    """(sorted numbers of group and topic that occur, (N,) place of each row's; -1 for no group)."""
    known, place = np.unique(group * topics + topic, return_inverse=True)
    first = int(np.searchsorted(known, 0))  # those without a group come before
    return known[first:], np.where(group < 0, -1, place - first)
