"""Within one topic: as if every topic were compared alone."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.curate.dedup.groups import Edges
from distill_studio.curate.dedup.rounds import Contenders, group_rows
from distill_studio.curate.dedup.within import within_topics

NUMBERS = st.integers(-1, 6)


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 2), st.integers(0, 3)), max_size=25),
    st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda p: p[0] < p[1])),
)
def test_the_same_as_each_topic_alone(rows, pairs):
    unit, key, topic, seed = np.array(rows, np.int64).reshape(-1, 4).T
    a, b = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    edges = Edges(a, b, np.full(len(a), 0.9))
    ids = pa.array([f"{k:02d}" for k in range(len(rows))], pa.string())
    every = Contenders(ids, seed, unit, key, np.zeros(len(rows), bool))

    found = group_rows(*within_topics(every, edges, topic)).removed
    expected = []
    for one in range(3):
        places = np.flatnonzero(topic == one)
        columns = {name: getattr(every, name)[places] for name in ("seed", "unit", "key")}
        protected = every.is_protected[places]
        alone = replace(every, ids=ids.take(pa.array(places)), is_protected=protected, **columns)
        lost = group_rows(alone, edges).removed
        expected += zip(places[lost.row].tolist(), places[lost.to].tolist(), strict=True)
    assert sorted(zip(found.row.tolist(), found.to.tolist(), strict=True)) == sorted(expected)
