"""The search finds exactly the pairs that brute force finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.core.errors import Cancelled
from distill_studio.core.progress import CancelToken
from distill_studio.curate.dedup.projection import basis, project
from distill_studio.curate.dedup.search import NearSearch
from distill_studio.curate.dedup.similarity import DECIMALS
from distill_studio.curate.dedup.vectors import BlockSource, MemorySource, WindowedVectors


def unit_rows(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(rng, n, dim=48, spread=0.6):
    centres = rng.standard_normal((max(2, n // 8), dim)) * np.arange(1, dim + 1) ** -0.5
    return unit_rows(
        centres[rng.integers(0, len(centres), n)]
        + spread * rng.standard_normal((n, dim)) * np.arange(1, dim + 1) ** -0.5
    )


def windowed(rng, n, dim=48):
    """Texts of one to three windows, some of them copies that differ in a later window only."""
    texts = [clustered(rng, int(rng.integers(1, 4)), dim) for _ in range(n)]
    for k in range(0, n - 1, 3):
        texts[k + 1] = texts[k].copy()
        if len(texts[k]) > 1 and k % 2:
            texts[k + 1][-1] = clustered(rng, 1, dim)[0]
    return texts


def brute_force(fields, floor):
    """O(N^2), straight from the definition: fields are lists of (windows, dim) matrices."""
    found = {}
    for b in range(len(fields[0])):
        for a in range(b):
            alike = 1.0
            for texts in fields:
                if len(texts[a]) != len(texts[b]):
                    alike = 0.0
                    break
                for x, y in zip(texts[a], texts[b], strict=True):
                    dot = float(np.dot(x.astype(np.float64), y.astype(np.float64)))
                    alike = min(alike, round(dot, DECIMALS))
            if alike >= floor:
                found[a, b] = alike
    return found


def searched(source, floor, **options):
    found = {}
    for tile in NearSearch(source, floor, **options).run():
        for a, b, s in zip(tile.a, tile.b, tile.similarity, strict=True):
            assert (a, b) not in found, "each pair is found once"
            found[int(a), int(b)] = float(s)
    return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 70),
    floor=st.sampled_from([0.5, 0.8, 0.9, 0.97]),
    tile=st.sampled_from([3, 16, 64, 1024]),
    fields=st.integers(1, 2),
)
def test_equals_brute_force(seed, n, floor, tile, fields):
    rng = np.random.default_rng(seed)
    texts = [windowed(rng, n) for _ in range(fields)]
    source = MemorySource(tuple(WindowedVectors.of(field) for field in texts))
    expected = brute_force(texts, floor)
    found = searched(source, floor, tile=tile)
    assert found.keys() == expected.keys()
    assert all(abs(found[pair] - expected[pair]) < 2e-6 for pair in found)


@pytest.mark.parametrize("floor", [0.8, 0.9])
def test_equals_brute_force_on_many_dense_clusters(floor):
    rows = clustered(np.random.default_rng(7), 1500, dim=384, spread=0.25)
    source = MemorySource((WindowedVectors(rows, np.ones(1500, np.int64), rows[:0]),))
    exact = np.round(rows.astype(np.float64) @ rows.T.astype(np.float64), DECIMALS)
    expected = {(int(a), int(b)) for b, a in np.argwhere(np.tril(exact, -1) >= floor)}
    assert len(expected) > 1000
    assert searched(source, floor, tile=256).keys() == expected


def test_new_units_are_compared_with_all_and_old_ones_not_again():
    rows = clustered(np.random.default_rng(3), 300)
    source = MemorySource((WindowedVectors(rows, np.ones(300, np.int64), rows[:0]),))
    whole = searched(source, 0.8, tile=64)
    newer = searched(source, 0.8, tile=64, known=170)
    assert newer == {pair: s for pair, s in whole.items() if pair[1] >= 170}
    assert searched(source, 0.8, known=300) == {}


def test_blocks_give_the_same_as_memory():
    rng = np.random.default_rng(5)
    memory = MemorySource((WindowedVectors.of(windowed(rng, 90)),))
    reads = []

    def read(start, stop):
        reads.append((start, stop))
        return memory.load(start, stop)

    blocks = BlockSource(90, read, block=16, cache_bytes=1)
    assert searched(blocks, 0.8, tile=20) == searched(memory, 0.8, tile=20)
    assert all(stop - start <= 16 for start, stop in reads)


def test_texts_equal_in_their_first_window_only_are_no_pair():
    a, b, c = clustered(np.random.default_rng(1), 3)
    same, other = np.stack([a, b]), np.stack([a, c])
    source = MemorySource((WindowedVectors.of([same, other, same.copy(), a[None]]),))
    assert searched(source, 0.9) == {(0, 2): 1.0}


def test_a_raised_floor_holds_for_what_follows():
    rows = clustered(np.random.default_rng(2), 200)
    source = MemorySource((WindowedVectors(rows, np.ones(200, np.int64), rows[:0]),))
    search = NearSearch(source, 0.6, tile=10)
    late = []
    for k, tile in enumerate(search.run()):
        search.floor = 0.9
        if k > 4:
            late += tile.similarity.tolist()
    assert late
    assert min(late) >= 0.9


def test_done_to_never_runs_ahead():
    rows = clustered(np.random.default_rng(2), 130)
    source = MemorySource((WindowedVectors(rows, np.ones(130, np.int64), rows[:0]),))
    marks = [
        (tile.done_to, tile.b.max(initial=-1)) for tile in NearSearch(source, 0.5, tile=32).run()
    ]
    assert [m for m, _ in marks] == sorted(m for m, _ in marks)
    assert marks[-1][0] == 130
    for k, (mark, _) in enumerate(marks):
        assert all(b >= mark or b == -1 for _, b in marks[k + 1 :])


def test_a_stop_is_noticed():
    rows = clustered(np.random.default_rng(2), 100)
    source = MemorySource((WindowedVectors(rows, np.ones(100, np.int64), rows[:0]),))
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        list(NearSearch(source, 0.8, tile=16).run(token))


@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_projection_never_understates(seed, columns):
    rng = np.random.default_rng(seed)
    rows = clustered(rng, 60)
    short = project(rows, basis(rows[:30], columns))
    assert short.shape == (60, columns + 1)
    assert (short @ short.T >= rows @ rows.T - 2e-5).all()


def test_floor_is_checked():
    source = MemorySource((WindowedVectors.of([np.ones((1, 1), np.float32)]),))
    with pytest.raises(ValueError, match="floor"):
        NearSearch(source, 0.0)
