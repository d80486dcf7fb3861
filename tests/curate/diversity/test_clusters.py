"""Clusters and their names: repeatable, none empty, named after what sets them apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.curate.diversity import clusters
from distill_studio.curate.diversity.clusters import (
    assign,
    cluster,
    default_count,
    mean_vectors,
    unit,
)
from distill_studio.curate.diversity.names import cluster_terms, distinct_names, name_of


def blobs(seed=0, groups=5, each=40, dim=24, spread=0.15):
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((groups, dim)))
    rows = np.repeat(centres, each, axis=0) + spread * rng.standard_normal((groups * each, dim))
    return unit(rows), np.repeat(np.arange(groups), each)


def test_groups_that_are_there_are_found():
    vectors, truth = blobs()
    found = cluster(vectors, 5)
    assert len(found.centres) == 5
    for label in range(5):
        assert len(set(truth[found.labels == label])) == 1
    assert list(np.bincount(found.labels)) == sorted(np.bincount(found.labels), reverse=True)


def test_the_same_rows_give_the_same_clusters():
    vectors, _ = blobs(3, groups=7)
    one, two = cluster(vectors, 6, seed=4), cluster(vectors, 6, seed=4)
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.centres, two.centres)


def test_very_many_rows_are_clustered_in_small_batches(monkeypatch):
    vectors, truth = blobs(each=200)
    monkeypatch.setattr(clusters, "FULL_ROWS", 500)
    found, again = cluster(vectors, 5, seed=1), cluster(vectors, 5, seed=1)
    assert np.array_equal(found.labels, again.labels)
    assert all(len(set(truth[found.labels == k])) == 1 for k in range(len(found.centres)))
    assert np.allclose(np.linalg.norm(found.centres, axis=1), 1, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 5))
def test_no_cluster_is_empty_and_each_row_has_its_nearest(rows, count, seed):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((rows, 3)))[rng.integers(0, max(1, rows // 2), rows)]
    found = cluster(vectors, count, seed)
    assert 1 <= len(found.centres) <= min(count, rows)
    assert np.bincount(found.labels, minlength=len(found.centres)).min() >= 1
    best = (vectors @ found.centres.T).max(axis=1)
    assert np.allclose(best, found.similarity, atol=1e-5)


def test_new_rows_go_to_the_nearest_centre():
    vectors, _ = blobs()
    found = cluster(vectors, 5)
    again, _ = assign(vectors[:7], found.centres)
    assert np.array_equal(again, found.labels[:7])


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (2, 1), (10, 3), (1000, 14), (10**6, 60)])
def test_the_number_of_clusters_stays_readable(rows, count):
    assert default_count(rows) == count


def test_windows_of_a_text_count_as_one():
    windows = unit(np.array([[1, 0], [0, 1], [0, 1]], np.float32))
    found = mean_vectors(windows, np.array([2, 1]))
    assert np.allclose(found, [[2**-0.5, 2**-0.5], [0, 1]])


def test_terms_are_those_of_the_cluster_and_not_of_all():
    texts = ["Write a poem about the sea", "A poem on rain please", "poems for my friend, a poem"]
    texts += ["Sort a list in Python", "python function to reverse a list", "Python list of lists"]
    texts += ["What is the capital of France?", "Capital city of Peru", "the capital of Spain"]
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    terms = cluster_terms(texts * 2, labels * 2, 3)
    names = [name_of(found, k) for k, found in enumerate(terms)]
    assert [name.split(",")[0] for name in names] == ["poem", "list", "capital"] or [
        name.split(",")[0] for name in names
    ] == ["poem", "python", "capital"]
    assert "poems" not in names[0]
    assert not any(word in name.split(", ") for name in names for word in ("the", "of", "a"))


def test_other_scripts_have_names_too_and_empty_ones_a_number():
    terms = cluster_terms(["东京天气", "东京"], [0, 0], 1)
    assert name_of(terms[0], 0).startswith(("东", "京"))
    assert name_of([], 3) == "topic 4"
    assert distinct_names(["a", "b", "a"]) == ["a", "b", "a (2)"]
