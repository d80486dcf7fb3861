"""The map keeps near rows near, better than two principal components, and is repeatable."""

from dataclasses import replace

import numpy as np
import pytest

from distill_studio.core.errors import Cancelled
from distill_studio.core.progress import CancelToken
from distill_studio.curate.diversity import layout
from distill_studio.curate.diversity.clusters import unit
from distill_studio.curate.diversity.neighbours import find_neighbours


def rows(groups=8, each=30, dim=32, seed=1):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((groups, dim))
    spread = 0.5 * rng.standard_normal((groups * each, dim))
    return unit(np.repeat(centres, each, axis=0) + spread), np.repeat(np.arange(groups), each)


@pytest.fixture(scope="module")
def drawn():
    vectors, truth = rows()
    graph = find_neighbours(vectors, layout.NEIGHBOURS)
    return vectors, truth, graph, layout.lay_out(graph, vectors)


def test_neighbours_stay_neighbours(drawn):
    vectors, truth, graph, places = drawn
    flat = layout.kept_neighbours(graph, layout.principal_places(vectors))
    assert layout.kept_neighbours(graph, places) > max(0.5, 1.3 * flat)
    away = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(away, np.inf)
    assert (truth[away.argmin(axis=1)] == truth).mean() > 0.97
    assert np.abs(places).max() <= 1.3


def test_the_same_rows_give_the_same_map():
    vectors, _ = rows(groups=4, each=10)
    graph = find_neighbours(vectors, 12)
    assert np.array_equal(layout.lay_out(graph, vectors), layout.lay_out(graph, vectors))


def test_the_grid_draws_as_the_trees_do(drawn, monkeypatch):
    vectors, _, graph, places = drawn
    monkeypatch.setattr(layout, "_GRID_ROWS", 0)
    monkeypatch.setattr(layout, "_STEPS", ((20, 12.0, 0.5), (20, 1.0, 0.8)))
    trusted = layout.kept_neighbours(graph, layout.lay_out(graph, vectors))
    assert trusted > 0.8 * layout.kept_neighbours(graph, places)


def test_rows_with_fewer_neighbours_are_drawn_too(drawn):
    vectors, truth, graph, _ = drawn
    rows = graph.rows.copy()
    rows[::3, 12:] = -1
    rows[5] = -1
    places = layout.lay_out(replace(graph, rows=rows), vectors)
    assert np.isfinite(places).all()
    away = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(away, np.inf)
    assert (truth[away.argmin(axis=1)] == truth).mean() > 0.95


def test_further_rows_stand_beside_their_nearest(drawn):
    vectors, truth, _, places = drawn
    placed = layout.place_among(vectors[::2], vectors[1::2], places[1::2])
    near = ((placed[:, None] - places[None, 1::2]) ** 2).sum(-1).argmin(axis=1)
    assert (truth[1::2][near] == truth[::2]).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2, 4, 6, 12])
def test_few_rows_have_a_map_too(count):
    vectors, _ = rows(groups=count, each=1)
    graph = find_neighbours(vectors, layout.NEIGHBOURS)
    places = layout.lay_out(graph, vectors)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()


def test_equal_rows_and_cancelling():
    vectors = np.ones((20, 4), np.float32) / 2
    graph = find_neighbours(vectors, 5)
    assert np.isfinite(layout.lay_out(graph, vectors)).all()
    token = CancelToken()
    seen = []

    def at_half(done, total, _what):
        seen.append((done, total))
        if done >= total / 2:
            token.cancel()

    with pytest.raises(Cancelled):
        layout.lay_out(graph, vectors, at_half, token)
    assert len(seen) > 10
    assert 0.5 <= seen[-1][0] / seen[-1][1] < 0.6
