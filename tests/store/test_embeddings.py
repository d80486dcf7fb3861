"""Hashes, vectors, units and near pairs in the store."""

import numpy as np
import pytest

from distill_studio.core.records import Message, Pair
from distill_studio.services.curation_work import refresh_hashes
from distill_studio.store import embeddings, migrate, pairs
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
    embeddings.save_near_pairs(db, "m", "answer", 0, near, searched_to=2)
    assert len(embeddings.near_pairs(db, "m", "answer", 0.0)[0]) == 1  # b = 5 is not done
    state = embeddings.begin_search(db, "m", 3, "answer", 0.9)
    assert (state["floor"], state["searched_to"]) == (0.8, 2)
    assert embeddings.near_pair_count(db, "m", "answer", 0) == 1


def test_a_raised_floor_drops_the_less_alike_half(db, ids):
    embeddings.begin_search(db, "m", 3, "answer", 0.8)
    similarity = np.array([0.81, 0.85, 0.9, 0.99])
    near = (np.zeros(4, np.int64), np.arange(1, 5), similarity)
    embeddings.save_near_pairs(db, "m", "answer", 0, near, searched_to=9)
    assert embeddings.raise_floor(db, "m", "answer", 0) == 0.85
    assert embeddings.near_pairs(db, "m", "answer", 0.0)[2].tolist() == [0.85, 0.9, 0.99]
    assert embeddings.search_state(db, "answer", "m")["floor"] == 0.85


def found(db, floor=0.0):
    return embeddings.near_pairs(db, "m", "answer", floor)[2].tolist()


def add(db, generation, similarity, searched_to):
    near = (np.zeros(len(similarity), np.int64), np.arange(1, len(similarity) + 1))
    arrays = (*near, np.array(similarity))
    embeddings.save_near_pairs(db, "m", "answer", generation, arrays, searched_to)


def test_a_raised_floor_is_not_asked_for_again(db, ids):
    embeddings.begin_search(db, "m", 3, "answer", 0.8)
    add(db, 0, [0.81, 0.85, 0.9, 0.99], 9)
    embeddings.raise_floor(db, "m", "answer", 0)
    state = embeddings.begin_search(db, "m", 3, "answer", 0.8)
    assert (state["generation"], state["floor"], state["searched_to"]) == (0, 0.85, 9)
    assert found(db) == [0.85, 0.9, 0.99]


def test_a_search_from_a_lower_floor_counts_from_its_end_on(db, ids):
    embeddings.begin_search(db, "m", 3, "answer", 0.8)
    add(db, 0, [0.9, 0.95], 3)
    assert embeddings.begin_search(db, "m", 3, "answer", 0.7)["generation"] == 1
    add(db, 1, [0.9, 0.7], 2)
    assert found(db) == [0.9, 0.95]
    resumed = embeddings.begin_search(db, "m", 3, "answer", 0.75)
    assert (resumed["generation"], resumed["searched_to"]) == (1, 2), "it was asked for less"
    assert embeddings.begin_search(db, "m", 3, "answer", 0.8)["generation"] == 0
    anew = embeddings.begin_search(db, "m", 3, "answer", 0.6)
    assert (anew["generation"], anew["floor"], anew["searched_to"]) == (1, 0.6, 0)
    assert embeddings.near_pair_count(db, "m", "answer", 1) == 0
    assert embeddings.search_state(db, "answer", "m")["floor"] == 0.8
    add(db, 1, [0.9, 0.6, 0.95], 4)
    embeddings.finish_search(db, "m", "answer", 1)
    assert found(db) == [0.9, 0.6, 0.95]
    assert embeddings.search_state(db, "answer", "m")["floor"] == 0.6
    assert embeddings.near_pair_count(db, "m", "answer", 0) == 0
    assert embeddings.begin_search(db, "m", 3, "answer", 0.8)["generation"] == 1


def test_a_search_whose_floor_rose_above_the_one_in_force_gives_way_to_it(db, ids):
    embeddings.begin_search(db, "m", 3, "answer", 0.8)
    add(db, 0, [0.82, 0.9], 3)
    assert embeddings.begin_search(db, "m", 3, "answer", 0.6)["generation"] == 1
    add(db, 1, [0.82, 0.9, 0.65, 0.85], 4)
    assert embeddings.raise_floor(db, "m", "answer", 1) > 0.8
    assert not embeddings.finish_search(db, "m", "answer", 1)
    assert found(db) == [0.82, 0.9]
    state = embeddings.begin_search(db, "m", 3, "answer", 0.6)
    assert (state["generation"], state["floor"], state["searched_to"]) == (0, 0.8, 3)


def test_searches_from_before_there_were_generations_go_on(tmp_path, monkeypatch):
    path = tmp_path / "former.duckdb"
    known = [one for one in migrate.migrations() if one[0] < 42]
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migrations", lambda: known)
        former = Database(path)
        with former.write() as cursor:
            cursor.execute(
                """INSERT INTO near_searches (model, field, dim, floor, searched_to, updated_at,
                recall, recall_pairs) VALUES ('m', 'answer', 3, 0.8, 4, now(), 0.99, 7)"""
            )
            cursor.execute("INSERT INTO near_pairs VALUES ('m', 'answer', 0, 1, 0.9)")
        former.close()
    db = Database(path)
    state = embeddings.search_state(db, "answer", "m")
    assert (state["floor"], state["searched_to"], state["recall"]) == (0.8, 4, 0.99)
    assert found(db) == [0.9]
    resumed = embeddings.begin_search(db, "m", 3, "answer", 0.8)
    assert (resumed["generation"], resumed["searched_to"]) == (0, 4)
    db.close()


def test_similarity_of_rows(db, ids):
    embed(db, "both")
    embeddings.add_units(db, "m", 3, "answer")
    embeddings.begin_search(db, "m", 3, "answer", 0.8)
    embeddings.save_near_pairs(
        db, "m", "answer", 0, (np.array([0]), np.array([1]), np.array([0.87])), searched_to=2
    )
    assert embeddings.similarity_of(db, "answer", "m", ids[0], ids[2]) == 0.87
    assert embeddings.similarity_of(db, "answer", "m", ids[2], ids[0]) == 0.87
    assert embeddings.similarity_of(db, "answer", "m", ids[1], ids[2]) == 1.0  # the same text
    assert embeddings.similarity_of(db, "answer", "m", ids[0], ids[4]) is None
    assert embeddings.unembedded_count(db, "m", "answer") == 0
