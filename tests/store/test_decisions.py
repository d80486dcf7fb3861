"""Decisions: stored once, refused per item, and `pairs` always says what the decisions say."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_studio.core.records import (
    Curation,
    Decision,
    DecisionKind,
    Message,
    Pair,
    PairStatus,
)
from distill_studio.store import decisions, pairs, standing, undoing
from distill_studio.store.database import Database
from distill_studio.store.pairs import PairQuery

USERS = ("ann", "bob", "cem")


def make_pair(number: int, **fields: object) -> Pair:
    return Pair(
        seed_id=f"seed-{number}",
        messages=(Message(role="user", content=f"question {number}"),),
        answer=f"answer {number}",
        sample=number,
        job_id="job",
        **fields,
    )


@pytest.fixture
def db(tmp_path: Path):
    database = Database(tmp_path / "studio.duckdb")
    yield database
    database.close()


@pytest.fixture
def three(db: Database) -> list[str]:
    found = [make_pair(n) for n in range(3)]
    pairs.insert(db, found)
    return [p.id for p in found]


def make(number: int, pair_id: str, kind: str, **fields: object) -> Decision:
    return Decision(id=f"decision-{number}", pair_id=pair_id, kind=kind, **fields)


def state(db: Database, pair_id: str) -> tuple[PairStatus, str | None, str, str]:
    pair = pairs.get(db, [pair_id])[0]
    return pair.status, pair.edited_answer, pair.reject_reason, pair.decided_by


def test_each_kind_sets_the_state(db: Database, three: list[str]) -> None:
    a, b, c = three
    stored = decisions.record(
        db,
        "ann",
        [
            make(1, a, "accept"),
            make(2, b, "reject", reason="wrong"),
            make(3, c, "edit", answer="better"),
        ],
    )
    assert stored == ["decision-1", "decision-2", "decision-3"]
    assert state(db, a) == (PairStatus.ACCEPTED, None, "", "ann")
    assert state(db, b) == (PairStatus.REJECTED, None, "wrong", "ann")
    assert state(db, c) == (PairStatus.ACCEPTED, "better", "", "ann")


def test_a_skip_changes_nothing(db: Database, three: list[str]) -> None:
    decisions.record(db, "ann", [make(1, three[0], "accept"), make(2, three[0], "skip")])
    assert state(db, three[0]) == (PairStatus.ACCEPTED, None, "", "ann")


def test_sending_twice_stores_once(db: Database, three: list[str]) -> None:
    first = make(1, three[0], "accept")
    assert decisions.record(db, "ann", [first, first]) == ["decision-1", "decision-1"]
    again = make(1, three[0], "reject")  # same id, other content: the first one stays
    assert decisions.record(db, "ann", [again]) == ["decision-1"]
    assert db.value("SELECT count(*) FROM decisions") == 1
    assert state(db, three[0])[0] is PairStatus.ACCEPTED


def test_two_users_may_use_the_same_id(db: Database, three: list[str]) -> None:
    decisions.record(db, "ann", [make(1, three[0], "accept")])
    decisions.record(db, "bob", [make(1, three[0], "reject")])
    assert db.value("SELECT count(*) FROM decisions") == 2
    assert state(db, three[0])[0] is PairStatus.REJECTED


def test_bad_ones_are_refused_alone(db: Database, three: list[str]) -> None:
    decisions.record(db, "bob", [make(9, three[0], "accept")])
    batch = [
        make(1, "no-such-pair", "accept"),
        make(2, three[1], "accept"),
        make(3, three[2], "edit", answer="  "),
        make(4, three[0], "undo", undoes="decision-9"),  # bob's
        make(5, three[0], "undo", undoes="decision-2"),  # names another pair
    ]
    stored, refused = decisions.settle(db, "ann", batch)
    assert stored == ["decision-2"]
    assert set(refused) == {f"decision-{n}" for n in (1, 3, 4, 5)}
    assert decisions.record(db, "ann", batch) == ["decision-2"]
    assert decisions.out_of_step(db) == []


def test_an_undo_lays_the_earlier_decision_bare(db: Database, three: list[str]) -> None:
    pair_id = three[0]
    decisions.record(db, "ann", [make(1, pair_id, "reject", reason="bad")])
    decisions.record(db, "bob", [make(2, pair_id, "edit", answer="mine")])
    decisions.record(db, "bob", [make(3, pair_id, "undo", undoes="decision-2")])
    assert state(db, pair_id) == (PairStatus.REJECTED, None, "bad", "ann")
    decisions.record(db, "bob", [make(4, pair_id, "undo", undoes="decision-3")])
    assert state(db, pair_id) == (PairStatus.ACCEPTED, "mine", "", "bob")


def test_undo_in_the_batch_of_its_decision(db: Database, three: list[str]) -> None:
    batch = [
        make(1, three[0], "accept"),
        make(2, three[0], "undo", undoes="decision-1"),
        make(3, three[0], "reject"),
    ]
    assert len(decisions.record(db, "ann", batch)) == 3
    assert state(db, three[0])[0] is PairStatus.REJECTED


def test_a_wild_clock_is_not_believed(db: Database, three: list[str]) -> None:
    decisions.record(
        db, "ann", [make(1, three[0], "accept", made_at=datetime(2999, 1, 1, tzinfo=UTC))]
    )
    decided_at = pairs.get(db, [three[0]])[0].decided_at
    assert decided_at is not None
    assert abs((datetime.now(UTC) - decided_at).total_seconds()) < 60


def test_bulk_decides_a_list_and_undoes_as_one(db: Database) -> None:
    made = [make_pair(n, topic="a" if n < 30 else "b") for n in range(40)]
    pairs.insert(db, made)
    decisions.record(db, "bob", [make(1, made[0].id, "edit", answer="kept")])
    query = PairQuery(topic="a", limit=1)  # the page does not matter
    assert decisions.bulk_count(db, query, DecisionKind.ACCEPT) == 29
    assert decisions.record_bulk(db, "ann", "bulk-001", query, DecisionKind.ACCEPT, "") == 29
    assert decisions.record_bulk(db, "ann", "bulk-001", query, DecisionKind.ACCEPT, "") == 29
    assert pairs.counts(db)["accepted"] == 30
    assert state(db, made[0].id) == (PairStatus.ACCEPTED, "kept", "", "bob")
    assert undoing.recent(db, "ann", 5)[0]["count"] == 29
    assert decisions.undo_bulk(db, "ann", "bulk-001") == 29
    assert decisions.undo_bulk(db, "ann", "bulk-001") == 0
    assert pairs.counts(db)["accepted"] == 1
    assert undoing.recent(db, "ann", 5) == []
    assert decisions.out_of_step(db) == []


def test_bulk_undo_leaves_later_decisions(db: Database, three: list[str]) -> None:
    decisions.record_bulk(db, "ann", "bulk-001", PairQuery(), DecisionKind.REJECT, "all bad")
    decisions.record(db, "ann", [make(1, three[0], "accept")])
    decisions.undo_bulk(db, "ann", "bulk-001")
    assert [state(db, i)[0] for i in three] == ["accepted", "pending", "pending"]


def test_ten_thousand_in_one_batch(db: Database) -> None:
    made = [make_pair(n) for n in range(10_000)]
    pairs.insert(db, made)
    batch = [make(n, p.id, "reject" if n % 2 else "accept") for n, p in enumerate(made)]
    assert len(decisions.record(db, "ann", batch)) == 10_000
    assert pairs.counts(db)["rejected"] == 5_000
    assert decisions.out_of_step(db) == []


def test_rebuild_mends_what_is_out_of_step(db: Database, three: list[str]) -> None:
    decisions.record(db, "ann", [make(1, three[0], "accept")])
    with db.write() as cursor:
        cursor.execute("UPDATE pairs SET status = 'rejected'").fetchall()
    assert decisions.out_of_step(db) == three
    assert decisions.rebuild(db) == 3
    assert [state(db, i)[0] for i in three] == ["accepted", "pending", "pending"]


def test_counts_and_history(db: Database, three: list[str]) -> None:
    pairs.insert(db, [make_pair(7, curation=Curation.FILTERED)])
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    decisions.record(db, "ann", [make(1, three[0], "accept", made_at=long_ago)])
    decisions.record(db, "ann", [make(2, three[1], "edit", answer="x")])
    counted = decisions.counts(db, "ann", datetime(2021, 1, 1, tzinfo=UTC))
    assert counted == {
        "accepted": 1,
        "edited": 1,
        "rejected": 0,
        "pending": 1,
        "set_aside": 1,
        "mine": 2,
        "mine_today": 1,
    }
    decisions.record(db, "ann", [make(3, three[0], "undo", undoes="decision-1")])
    told = decisions.history(db, three[0])
    assert [(row["kind"], row["is_taken_back"]) for row in told] == [
        ("accept", True),
        ("undo", False),
    ]


steps = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.integers(0, 2),
        st.sampled_from(["accept", "edit", "reject", "skip", "undo", "again"]),
        st.integers(0, 10),
    ),
    max_size=25,
)


class Model:
    """What should hold, computed the slow and plain way from the list of decisions."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Decision]] = []

    def is_in_force(self, user: str, decision: Decision) -> bool:
        """By the newest undo in the tree of undos above it: odd depth takes back, even revives."""
        depth = {decision.id: 0}
        newest = 0
        for who, other in self.log:
            if who == user and other.kind is DecisionKind.UNDO and other.undoes in depth:
                depth[other.id] = newest = depth[other.undoes] + 1
        return newest % 2 == 0

    def state(self, pair_id: str) -> tuple[str, str | None, str, str]:
        now: tuple[str, str | None, str, str] = ("pending", None, "", "")
        for user, d in self.log:
            if d.pair_id != pair_id or d.kind in (DecisionKind.SKIP, DecisionKind.UNDO):
                continue
            if self.is_in_force(user, d):
                status = "rejected" if d.kind is DecisionKind.REJECT else "accepted"
                edit = d.answer if d.kind is DecisionKind.EDIT else None
                now = (status, edit, d.reason if status == "rejected" else "", user)
        return now


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("few", [0, standing.FEW])
@given(steps=steps)
def test_any_sequence_keeps_pairs_in_step(
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
    steps: list[tuple[str, int, str, int]],
) -> None:
    """By one statement, and pair by pair."""
    monkeypatch.setattr(standing, "FEW", few)
    with db.write() as cursor:  # one file for all examples
        cursor.execute("DELETE FROM decisions; DELETE FROM pairs").fetchall()
    made = [make_pair(n) for n in range(3)]
    pairs.insert(db, made)
    model = Model()
    for number, (user, which, kind, back) in enumerate(steps):
        decision = _step(model, number, user, made[which].id, kind, back)
        if decision is None:
            continue
        assert decisions.record(db, user, [decision]) == [decision.id]
        if not any(u == user and d.id == decision.id for u, d in model.log):
            model.log.append((user, decision))
    for pair in made:
        assert state(db, pair.id) == model.state(pair.id)
    assert decisions.out_of_step(db) == []


def _step(
    model: Model, number: int, user: str, pair_id: str, kind: str, back: int
) -> Decision | None:
    own = [d for u, d in model.log if u == user]
    if kind in ("undo", "again"):
        if not own:
            return None
        target = own[-1 - back % len(own)]
        if kind == "again":
            return target
        return make(number, target.pair_id, "undo", undoes=target.id)
    return make(
        number,
        pair_id,
        kind,
        answer=f"edit {number}" if kind == "edit" else None,
        reason=f"reason {number}" if kind == "reject" else "",
    )
