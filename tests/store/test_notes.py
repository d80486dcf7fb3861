"""Notes and tags follow from decisions; undo and redo as in an editor; rows beside a row."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_studio.core.records import Decision, Message, Pair
from distill_studio.store import decisions, embeddings, notes, pairs, related, undoing
from distill_studio.store.database import Database
from distill_studio.store.pairs import PairQuery


def make_pair(number: int, seed: str = "", **fields: object) -> Pair:
    return Pair(
        seed_id=seed or f"seed-{number}",
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


def decide(db: Database, number: int, pair_id: str, kind: str, user: str = "ann", **fields: object):
    made = Decision(id=f"decision-{number}", pair_id=pair_id, kind=kind, **fields)
    assert decisions.record(db, user, [made]) == [made.id]


def test_the_newest_note_of_each_person_counts(db: Database) -> None:
    pair = make_pair(1)
    pairs.insert(db, [pair])
    decide(db, 1, pair.id, "note", note="odd", tags=("maths", "check"))
    decide(db, 2, pair.id, "note", "bob", note="fine")
    decide(db, 3, pair.id, "note", note="odder", tags=("maths",))
    assert notes.of_pairs(db, "ann", [pair.id])[pair.id]["note"] == "odder"
    assert notes.of_pairs(db, "bob", [pair.id])[pair.id]["tags"] == []
    assert pairs.get(db, [pair.id])[0].status.value == "pending"
    assert notes.tags(db) == ["maths"]
    assert pairs.count(db, PairQuery(tag="maths")) == 1
    assert pairs.count(db, PairQuery(tag="check")) == 0
    decide(db, 4, pair.id, "undo", undoes="decision-3")
    assert notes.of_pairs(db, "ann", [pair.id])[pair.id]["tags"] == ["maths", "check"]
    decide(db, 5, pair.id, "note")  # an empty one takes both away
    assert notes.of_pairs(db, "ann", [pair.id]) == {}
    assert decisions.out_of_step(db) == []


class Editor:
    """Undo and redo of an editor, the slow and obvious way: two stacks."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.undone: list[tuple[str, str]] = []  # what was done, by which undo it is off now


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.sampled_from(["do", "undo", "redo"]), max_size=14))
def test_undo_and_redo_are_those_of_an_editor(tmp_path: Path, steps: list[str]) -> None:
    db = Database(Path(tmp_path) / "empty.duckdb")
    try:
        with db.write() as cursor:
            cursor.execute("DELETE FROM decisions")
            cursor.execute("DELETE FROM pairs")
        rows = [make_pair(n) for n in range(len(steps))]
        pairs.insert(db, rows)
        editor = Editor()
        for number, step in enumerate(steps):
            if step == "do":
                decide(db, number, rows[number].id, "accept")
                editor.done.append(f"decision-{number}")
                editor.undone.clear()
            elif step == "undo" and editor.done:
                target = editor.done.pop()
                pair_id = rows[int(target.split("-")[1])].id
                (last, *_) = undoing.recent(db, "ann", 1)
                assert last["id"] == target
                decide(db, number, pair_id, "undo", undoes=target)
                editor.undone.append((target, f"decision-{number}"))
            elif step == "redo" and editor.undone:
                target, undo = editor.undone.pop()
                (first, *_) = undoing.redoable(db, "ann", 5)
                assert (first["id"], first["kind"]) == (undo, "accept")
                decide(db, number, first["pair_id"], "undo", undoes=undo)
                editor.done.append(target)
            accepted = {p.id for p in pairs.page(db, PairQuery(status="accepted", limit=99))}
            assert accepted == {rows[int(name.split("-")[1])].id for name in editor.done}
            assert [r["id"] for r in undoing.redoable(db, "ann", 99)] == [
                undo for _, undo in reversed(editor.undone)
            ]
    finally:
        db.close()


def test_rows_beside_a_row(db: Database) -> None:
    rows = [make_pair(0, "one"), make_pair(1, "one"), *(make_pair(n) for n in range(2, 6))]
    pairs.insert(db, rows)
    assert not related.is_compared(db, "m")
    key = {row.id: f"hash {n}" for n, row in enumerate(rows)}
    key[rows[5].id] = key[rows[0].id]  # the same answer as the first row's
    embeddings.save_hashes(
        db,
        1,
        [
            {
                "pair_id": row.id,
                "content_key": "x",
                "prompt_hash": f"prompt {n}",
                "answer_hash": key[row.id],
                "prompt_key": f"prompt {n}",
                "answer_key": key[row.id],
            }
            for n, row in enumerate(rows)
        ],
    )
    embeddings.ensure_vectors(db, 4)
    hashes = sorted(set(key.values()))
    embeddings.save_vectors(db, "m", hashes, [1] * len(hashes), np.eye(5, 4, dtype=np.float32))
    assert embeddings.add_units(db, "m", 4, "answer") == len(hashes)
    embeddings.begin_search(db, "m", 4, "answer", 0.8)
    units = {
        r["answer_hash"]: r["number"]
        for r in db.rows("SELECT answer_hash, number FROM dedup_units")
    }
    near = [("hash 0", "hash 2", 0.95), ("hash 0", "hash 1", 0.99), ("hash 3", "hash 0", 0.85)]
    a, b = (np.array([units[pair[k]] for pair in near]) for k in (0, 1))
    similarity = np.array([pair[2] for pair in near])
    embeddings.save_near_pairs(
        db, "m", "answer", 0, (np.minimum(a, b), np.maximum(a, b), similarity), len(hashes)
    )
    assert related.is_compared(db, "m")
    assert related.candidates(db, rows[0].id, 9) == [rows[1].id]
    found = [(r["id"], round(r["similarity"], 2)) for r in related.near(db, rows[0].id, 9, "m")]
    # equal text first; row 1 answers the same seed and is a candidate, no near-duplicate
    assert found == [(rows[5].id, 1.0), (rows[2].id, 0.95), (rows[3].id, 0.85)]
    assert [r["id"] for r in related.near(db, rows[3].id, 1, "m")] == [rows[0].id]
