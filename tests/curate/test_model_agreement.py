"""How far two models agree: matching thresholds against a count by hand, windows, rank."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.curate.dedup.vectors import WindowedVectors
from distill_studio.curate.model_agreement import (
    THRESHOLDS,
    all_similarities,
    match,
    matches,
    same_windows,
    spearman,
)

COSINES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=40).map(
    lambda pairs: np.array(pairs, float).T / 20
)


@given(COSINES, st.sampled_from([0.5, 0.8, 1.0]))
def test_the_matching_threshold_finds_as_many_pairs(cosines, threshold):
    full, fast = cosines
    found = match(full, fast, threshold)
    near = {k for k, value in enumerate(full) if value >= threshold}
    assert found.pairs == len(near)
    if not near:
        assert (found.matching, found.recall) == (None, None)
        return
    above = {k for k, value in enumerate(fast) if value >= found.matching}
    strictly = {k for k, value in enumerate(fast) if value > found.matching}
    assert len(strictly) < len(near) <= len(above)
    assert found.recall == pytest.approx(len(near & above) / len(near))


def test_a_model_agrees_with_itself_and_not_with_its_opposite():
    full = np.array([0.99, 0.91, 0.85, 0.4, 0.1])
    assert spearman(full, full**2) == pytest.approx(1)  # another scale, the same order
    found = {one.threshold: one for one in matches(full, full**2, 0.92)}
    assert sorted(found) == sorted({*THRESHOLDS, 0.92})
    assert found[0.9].matching == pytest.approx(0.91**2)
    assert [found[t].recall for t in (0.8, 0.85, 0.9, 0.92)] == [1, 1, 1, 1]
    assert spearman(full, -full) == pytest.approx(-1)
    assert match(full, -full, 0.9).recall == 0
    assert spearman(full, np.ones(5)) is None


def test_similarity_is_the_least_of_sides_and_windows():
    a, b, c = np.eye(3, dtype=np.float32)
    prompts = WindowedVectors.of([np.stack([a]), np.stack([a]), np.stack([a]), np.stack([-a])])
    answers = WindowedVectors.of([np.stack([a, b]), np.stack([a, c]), np.stack([a]), np.stack([a])])
    # pairs 01, 02, 03, 12, 13, 23
    assert all_similarities([prompts]).tolist() == [1, 1, -1, 1, -1, -1]
    assert all_similarities([prompts, answers]).tolist() == [0, 0, -1, 0, -1, -1]
    assert same_windows([prompts, answers]).tolist() == [True, False, False, False, False, True]
