"""Embedding and the search for near rows: what is compared with what, how low, and going on."""

from functools import partial

import numpy as np
import pytest

from distill_studio.core import embedding_models
from distill_studio.core.errors import Cancelled
from distill_studio.core.progress import CancelToken
from distill_studio.core.records import DecisionKind
from distill_studio.services import curation_work
from distill_studio.store import embeddings
from tests.services.curate_rows import BEES, RAIN, SHIPS, WordCounts, decide, done, pair, store


def test_new_rows_are_compared_with_the_old_ones_only(workspace, curate, owner, embedder, bees):
    done(workspace, owner, curate.embed(owner))
    before = len(embedder.embedded)
    assert curate.state(owner).compared == {"both": 0, "prompt": 0}
    store(workspace, pair("How do bees make honey?", BEES + " long"))
    assert curate.state(owner).compared["both"] == 1
    done(workspace, owner, curate.embed(owner))
    assert embedder.embedded[before:] == [BEES + " long"]  # its prompt is known
    assert curate.dedup_preview(owner, threshold=0.85).removed == 3
    done(workspace, owner, curate.embed(owner))
    assert len(embedder.embedded) == before + 1


def test_a_stopped_embedding_goes_on_where_it_was(workspace, embedder, monkeypatch):
    rows = [pair(f"Question {k} of many", f"{BEES} number {k}") for k in range(12)]
    ids = store(workspace, *rows, pair("Another question", f"{BEES} number 3"))
    monkeypatch.setattr(curation_work, "_BATCH_WINDOWS", 4)
    token = CancelToken()

    def stop_after_two_batches(done, total=None, note=""):
        assert total == 25  # 13 prompts and 12 answers: equal texts are embedded once
        if done >= 8:
            token.cancel()

    with pytest.raises(Cancelled):
        curation_work.embed_texts(workspace.db, embedder, "both", stop_after_two_batches, token)
    first = list(embedder.embedded)
    assert 0 < len(first) < 25
    assert curation_work.embed_texts(workspace.db, embedder, "both") == 25 - len(first)
    assert len(embedder.embedded) == len(set(embedder.embedded)) == 25
    assert curation_work.embed_texts(workspace.db, embedder, "both") == 0
    other = WordCounts()
    other.model = "other"  # a second model neither sees nor loses the vectors of the first
    assert curation_work.embed_texts(workspace.db, other, "both") == 25
    assert curation_work.embed_texts(workspace.db, embedder, "both") == 0
    decide(workspace, ids[0], DecisionKind.EDIT, answer="Ships float")
    assert curation_work.embed_texts(workspace.db, embedder, "both") == 1
    assert len(embedder.embedded) == 26


def test_long_answers_equal_in_their_first_window_both_stay(workspace, curate, owner):
    start = " ".join(f"{BEES.split()[k % 17]}" for k in range(20))
    store(workspace, pair("same q", f"{start} {SHIPS}"), pair("same q", f"{start} {RAIN}"))
    done(workspace, owner, curate.embed(owner))
    assert curate.dedup_preview(owner, "both", 0.8).removed == 0


def test_every_threshold_agrees_with_brute_force(workspace, curate, owner):
    rng = np.random.default_rng(0)
    vocabulary = [f"w{k}x{k * k % 89}" for k in range(60)]
    texts = []
    for _ in range(60):
        words = list(rng.choice(vocabulary, 15))
        for _ in range(3):
            words[int(rng.integers(15))] = str(rng.choice(vocabulary))
            texts.append(" ".join(words))
    ids = store(workspace, *(pair(text, text) for text in texts))
    done(workspace, owner, curate.embed(owner, "answer", 0.7))
    vectors = WordCounts().embed(texts).astype(np.float64)
    for threshold in (0.7, 0.8, 0.9, 0.95, 1.0):
        kept = []
        for k in range(len(ids)):
            if all(round(float(vectors[k] @ vectors[j]), 6) < threshold for j in kept):
                kept.append(k)
        preview = curate.dedup_preview(owner, "answer", threshold, [])
        assert preview.removed == len(ids) - len(kept), threshold
    assert sum(b.count for b in preview.histogram) == preview.near_pairs > 20
    distances = [abs(p.similarity - 1.0) for p in preview.borderline]
    assert distances == sorted(distances)


def test_a_lower_floor_searches_again_and_a_higher_one_does_not(workspace, curate, owner, bees):
    half = " ".join(BEES.split()[:11] + SHIPS.split()[:6])
    store(workspace, pair("How do bees make honey?", half))
    done(workspace, owner, curate.embed(owner, "both", 0.9))
    high = curate.dedup_preview(owner)
    done(workspace, owner, curate.embed(owner, "both", 0.6))
    low = curate.dedup_preview(owner)
    done(workspace, owner, curate.embed(owner, "both", 0.95))
    same = curate.dedup_preview(owner)
    assert (high.floor, low.floor, same.floor) == (0.9, 0.6, 0.6)
    assert high.near_pairs < low.near_pairs == same.near_pairs
    assert curate.dedup_preview(owner, threshold=0.5).threshold == 0.6


def test_too_many_near_pairs_raise_the_floor(workspace, curate, owner, monkeypatch):
    monkeypatch.setattr(curation_work, "MAX_NEAR_PAIRS", 40)
    store(workspace, *(pair(f"{BEES} {k}", f"{BEES} {k} {k * 3}") for k in range(20)))
    done(workspace, owner, curate.embed(owner))
    preview = curate.dedup_preview(owner)
    assert preview.near_pairs <= 40
    assert preview.floor > 0.8
    assert preview.removed > 0


