"""The log of applied curation and the tables of scores."""

import pyarrow as pa
import pytest

from distill_studio.core.records import Message, Pair
from distill_studio.store import curation, curation_actions, filter_scores, pairs
from distill_studio.store.curation import LimitRow
from distill_studio.store.curation_actions import TARGETS
from distill_studio.store.database import Database


@pytest.fixture
def db(tmp_path):
    db = Database(tmp_path / "studio.duckdb")
    yield db
    db.close()


@pytest.fixture
def ids(db):
    rows = [
        Pair(
            seed_id=f"s{k}", messages=(Message(role="user", content=f"q{k}"),), answer="a",
            job_id="j", topic="t",
        )
        for k in range(5)
    ]  # fmt: skip
    pairs.insert(db, rows)
    return [row.id for row in rows]


def targets(*pair_ids, reason="why", code="near"):
    rows = [(one, "duplicate", reason, code, 0.91, "other") for one in pair_ids]
    named = [dict(zip(TARGETS.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(named, schema=TARGETS)


def states(db):
    return [
        (row["curation"], row["curation_reason"])
        for row in db.rows("SELECT curation, curation_reason FROM pairs ORDER BY id")
    ]


def test_what_is_no_target_is_kept(db, ids):
    assert curation_actions.apply(db, "me", targets(ids[0], ids[1]), {}, {}) == (1, 2)
    assert curation_actions.apply(db, "me", targets(ids[1]), {}, {}) == (2, 1)
    assert [state for state, _ in states(db)] == ["kept", "duplicate"] + ["kept"] * 3


def test_undo_restores_what_was_there_before_us_too(db, ids):
    with db.write() as cursor:
        cursor.execute("UPDATE pairs SET curation = 'filtered', curation_reason = 'old'")
    before = states(db)
    curation_actions.apply(db, "me", targets(ids[2]), {"a": 1}, {"r": 2})
    undone = curation_actions.undo(db, "you")
    assert undone is not None
    assert (undone["settings"], undone["report"], undone["changed"]) == ({"a": 1}, {"r": 2}, 5)
    assert states(db) == before
    assert curation_actions.undo(db, "you") is None
    assert curation_actions.actions(db, 5)[0]["undone_by"] == "you"


def test_a_failed_apply_leaves_nothing(db, ids):
    before = states(db)
    with pytest.raises(RuntimeError, match="stop"), db.write():
        curation_actions.apply(db, "me", targets(ids[0]), {}, {})
        assert states(db) != before
        raise RuntimeError("stop")
    assert states(db) == before
    assert curation_actions.latest_action(db) is None
    assert curation_actions.last_change(db, ids[0]) is None


def test_outdated_counts_what_apply_would_change(db, ids):
    gone = targets(ids[0], ids[3])
    assert curation.outdated_count(db, gone) == 2
    curation_actions.apply(db, "me", gone, {}, {})
    assert curation.outdated_count(db, gone) == 0
    assert curation.outdated_count(db, targets(ids[0], reason="another reason")) == 2


def test_last_change_skips_what_was_undone(db, ids):
    curation_actions.apply(db, "me", targets(ids[0], reason="first"), {}, {})
    curation_actions.apply(db, "me", targets(ids[0], reason="second"), {}, {})
    assert curation_actions.last_change(db, ids[0])["reason"] == "second"
    curation_actions.undo(db, "me")
    assert curation_actions.last_change(db, ids[0])["reason"] == "first"


def test_scores_are_replaced_not_doubled(db, ids):
    for score in (1.0, 2.0):
        filter_scores.save_scores(
            db,
            "v1",
            [{"pair_id": ids[0], "content_key": "k"}],
            [{"pair_id": ids[0], "measure": "m", "score": score, "note": ""}],
        )
    assert [row["score"] for row in filter_scores.scores_of(db, ids[0])] == [2.0]
    assert db.value("SELECT count(*) FROM measured_pairs") == 1


def test_limits_are_included_and_the_first_filter_names_the_drop(db, ids):
    for k, one in enumerate(ids):
        scores = [{"pair_id": one, "measure": m, "score": float(k), "note": ""} for m in ("x", "y")]
        filter_scores.save_scores(db, "v1", [{"pair_id": one, "content_key": "k"}], scores)
    limits = [LimitRow(0, "second", "y", 1.0, 3.0), LimitRow(1, "first", "x", None, 2.0)]
    drops = curation.filter_drops(db, limits).to_pylist()
    assert [(row["pair_id"], row["kind"]) for row in drops] == [
        (ids[0], "second"),
        (ids[3], "first"),
        (ids[4], "second"),
    ]
    assert curation.filter_counts(db, limits) == {"second": 2, "first": 2}


def test_topics(db, ids):
    assert curation.topic_totals(db) == [{"topic": "t", "total": 5}]
    gone = pa.concat_tables([targets(ids[0], ids[1]), targets(ids[2], code="length")])
    assert curation.topic_counts(db, gone) == [
        {"topic": "t", "kind": "length", "count": 1},
        {"topic": "t", "kind": "near", "count": 2},
    ]
    assert curation.topic_counts(db, targets()) == []
