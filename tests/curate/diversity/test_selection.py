"""Choices of N rows, held against brute force."""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.curate.diversity import neighbours, wordmodel
from distill_studio.curate.diversity.clusters import unit
from distill_studio.curate.diversity.coverage import effective_topics, verdict
from distill_studio.curate.diversity.neighbours import find_neighbours
from distill_studio.curate.diversity.selection import (
    at_random,
    facility_location,
    graph_size,
    k_centre,
    objective,
    without_outliers,
)

small = st.tuples(st.integers(2, 9), st.integers(1, 5), st.integers(0, 10**6))


def case(rows, seed, dim=4):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((rows, dim)) + 0.4)
    return vectors, rng.uniform(0.3, 1, rows)


@settings(max_examples=25)
@given(small)
def test_facility_location_is_greedy_and_within_its_bound(numbers):
    rows, count, seed = numbers
    vectors, quality = case(rows, seed)
    graph = find_neighbours(vectors, rows - 1)
    chosen = facility_location(graph, quality, count)
    alike = np.maximum(vectors @ vectors.T, 0) * quality[None, :]
    np.fill_diagonal(alike, quality)

    def value(some):
        return alike[:, list(some)].max(axis=1).sum() if len(some) else 0.0

    count = min(count, rows)
    best = max(value(some) for some in itertools.combinations(range(rows), count))
    assert value(chosen.rows) >= (1 - 1 / math.e) * best - 1e-4
    assert np.isclose(chosen.value, value(chosen.rows), atol=1e-4)
    taken = []
    for row in chosen.rows:  # each choice adds as much as any other would
        most = max(value([*taken, r]) for r in range(rows) if r not in taken)
        assert value([*taken, row]) >= most - 1e-4
        taken.append(row)


@settings(max_examples=25)
@given(small)
def test_k_centre_is_within_twice_the_best(numbers):
    rows, count, seed = numbers
    vectors, _ = case(rows, seed)
    away = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    count = min(count, rows)
    chosen = k_centre(vectors, count).rows
    assert len(set(chosen)) == count
    reached = away[:, chosen].min(axis=1).max()
    best = min(
        away[:, list(s)].min(axis=1).max() for s in itertools.combinations(range(rows), count)
    )
    assert reached <= 2 * best + 1e-3


@settings(max_examples=25)
@given(small, st.data())
def test_every_method_gives_distinct_rows_with_the_fixed_ones(numbers, data):
    rows, count, seed = numbers
    vectors, quality = case(rows, seed)
    already = data.draw(st.lists(st.integers(0, rows - 1), unique=True, max_size=3))
    graph = find_neighbours(vectors, min(3, rows - 1))
    allowed = without_outliers(graph)
    for chosen in (
        facility_location(graph, quality, count, already),
        k_centre(vectors, count, already, allowed),
        at_random(rows, count, seed, already),
    ):
        assert len(chosen.rows) == len(set(chosen.rows)) == max(min(count, rows), len(already))
        assert set(already) <= set(chosen.rows)


def test_quality_decides_between_equal_rows():
    vectors = unit(np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32))
    quality = np.array([0.4, 0.9, 0.8, 0.5])
    chosen = facility_location(find_neighbours(vectors, 3), quality, 2)
    assert sorted(chosen.rows) == [1, 2]


def test_a_sparse_graph_loses_little_of_the_full_objective():
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((60, 32))
    vectors = unit(centres[rng.integers(0, 60, 500)] + 0.7 * rng.standard_normal((500, 32)))
    quality, count = np.ones(500), 50
    full = find_neighbours(vectors, 499)
    sparse = full.first(graph_size(10**6, 10**6))  # the fewest neighbours that are ever used
    dense_value = facility_location(full, quality, count).value
    sparse_value = objective(full, quality, facility_location(sparse, quality, count).rows)
    random_value = objective(full, quality, at_random(500, count, 0).rows)
    assert sparse_value >= 0.98 * dense_value
    assert dense_value > random_value


def test_k_centre_leaves_outliers_alone():
    rng = np.random.default_rng(2)
    vectors = unit(np.concatenate([rng.normal(1, 0.3, (200, 8)), -np.ones((2, 8))]))
    vectors[201] = unit(np.array([[-1, 1] * 4], np.float32))
    allowed = without_outliers(find_neighbours(vectors, 20))
    assert not allowed[200]
    assert not allowed[201]
    assert {200, 201} & set(k_centre(vectors, 10).rows)
    assert not {200, 201} & set(k_centre(vectors, 10, allowed=allowed).rows)


def test_clustered_search_finds_nearly_all_and_says_how_many(monkeypatch):
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((40, 24))
    vectors = unit(centres[rng.integers(0, 40, 1500)] + 1.2 * rng.standard_normal((1500, 24)))
    exact = find_neighbours(vectors, 10)
    assert exact.recall == 1.0
    recalls = []
    for compared in (150, 500, 1500):
        monkeypatch.setattr(neighbours, "COMPARED", compared)
        found = find_neighbours(vectors, 10, exact_rows=100)
        same = np.mean([
            len(np.intersect1d(a, b)) / 10 for a, b in zip(exact.rows, found.rows, strict=True)
        ])
        assert abs(found.recall - same) < 0.05
        assert not (found.rows == np.arange(1500)[:, None]).any()
        recalls.append(found.recall)
    assert 0.5 < recalls[0] < recalls[1] < recalls[2] == 1.0
    assert recalls[1] > 0.85


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_exact_neighbours_are_those_of_brute_force(rows, count, seed):
    vectors, _ = case(rows, seed, dim=6)
    found = find_neighbours(vectors, count)
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -9)
    expected = -np.sort(-alike, axis=1)[:, : min(count, rows - 1)]
    assert np.allclose(found.similarity, expected, atol=1e-5)


def test_effective_topics_and_words_for_shares():
    assert effective_topics([5, 5, 5, 0]) == 3.0000000000000004 or math.isclose(
        effective_topics([5, 5, 5, 0]), 3
    )
    assert effective_topics([]) == 0
    assert 1 < effective_topics([99, 1]) < 1.1
    assert verdict(60, 100, 10) == "dominant"
    assert verdict(1, 100, 10) == "thin"
    assert verdict(10, 100, 10) == ""
    assert verdict(60, 100, 2) == ""


def test_the_word_model_is_a_distribution_and_prefers_what_it_saw():
    vocabulary = wordmodel.Vocabulary()
    seen = [vocabulary.encode("the cat sat on the mat"), vocabulary.encode("a cat ran")]
    other = [vocabulary.encode("prices of copper rose again")]
    size = len(vocabulary)
    for before in range(size):
        each = [np.array([before, w]) for w in range(size)]
        total = sum(2 ** -wordmodel.bits_per_word(seen, [one], size) for one in each)
        assert math.isclose(total, 1, abs_tol=1e-6)
    like = wordmodel.bits_per_word(seen, [vocabulary.encode("the cat ran")], size)
    assert like < wordmodel.bits_per_word(other, [vocabulary.encode("the cat ran")], size)
    assert wordmodel.bits_per_word(seen, [], size) == 0
    assert math.isclose(wordmodel.bits_per_word([], seen, size), -math.log2(0.05 / size))