def test_after_the_floor_was_raised_only_new_rows_are_compared(
    workspace, curate, owner, monkeypatch
):
    monkeypatch.setattr(curation_work, "MAX_NEAR_PAIRS", 40)
    store(workspace, *(pair(f"{BEES} {k}", f"{BEES} {k} {k * 3}") for k in range(20)))
    done(workspace, owner, curate.embed(owner))
    before = curate.dedup_preview(owner)
    assert before.floor > 0.8
    counted = workspace.db.rows("SELECT * FROM near_pairs_in_force ORDER BY ALL")
    searched = []
    search = curation_work.NearSearch

    def watched(source, floor, known=0):
        searched.append((floor, known))
        return search(source, floor, known=known)

    monkeypatch.setattr(curation_work, "NearSearch", watched)
    store(workspace, pair("Something else entirely", SHIPS))
    done(workspace, owner, curate.embed(owner))
    assert searched[0] == (before.floor, 20)
    assert [known for _, known in searched] == [20, 20], "of both, and of prompts"
    assert workspace.db.rows("SELECT * FROM near_pairs_in_force ORDER BY ALL") == counted
    assert curate.dedup_preview(owner).removed == before.removed


def test_what_was_found_counts_until_a_search_from_a_lower_floor_has_ended(
    workspace, curate, owner, embedder, bees, monkeypatch
):
    half = " ".join(BEES.split()[:11] + SHIPS.split()[:6])
    store(workspace, pair("How do bees make honey?", half))
    done(workspace, owner, curate.embed(owner, "both", 0.85))
    before = curate.plan_report(owner, threshold=0.85)
    assert before.duplicates == 2
    save, token = embeddings.save_near_pairs, CancelToken()

    def save_and_stop(*arguments):
        save(*arguments)
        token.cancel()

    monkeypatch.setattr(embeddings, "save_near_pairs", save_and_stop)
    search = partial(curation_work.NearSearch, tile=1)  # four units at once
    monkeypatch.setattr(curation_work, "NearSearch", search)
    with pytest.raises(Cancelled):
        curation_work.find_near(workspace.db, embedder, "both", 0.6, cancel=token)
    under_way = workspace.db.rows("SELECT DISTINCT generation FROM near_pairs WHERE field = 'both'")
    assert sorted(row["generation"] for row in under_way) == [0, 1]
    assert curate.plan_report(owner, threshold=0.85) == before
    assert curate.dedup_preview(owner, threshold=0.5).threshold == 0.85
    monkeypatch.setattr(embeddings, "save_near_pairs", save)
    begun = workspace.db.value("SELECT max(searched_to) FROM near_searches WHERE generation = 1")
    assert begun == 4, "of five"
    done(workspace, owner, curate.embed(owner, "both", 0.85))  # goes on with the old one
    assert curate.dedup_preview(owner).floor == 0.85
    done(workspace, owner, curate.embed(owner, "both", 0.6))
    assert curate.dedup_preview(owner).floor == 0.6
    after = curate.plan_report(owner, threshold=0.85)
    assert after == before
    rest = workspace.db.rows("SELECT DISTINCT generation FROM near_pairs WHERE field = 'both'")
    assert [row["generation"] for row in rest] == [1]


def test_a_stopped_search_goes_on_where_it_was(workspace, curate, owner, embedder, bees):
    """What a kill leaves behind: pairs of a strip that was not finished."""
    done(workspace, owner, curate.embed(owner))
    expected = workspace.db.rows("SELECT * FROM near_pairs ORDER BY field, a, b")
    with workspace.db.write() as cursor:
        cursor.execute("UPDATE near_searches SET searched_to = 1")
    assert curate.dedup_preview(owner).near_pairs == 0, "unfinished strips do not count"
    done(workspace, owner, curate.embed(owner))
    assert workspace.db.rows("SELECT * FROM near_pairs ORDER BY field, a, b") == expected


def test_near_groups_without_vectors(workspace, curate):
    ids = store(
        workspace,
        pair("What is rain?", RAIN, seed="s"),
        pair("Something else", SHIPS, seed="s"),
        pair("what is RAIN", BEES),
        pair("What is snow?", RAIN),
    )
    groups = curate.near_groups(ids)
    assert groups == {ids[0]: ids[0], ids[1]: ids[0], ids[2]: ids[0], ids[3]: ids[3]}
    assert curate.near_groups(ids[2:]) == {ids[2]: ids[2], ids[3]: ids[3]}
    assert curate.near_groups([]) == {}


def test_near_groups_with_vectors(workspace, curate, owner):
    long = "please explain to me in simple words how it is that bees make honey in summer"
    ids = store(workspace, pair(long, BEES), pair(long + " time", SHIPS), pair("Other", RAIN))
    assert len(set(curate.near_groups(ids).values())) == 3
    assert curate.compared_count(ids) == 0
    done(workspace, owner, curate.embed(owner))
    groups = curate.near_groups(ids)
    assert groups == {ids[0]: ids[0], ids[1]: ids[0], ids[2]: ids[2]}
    late = store(workspace, pair("Late", "Nobody has compared this one."), pair("Late", BEES))
    curate.near_groups(late)  # hashed as before a snapshot
    assert [curate.compared_count(some) for some in (ids, [*ids[:2], *late], [])] == [3, 2, 0]


@pytest.mark.models
def test_the_real_model_finds_a_paraphrase(workspace, owner):
    store(
        workspace,
        pair("How do bees make honey?", BEES),
        pair("How do bees make honey", BEES.replace("store it", "keep it")),
        pair("Why do ships float?", SHIPS),
    )
    report = done(workspace, owner, workspace.curate.dedup(owner, threshold=0.9))
    assert (report["duplicates"], report["kept"]) == (1, 2)
    assert embeddings.search_state(workspace.db, "both", embedding_models.FULL)["dim"] == 384
