"""The search by clusters: never a false pair, as many true ones as it was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from distill_studio.core.errors import Cancelled
from distill_studio.core.progress import CancelToken
from distill_studio.curate.dedup.clustered import ClusteredSearch, Probing
from distill_studio.curate.dedup.recall import estimate, interval, margin_for
from distill_studio.curate.dedup.search import NearSearch
from distill_studio.curate.dedup.vectors import BlockSource, MemorySource, WindowedVectors


def unit_rows(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fields_of(seed, n, fields=1, dim=48, windows=3):
    """Units of some windows each, a third of them near copies; some not to the end."""
    rng = np.random.default_rng(seed)
    sources = np.where(rng.random(n) < 0.35, rng.integers(0, n, n), np.arange(n))
    counts = rng.integers(1, windows + 1, n)
    made = []
    for _ in range(fields):
        centres = rng.standard_normal((max(2, n // 20), dim))
        texts = [
            unit_rows(centres[rng.integers(0, len(centres))] + rng.standard_normal((count, dim)))
            for count in counts
        ]
        noise = [0.04 * rng.standard_normal(texts[s].shape) for s in sources]
        noise = [one * rng.choice([0.5, 1, 2, 8], size=(len(one), 1)) for one in noise]
        copies = [unit_rows(texts[s] + noise[k]) for k, s in enumerate(sources)]
        made.append(WindowedVectors.of(copies))
    return MemorySource(tuple(made))


def pairs(search, cancel=None):
    found = {}
    for tile in search.run(cancel):
        for a, b, s in zip(tile.a, tile.b, tile.similarity, strict=True):
            assert a < b
            assert (a, b) not in found, "each pair is found once"
            found[int(a), int(b)] = float(s)
    return found


def of_sample(search, seed):
    return list(zip(*(side.tolist() for side in search.sampled(seed)), strict=True))


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 200),
    floor=st.sampled_from([0.7, 0.85, 0.95]),
    fields=st.integers(1, 2),
    block=st.sampled_from([7, 64, 1000]),
)
def test_a_full_margin_finds_what_the_exact_search_finds(seed, n, floor, fields, block):
    source = fields_of(seed, n, fields)
    exact = pairs(NearSearch(source, floor))
    first = ClusteredSearch(source, floor, block=block)
    everywhere = Probing(first.prepare().centres, margin=2.0)
    assert pairs(ClusteredSearch(source, floor, block=block, probing=everywhere)) == exact
    some = pairs(first)
    assert some.items() <= exact.items()
    assert sorted(of_sample(first, 5)) == sorted(exact)  # all units fit into the sample


@pytest.mark.parametrize("wanted", [0.9, 0.995])
def test_the_margin_gives_the_recall_that_is_wanted(wanted):
    source = fields_of(11, 3000, windows=1)
    exact = pairs(NearSearch(source, 0.8))
    search = ClusteredSearch(source, 0.8, wanted=wanted, block=2048)
    found = pairs(search)
    assert len(exact) > 400
    assert wanted <= len(found) / len(exact)
    tight = pairs(ClusteredSearch(source, 0.8, probing=Probing(search.prepare().centres, 0.0)))
    assert len(tight) < len(exact)  # the margin is what finds the rest
    sample = of_sample(search, 3)
    recall = estimate(np.array([pair in found for pair in sample]), np.array(sample)[:, 1])
    assert recall.low <= len(found) / len(exact) <= recall.high


def test_stopped_and_resumed_equals_at_once():
    source = fields_of(3, 900)
    whole_search = ClusteredSearch(source, 0.8, block=200)
    whole = pairs(whole_search)
    token = CancelToken()
    kept, mark = {}, 0
    search = ClusteredSearch(source, 0.8, block=200)
    with pytest.raises(Cancelled):
        for tile in search.run(token):
            kept.update(
                zip(
                    zip(tile.a.tolist(), tile.b.tolist(), strict=True), tile.similarity, strict=True
                )
            )
            if tile.done_to >= 400:
                mark = tile.done_to
                token.cancel()
    kept = {pair: s for pair, s in kept.items() if pair[1] < mark}
    assert mark == 400
    rest = pairs(ClusteredSearch(source, 0.8, known=mark, probing=whole_search.probing))
    assert kept | rest == whole
    assert min(b for _, b in rest) >= mark


def test_marks_never_run_ahead_and_blocks_on_disk_give_the_same():
    memory = fields_of(8, 300)
    read = []

    def load(start, stop):
        read.append((start, stop))
        return memory.load(start, stop)

    disk = BlockSource(300, load, block=64, cache_bytes=0)
    tiles = list(ClusteredSearch(disk, 0.8, block=100).run())
    marks = [tile.done_to for tile in tiles]
    assert marks == sorted(marks)
    assert marks[-1] == 300
    assert all(
        later.b.min(initial=10**9) >= tile.done_to
        for k, tile in enumerate(tiles)
        for later in tiles[k + 1 :]
    )
    assert {(a, b) for t in tiles for a, b in zip(t.a, t.b, strict=True)} == set(
        pairs(ClusteredSearch(memory, 0.8, block=100))
    )
    assert read == [(k, min(k + 64, 300)) for k in range(0, 300, 64)]  # each vector once


def test_nothing_new_costs_nothing():
    source = fields_of(1, 50)
    assert pairs(ClusteredSearch(source, 0.8, known=50)) == {}
    with pytest.raises(ValueError, match="floor"):
        ClusteredSearch(source, 1.5)


def test_the_interval_is_the_exact_binomial_one_and_wider_for_pairs_of_few_units():
    found = np.arange(400) >= 3
    alone = estimate(found, np.arange(400))
    exact = binomtest(397, 400).proportion_ci(0.95, method="exact")
    assert (alone.low, alone.high) == pytest.approx((exact.low, exact.high))
    together = estimate(found, np.arange(400) // 10)
    assert together.low < alone.low
    assert together.high > alone.high
    assert interval(1.0, 40.0)[1] == 1.0
    nothing = estimate(np.zeros(0, bool), np.zeros(0, np.int64))
    assert (nothing.low, nothing.high, nothing.pairs) == (0.0, 1.0, 0)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 3000), wanted=st.floats(0.5, 0.999))
def test_the_margin_is_the_smallest_that_the_sample_vouches_for(seed, n, wanted):
    needed = np.random.default_rng(seed).exponential(0.1, n)
    units = np.arange(n)
    margin = margin_for(needed, units, wanted)
    found = needed <= margin
    assert estimate(found, units).low >= wanted or found.all()
    if not found.all():
        fewer = needed < margin
        assert estimate(fewer, units).low < wanted
