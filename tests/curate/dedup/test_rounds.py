"""Groups in rounds over arrays: exactly what the slow and obvious way gives."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.curate.dedup import rounds
from distill_studio.curate.dedup.groups import Contender, Edges, Verdict, keep_first
from distill_studio.curate.dedup.rounds import Contenders, group_rows


def arrays(rows):
    def numbers(values):
        known = {value: k for k, value in enumerate(sorted(set(values) - {""}))}
        return np.array([known.get(value, -1) for value in values], np.int64)

    return Contenders(
        pa.array([row.id for row in rows], pa.string()),
        numbers([row.seed_id for row in rows]),
        np.array([row.unit for row in rows], np.int64),
        numbers([row.exact_key for row in rows]),
        np.array([row.is_protected for row in rows], bool),
    )


def told(rows, losses):
    """As the slow way tells it, in order of priority."""
    place = {row.id: k for k, row in enumerate(rows)}
    if isinstance(losses, list):
        return sorted((place[x.id], place[x.to], x.similarity, x.is_exact) for x in losses)
    columns = (losses.row, losses.to, losses.similarity, losses.is_exact)
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    assert found == sorted(found), "in order of priority"
    return found


def check(rows, edges, **how):
    slow, quick = keep_first(rows, edges, **how), group_rows(arrays(rows), edges, **how)
    assert told(rows, quick.removed) == told(rows, slow.removed)
    assert told(rows, quick.conflicts) == told(rows, slow.conflicts)
    return quick


@st.composite
def graphs(draw):
    n = draw(st.integers(0, 30))
    units = draw(st.integers(1, 30))
    rows = [
        Contender(
            f"r{k:02d}",
            f"s{draw(st.integers(0, draw(st.sampled_from([2, 8]))))}",
            draw(st.integers(-1, units - 1)),
            draw(st.sampled_from(["", "", "k1", "k2", "k3"])),
            draw(st.booleans()),
        )
        for k in range(n)
    ]
    ends = st.tuples(st.integers(0, units), st.integers(0, units)).filter(lambda p: p[0] < p[1])
    near = draw(st.dictionaries(ends, st.sampled_from([0.9, 0.93, 0.99, 1.0]), max_size=60))
    a, b, s = zip(*((a, b, s) for (a, b), s in near.items()), strict=True) if near else ((),) * 3
    edges = Edges(np.array(a, np.int64), np.array(b, np.int64), np.array(s, float))
    ids = [row.id for row in rows] + ["gone"]
    pairs = st.tuples(st.sampled_from(ids), st.sampled_from(ids)).filter(lambda p: p[0] < p[1])
    said = draw(st.dictionaries(pairs, st.sampled_from(list(Verdict)), max_size=5)) if n else {}
    return rows, edges, said


@settings(max_examples=400, deadline=None)
@given(graphs(), st.booleans(), st.booleans(), st.booleans())
def test_the_same_as_one_by_one(graph, spare, with_verdicts, remove_protected):
    rows, edges, said = graph
    verdicts = said if with_verdicts else {}
    check(rows, edges, spare_copies=spare, verdicts=verdicts, remove_protected=remove_protected)


def test_a_chain_longer_than_the_rounds():
    n = 5 * rounds._ROUNDS
    chain = Edges(np.arange(n - 1), np.arange(1, n), np.full(n - 1, 0.95))
    rows = [Contender(f"{k:04d}", f"s{k}", k, "") for k in range(n)]
    assert len(check(rows, chain).removed) == n // 2


def test_ten_thousand_equal_rows_are_no_ten_thousand_squared():
    n = 10_000
    rows = Contenders(
        pa.array([f"{k:05d}" for k in range(n)]),
        np.arange(n) % 3,
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, bool),
    )
    near = Edges(np.array([0]), np.array([1]), np.array([0.9]))
    assert set(group_rows(rows, near).removed.to.tolist()) == {0}
    spared = group_rows(rows, near, spare_copies=True).removed
    assert len(spared) == n - len(range(0, n, 3)), "answers to the first one's seed stay"


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_rows(seed):
    rng = np.random.default_rng(seed)
    n = 3000
    units = rng.integers(-1, n // 2, n)
    rows = [
        Contender(
            f"{k:05d}",
            f"s{rng.integers(n // 2)}",
            int(units[k]),
            f"k{units[k] // 2}" if rng.random() < 0.9 else "",
            bool(rng.random() < 0.1),
        )
        for k in range(n)
    ]
    a, b = np.sort(rng.integers(0, n // 2, (2, 2 * n)), axis=0)
    distinct = np.unique(np.stack([a, b])[:, a < b], axis=1)
    similarity = rng.choice([0.9, 0.95, 1.0], distinct.shape[1])
    ids = [row.id for row in rows]
    said = {
        tuple(sorted(rng.choice(ids, 2, replace=False).tolist())): rng.choice(list(Verdict))
        for _ in range(20)
    }
    check(rows, Edges(distinct[0], distinct[1], similarity))
    check(rows, Edges(distinct[0], distinct[1], similarity), verdicts=said)
