"""What holds after an undo is told before it, and is what then holds."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Decision, DecisionKind, Message, Pair, Vote
from distill_studio.core.records.labelling import LabellingSettings
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery

ANN, BOB, CEM = (Actor(user=name, role=Role.REVIEWER) for name in ("ann", "bob", "cem"))


def fill(workspace: Workspace, seeds: int, candidates: int = 1) -> list[Pair]:
    made = [
        Pair(
            seed_id=f"seed-{s:03d}",
            messages=(Message(role="user", content=f"question {s}"),),
            answer=f"answer {s} {c}",
            sample=c,
            job_id="job",
        )
        for s in range(seeds)
        for c in range(candidates)
    ]
    pairs.insert(workspace.db, made)
    return made


def test_an_amended_vote_is_undone_to_the_plain_one(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 1, candidates=2)
    [task] = workspace.prefer.queue(owner)
    plain = Vote(id="vote-plain", task_id=task.id, outcome="left")
    clearly = Vote(id="vote-clearly", task_id=task.id, outcome="left", strength=3, reason="Clearer")
    for vote in (plain, clearly):
        workspace.prefer.vote(owner, [vote])
    newest, oldest = workspace.prefer.recent(owner)
    assert (newest.id, oldest.id) == ("vote-clearly", "vote-plain")
    assert oldest.before is None
    assert newest.before is not None
    assert (newest.before.outcome, newest.before.strength, newest.before.reason) == (
        "left",
        None,
        "",
    )
    assert workspace.prefer.undo_last(owner) == newest
    assert [p.strength for p in workspace.prefer.page(owner, PreferenceQuery())] == [None]
    assert workspace.prefer.undo_last(owner) == oldest
    assert workspace.prefer.count(owner, PreferenceQuery()) == 0
    assert workspace.prefer.queue(owner) == [task]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("overlap", [1, 2])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob", "cem"]),
            st.sampled_from([0, 1]),
            st.sampled_from(["accept", "edit", "reject", "skip", "undo", "redo"]),
        ),
        max_size=14,
    )
)
def test_each_undo_gives_the_state_that_was_told(
    workspace: Workspace, owner: Actor, overlap: int, steps: list[tuple[str, int, str]]
) -> None:
    with workspace.db.write() as cursor:  # one file for all examples
        cursor.execute("DELETE FROM decisions; DELETE FROM pairs").fetchall()
    workspace.labelling.save(owner, LabellingSettings(overlap=overlap))
    made = fill(workspace, 2)
    people = {"ann": ANN, "bob": BOB, "cem": CEM}
    for name, place, kind in steps:
        who = people[name]
        if kind == "redo":
            for one in workspace.review.redoable(who, limit=1):
                undo = Decision(
                    id=str(uuid4()), pair_id=one.record.id, kind=DecisionKind.UNDO, undoes=one.id
                )
                workspace.review.decide(who, [undo])
        elif kind == "undo":
            workspace.review.undo_last(who)
        else:
            answer = f"edit of {name}" if kind == "edit" else None
            new = Decision(id=str(uuid4()), pair_id=made[place].id, kind=kind, answer=answer)
            workspace.review.decide(who, [new])
    for one in workspace.review.recent(ANN):
        undone = workspace.review.undo_last(ANN)
        assert undone is not None
        assert undone.id == one.id
        pair = workspace.review.get(ANN, one.record.id)
        told = one.after.model_dump()
        assert {name: getattr(pair, name) for name in told} == told
    assert workspace.review.recent(ANN) == []


def test_the_state_told_for_an_older_decision_is_not_simply_pending(
    workspace: Workspace, owner: Actor
) -> None:
    [pair] = fill(workspace, 1)
    for kind in ("reject", "accept"):
        reason = "off topic" if kind == "reject" else ""
        made = Decision(id=f"decision-{kind}", pair_id=pair.id, kind=kind, reason=reason)
        workspace.review.decide(owner, [made])
    newest, oldest = workspace.review.recent(owner)
    assert (newest.after.status, newest.after.reject_reason) == ("rejected", "off topic")
    assert oldest.after.status == "pending"
    assert workspace.review.count(owner, PairQuery(status="accepted")) == 1
