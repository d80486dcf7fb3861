"""Votes: stored once, and `preferences` always says what the votes in force say."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_studio.core.records import Message, Outcome, Pair, Preference, Vote
from distill_studio.core.records.labelling import Portion
from distill_studio.store import comparisons, pairs
from distill_studio.store import preferences as store
from distill_studio.store.database import Database
from distill_studio.store.preferences import PreferenceQuery

EVERYTHING = PreferenceQuery(limit=1000)
ANN = Portion(user="ann")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_pair(seed: int, sample: int, **fields: object) -> Pair:
    return Pair(
        seed_id=f"seed-{seed}",
        messages=(Message(role="user", content=f"question {seed}"),),
        answer=f"answer {seed} {sample}",
        sample=sample,
        job_id="job",
        **fields,
    )


def make_tasks(db: Database, user: str, seeds: int) -> list[tuple[str, Pair, Pair]]:
    made = []
    for n in range(seeds):
        left, right = make_pair(n, 0), make_pair(n, 1)
        pairs.insert(db, [left, right])
        made.append((f"task-{user}-{n}", left, right))
    store.add_tasks(
        db,
        [
            {
                "id": task,
                "seed_id": left.seed_id,
                "left_pair_id": left.id,
                "right_pair_id": right.id,
                "user_name": user,
            }
            for task, left, right in made
        ],
    )
    return made


@pytest.fixture
def db(tmp_path: Path):
    database = Database(tmp_path / "studio.duckdb")
    yield database
    database.close()


def vote(number: int, task: str, outcome: str, **fields: object) -> Vote:
    return Vote(id=f"vote-{number:04d}", task_id=task, outcome=outcome, **fields)


def test_each_outcome_makes_the_right_row(db: Database) -> None:
    made = make_tasks(db, "ann", 5)
    outcomes = ["left", "right", "tie", "both_bad", "skip"]
    votes = [vote(n, made[n][0], outcome, strength=2) for n, outcome in enumerate(outcomes)]
    assert store.record_votes(db, "ann", votes) == [v.id for v in votes]
    rows = {p.vote_id: p for p in store.page(db, EVERYTHING)}
    assert {k: p.outcome for k, p in rows.items()} == {
        "vote-0000": "win",
        "vote-0001": "win",
        "vote-0002": "tie",
        "vote-0003": "both_bad",
    }
    assert (rows["vote-0000"].chosen_pair_id, rows["vote-0000"].rejected_pair_id) == (
        made[0][1].id,
        made[0][2].id,
    )
    assert rows["vote-0001"].chosen_pair_id == made[1][2].id
    assert {(p.user, p.source, p.strength) for p in rows.values()} == {("ann", "person", 2)}
    assert store.counts(db) == {"total": 4, "win": 2, "tie": 1, "both_bad": 1, "usable": 2}


def test_sending_twice_stores_once(db: Database) -> None:
    task = make_tasks(db, "ann", 1)[0][0]
    first = vote(1, task, "left")
    assert store.record_votes(db, "ann", [first, first]) == [first.id] * 2
    assert store.record_votes(db, "ann", [vote(1, task, "right")]) == [first.id]
    assert db.value("SELECT count(*) FROM votes") == 1
    assert store.count(db, EVERYTHING) == 1


def test_undo_removes_and_a_new_vote_replaces(db: Database) -> None:
    task, left, right = make_tasks(db, "ann", 1)[0]
    store.record_votes(db, "ann", [vote(1, task, "left")])
    store.record_votes(db, "ann", [vote(2, task, "undo", undoes="vote-0001")])
    assert store.page(db, EVERYTHING) == []
    assert [t["id"] for t in comparisons.open_tasks(db, "ann", 10)] == [task]
    store.record_votes(db, "ann", [vote(3, task, "left"), vote(4, task, "right")])
    rows = store.page(db, EVERYTHING)
    assert [(p.chosen_pair_id, p.vote_id) for p in rows] == [(right.id, "vote-0004")]
    store.record_votes(db, "ann", [vote(5, task, "undo", undoes="vote-0004")])
    assert [p.chosen_pair_id for p in store.page(db, EVERYTHING)] == [left.id]


def test_strangers_tasks_and_undos_are_refused(db: Database) -> None:
    task = make_tasks(db, "ann", 1)[0][0]
    store.record_votes(db, "ann", [vote(1, task, "left")])
    batch = [
        vote(2, task, "left"),
        vote(3, "no-such-task", "left"),
        vote(4, task, "undo", undoes="vote-0001"),
    ]
    stored, refused = store.settle_votes(db, "bob", batch)
    assert stored == store.record_votes(db, "bob", batch) == []
    assert set(refused) == {v.id for v in batch}
    assert store.count(db, EVERYTHING) == 1


def test_source_comes_from_the_task(db: Database) -> None:
    left, right = make_pair(1, 0), make_pair(1, 1)
    pairs.insert(db, [left, right])
    row = {"seed_id": "seed-1", "left_pair_id": left.id, "right_pair_id": right.id}
    store.add_tasks(db, [{"id": "arena-1", **row, "user_name": "ann", "source": "arena"}])
    store.record_votes(db, "ann", [vote(1, "arena-1", "left")])
    assert [p.source for p in store.page(db, PreferenceQuery(source="arena"))] == ["arena"]
    assert comparisons.open_tasks(db, "ann", 10) == []


def test_insert_keeps_what_is_there(db: Database) -> None:
    one = Preference(seed_id="s", chosen_pair_id="a", rejected_pair_id="b", source="judge")
    assert store.insert(db, [one, one]) == 1
    assert store.insert(db, [one]) == 0
    assert store.page(db, PreferenceQuery(source="judge")) == [one]


def test_only_comparable_candidates_come_up(db: Database) -> None:
    same = {"job_id": "job"}
    older, newer = make_pair(2, 0), make_pair(2, 1, status="rejected")
    pairs.insert(
        db,
        [
            make_pair(1, 0),
            make_pair(1, 1),
            newer,
            older,
            make_pair(3, 0),
            make_pair(3, 1, curation="duplicate"),
            make_pair(4, 0),
        ],
    )
    twin = make_pair(4, 1).model_copy(update={"answer": "answer 4 0", **same})
    pairs.insert(db, [twin])
    found = list(comparisons.free_candidates(db, ANN, NOW, 10))
    assert [{p.seed_id for p in some} for some in found] == [{"seed-1"}]
    assert comparisons.seed_counts(db, ANN, NOW) == {"all": 1, "open": 1}
    places = comparisons.candidate_places(db, ["seed-2", "seed-9"])
    assert places == {older.id: (1, 2), newer.id: (2, 2)}  # by age, of any status


def test_a_rejected_side_takes_its_task_away(db: Database) -> None:
    _, left, _ = make_tasks(db, "ann", 1)[0]
    assert len(comparisons.open_tasks(db, "ann", 10)) == 1
    with db.write() as cursor:
        cursor.execute("UPDATE pairs SET status = 'rejected' WHERE id = ?", [left.id]).fetchall()
    assert comparisons.open_tasks(db, "ann", 10) == []


steps = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["left", "right", "tie", "both_bad", "skip", "undo", "again"]),
        st.integers(0, 10),
    ),
    max_size=20,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
def test_any_sequence_keeps_preferences_in_step(
    db: Database, steps: list[tuple[int, str, int]]
) -> None:
    with db.write() as cursor:  # one file for all examples
        for table in ("votes", "preferences", "comparison_tasks", "pairs"):
            cursor.execute(f"DELETE FROM {table}").fetchall()
    tasks = make_tasks(db, "ann", 3)
    sent: list[Vote] = []
    for number, (which, kind, back) in enumerate(steps):
        if kind in ("undo", "again"):
            if not sent:
                continue
            target = sent[-1 - back % len(sent)]
            made = target
            if kind == "undo":
                made = vote(number, target.task_id, "undo", undoes=target.id)
        else:
            made = vote(number, tasks[which][0], kind)
        assert store.record_votes(db, "ann", [made]) == [made.id]
        if made not in sent:
            sent.append(made)
    assert store.out_of_step(db) == []
    assert store.count(db, EVERYTHING) <= 3
    counted = store.vote_counts(db, "ann", datetime(2000, 1, 1, tzinfo=UTC))
    assert counted["total"] == counted["today"] <= 3
    assert all(r["outcome"] != Outcome.UNDO for r in store.recent_votes(db, "ann", 50))
