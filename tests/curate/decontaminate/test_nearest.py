"""The nearest texts of each item against a plain product."""

import numpy as np
import pytest

from distill_studio.curate.decontaminate import nearest as module
from distill_studio.curate.decontaminate.nearest import Nearest, skeleton_overlap


def unit(rng, *shape):
    rows = rng.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("columns", [1, 7, 4096])
def test_windows_blocks_and_tiles_make_no_difference(monkeypatch, columns):
    monkeypatch.setattr(module, "_COLUMNS", columns)
    rng = np.random.default_rng(0)
    item_counts, text_counts = rng.integers(1, 4, 9), rng.integers(1, 4, 60)
    items, texts = unit(rng, item_counts.sum(), 8), unit(rng, text_counts.sum(), 8)
    starts_i = np.cumsum(item_counts) - item_counts
    starts_t = np.cumsum(text_counts) - text_counts
    search = Nearest(items, item_counts, 4, 0.2)
    for block in range(0, 60, 25):
        some = text_counts[block : block + 25]
        first = starts_t[block]
        names = [f"t{k}" for k in range(block, block + len(some))]
        search.add(names, texts[first : first + some.sum()], some)
    expected = []
    for i, a in enumerate(starts_i):
        best = sorted(
            (
                (float((items[a : a + item_counts[i]] @ texts[b : b + n].T).max()), f"t{k}")
                for k, (b, n) in enumerate(zip(starts_t, text_counts, strict=True))
            ),
            reverse=True,
        )[:4]
        expected += [(i, name) for similarity, name in best if similarity >= 0.2]
    assert [(near.item, near.text) for near in search.found()] == expected


def test_known_texts_take_no_place(monkeypatch):
    monkeypatch.setattr(module, "_COLUMNS", 3)
    rng = np.random.default_rng(1)
    items, texts = unit(rng, 3, 8), unit(rng, 12, 8)
    names = [f"t{k}" for k in range(12)]
    order = np.argsort(-(items @ texts.T), axis=1)
    known = {names[order[0, 0]]: [0], names[order[1, 0]]: slice(None)}
    search = Nearest(items, np.ones(3, np.int64), 2, -1.0, known)
    for start in (0, 5, 10):
        some = names[start : start + 5]
        search.add(some, texts[start : start + 5], np.ones(len(some), np.int64))
    expected = []
    for item in range(3):
        left = [names[k] for k in order[item] if names[k] != names[order[1, 0]]]
        expected += [(item, name) for name in left if item or name != names[order[0, 0]]][:2]
    assert [(near.item, near.text) for near in search.found()] == expected


def test_no_texts_and_no_items():
    rng = np.random.default_rng(0)
    one = np.ones(1, np.int64)
    assert Nearest(unit(rng, 1, 8), one, 3, 0.0).found() == []
    empty = Nearest(np.zeros((0, 8), np.float32), np.zeros(0, np.int64), 3, 0.0)
    empty.add(["t"], unit(rng, 1, 8), one)
    assert empty.found() == []


def test_wording_counts_and_details_do_not():
    question = "Janet sells 16 eggs at the market for 2 dollars each"
    assert skeleton_overlap(question, "Kofi sells 23.5 eggs at the market for 7 dollars each") == 1
    assert skeleton_overlap(question, "Ships float on water because they are light") == 0
    assert skeleton_overlap("", question) == 0
