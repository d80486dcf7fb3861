"""Hashes, vectors, units and near pairs in the store."""

import numpy as np
import pytest

from distill_studio.core.records import Message, Pair
from distill_studio.services.curation_work import refresh_hashes
from distill_studio.store import embeddings, pairs
from distill_studio.store.database import Database


@pytest.fixture
def db(tmp_path):
    db = Database(tmp_path / "studio.duckdb")
    yield db
    db.close()


@pytest.fixture
def ids(db):
    texts = [("p0", "a0"), ("p0", "a1"), ("p1", "a1"), ("p0", "a0"), ("p2", "")]
    rows = [
        Pair(
            seed_id=f"s{k}", messages=(Message(role="user", content=prompt),), answer=answer,
            job_id="j",
        )
        for k, (prompt, answer) in enumerate(texts)
    ]  # fmt: skip
    pairs.insert(db, rows)
    refresh_hashes(db)
    return [row.id for row in rows]


def embed(db, field, dim=3):
    """A random vector per missing text, two windows for each second text."""
    rng = np.random.default_rng(0)
    missing = embeddings.texts_without_vectors(db, "m", dim, field)
    windows = [1 + k % 2 for k in range(len(missing))]
    vectors = rng.standard_normal((sum(windows), dim)).astype(np.float32)
    if missing:
        embeddings.save_vectors(db, "m", [h for h, _, _ in missing], windows, vectors)
    return missing, vectors


def test_each_text_is_asked_for_once_and_never_again(db, ids):
    missing, _ = embed(db, "both")
    assert sorted(side for _, _, side in missing) == ["answer"] * 2 + ["prompt"] * 3
    assert embeddings.texts_without_vectors(db, "m", 3, "both") == []
    assert len(embeddings.texts_without_vectors(db, "other model", 3, "both")) == 5


def test_units_are_distinct_numbered_once_and_need_all_their_texts(db, ids):
    embed(db, "both")
    assert embeddings.add_units(db, "m", 3, "both") == 3  # an empty answer makes none
    assert embeddings.add_units(db, "m", 3, "both") == 3
    assert embeddings.add_units(db, "m", 3, "prompt") == 3
    assert embeddings.add_units(db, "m", 3, "answer") == 2
    numbers = db.rows("SELECT field, list(number ORDER BY number) AS n FROM dedup_units GROUP BY 1")
    assert {row["field"]: row["n"] for row in numbers} == {
        "both": [0, 1, 2],
        "prompt": [0, 1, 2],
        "answer": [0, 1],
    }


def test_vectors_come_back_as_they_were_saved(db, ids):
    missing, vectors = embed(db, "answer")
    embeddings.add_units(db, "m", 3, "answer")
    [(rows, counts)] = embeddings.unit_vectors(db, "m", 3, "answer", 0, 2)
    order = {h: k for k, (h, _, _) in enumerate(missing)}
    units = db.rows("SELECT answer_hash FROM dedup_units ORDER BY number")
    starts = [0, 1]
    windows = [1, 2]
    expected = [
        vectors[starts[k] : starts[k] + windows[k]]
        for k in (order[row["answer_hash"]] for row in units)
    ]
    assert counts.tolist() == [len(e) for e in expected]
    assert np.array_equal(rows, np.concatenate(expected))


def test_saving_vectors_twice_stores_them_once(db, ids):
    embed(db, "answer")
    with_count = "SELECT count(*) FROM vectors_3"
    before = db.value(with_count)
    vector = np.ones((1, 3), np.float32)
    known = db.value("SELECT text_hash FROM vectors_3 LIMIT 1")
    embeddings.save_vectors(db, "m", [known], [1], vector)
    assert db.value(with_count) == before


def test_an_interrupted_strip_is_begun_again(db, ids):
    embeddings.begin_search(db, "m", 3, "answer", 0.8)
    near = (np.array([0, 0]), np.array([1, 5]), np.array([0.9, 0.95]))
    embeddings.save_near_pairs(db, "m", "answer", near, searched_to=2)
    assert len(embeddings.near_pairs(db, "m", "answer", 0.0)[0]) == 1  # b = 5 is not done
    state = embeddings.begin_search(db, "m", 3, "answer", 0.9)
    assert (state["floor"], state["searched_to"]) == (0.8, 2)
    assert embeddings.near_pair_count(db, "m", "answer") == 1


def test_a_raised_floor_drops_the_less_alike_half(db, ids):
    embeddings.begin_search(db, "m", 3, "answer", 0.8)
    similarity = np.array([0.81, 0.85, 0.9, 0.99])
    near = (np.zeros(4, np.int64), np.arange(1, 5), similarity)
    embeddings.save_near_pairs(db, "m", "answer", near, searched_to=9)
    assert embeddings.raise_floor(db, "m", "answer") == 0.85
    assert embeddings.near_pairs(db, "m", "answer", 0.0)[2].tolist() == [0.85, 0.9, 0.99]
    assert embeddings.search_state(db, "answer")["floor"] == 0.85


def test_similarity_of_rows(db, ids):
    embed(db, "both")
    embeddings.add_units(db, "m", 3, "answer")
    embeddings.begin_search(db, "m", 3, "answer", 0.8)
    embeddings.save_near_pairs(
        db, "m", "answer", (np.array([0]), np.array([1]), np.array([0.87])), searched_to=2
    )
    assert embeddings.similarity_of(db, "answer", ids[0], ids[2]) == 0.87
    assert embeddings.similarity_of(db, "answer", ids[2], ids[0]) == 0.87
    assert embeddings.similarity_of(db, "answer", ids[1], ids[2]) == 1.0  # the same text
    assert embeddings.similarity_of(db, "answer", ids[0], ids[4]) is None
    assert embeddings.unembedded_count(db, "m", "answer") == 0
