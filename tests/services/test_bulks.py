"""Whole lists at once: whose records they take, what they show before, undone and done again."""

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotAllowed
from distill_studio.core.records import Decision, DecisionKind, Message, Pair
from distill_studio.core.records.labelling import Assignment, LabellingSettings
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions, pairs
from distill_studio.store.pairs import PairQuery

ANN, BOB = (Actor(user=name, role=Role.REVIEWER) for name in ("ann", "bob"))
PENDING = PairQuery(status="pending", curation="kept", limit=20)
ACCEPT = DecisionKind.ACCEPT


def fill(workspace: Workspace, count: int) -> list[Pair]:
    made = [
        Pair(
            seed_id=f"seed-{n:03d}",
            messages=(Message(role="user", content=f"question {n}"),),
            answer=f"answer {n}",
            job_id="job",
        )
        for n in range(count)
    ]
    pairs.insert(workspace.db, made)
    return made


def states(workspace: Workspace) -> list[str]:
    assert decisions.out_of_step(workspace.db) == []
    return [p.status.value for p in pairs.page(workspace.db, PairQuery(limit=1000))]


def test_a_reviewers_bulk_keeps_to_their_portion_and_leaves_what_others_hold(
    workspace: Workspace, owner: Actor
) -> None:
    fill(workspace, 80)
    assigned = (
        Assignment(user="bob", share_percent=50),
        Assignment(user="ann", share_percent=100),
    )
    workspace.labelling.save(owner, LabellingSettings(assignments=assigned))
    his = workspace.review.progress(BOB).pending
    assert 20 < his < 60
    hers = {record.id for record in workspace.review.next(ANN, PENDING)}
    assert len(hers) == 20
    seen = workspace.review.bulk_preview(BOB, PENDING, ACCEPT)
    assert seen.count == workspace.review.bulk_count(BOB, PENDING, ACCEPT) < his
    assert (seen.left_out, seen.in_others_hands) == (80 - seen.count, 0)
    done = workspace.review.bulk(BOB, PENDING, ACCEPT, "bulk-0001", expected=seen.count)
    assert done.count == seen.count
    decided = {p.id for p in pairs.page(workspace.db, PairQuery(status="accepted", limit=100))}
    assert len(decided) == seen.count
    assert not decided & hers
    assert workspace.review.progress(BOB).pending == his - seen.count


def test_an_owners_bulk_takes_all_and_says_what_is_in_others_hands(
    workspace: Workspace, owner: Actor
) -> None:
    made = fill(workspace, 30)
    workspace.review.next(ANN, PENDING)
    workspace.review.next(owner, PENDING.model_copy(update={"limit": 5}))  # that is not others'
    seen = workspace.review.bulk_preview(owner, PENDING, ACCEPT)
    assert (seen.count, seen.in_others_hands, seen.left_out) == (30, 20, 0)
    assert [row.id for row in seen.first] == [p.id for p in made[:5]]
    assert (seen.first[0].prompt, seen.first[0].answer) == ("question 0", "answer 0")
    assert workspace.review.bulk(owner, PENDING, ACCEPT, "bulk-0001", expected=30).count == 30


def test_a_bulk_is_undone_and_done_again_as_one(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 40)
    review = workspace.review
    assert review.bulk(owner, PENDING, ACCEPT, "bulk-0001").count == 40
    alone = review.bulk(owner, PairQuery(), DecisionKind.REJECT, "bulk-none", reason="x")
    assert review.bulk_undo(owner, alone.bulk_id).count == 40
    one = "bulk-0001:3"  # undone by itself: not the bulk's to do again
    review.decide(
        owner, [Decision(id="undo-one", pair_id=made[2].id, kind=DecisionKind.UNDO, undoes=one)]
    )
    assert states(workspace).count("accepted") == 39
    for _ in range(2):
        assert review.bulk_undo(owner, "bulk-0001").count == 39
        assert review.bulk_undo(owner, "bulk-0001").count == 0
        assert set(states(workspace)) == {"pending"}
        assert review.bulk(owner, PENDING, ACCEPT, "bulk-0001").count == 0  # sent once more
        assert set(states(workspace)) == {"pending"}
        [next_, *_] = review.redoable(owner)
        assert (next_.bulk_id, next_.count, next_.kind) == ("bulk-0001", 39, "accept")
        assert review.bulk_redo(owner, "bulk-0001").count == 39
        assert review.bulk_redo(owner, "bulk-0001").count == 0
        assert states(workspace).count("accepted") == 39
        assert (review.recent(owner)[0].bulk_id, review.recent(owner)[0].count) == (
            "bulk-0001",
            39,
        )
    assert review.bulk_redo(BOB, "bulk-0001").count == 0  # somebody else's
    with pytest.raises(NotAllowed):
        review.bulk_redo(Actor(user="eve", role=Role.VIEWER), "bulk-0001")


def test_what_only_an_owner_may_decide_a_reviewer_does_not_do_again(
    workspace: Workspace, owner: Actor
) -> None:
    fill(workspace, 3)
    workspace.review.bulk(BOB, PENDING, ACCEPT, "bulk-0001")
    workspace.review.bulk_undo(BOB, "bulk-0001")
    workspace.labelling.save(owner, LabellingSettings(overlap=2))
    with pytest.raises(NotAllowed, match="an owner's to decide"):
        workspace.review.bulk_redo(BOB, "bulk-0001")


def test_a_new_decision_ends_what_could_be_done_again(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 3)
    workspace.review.bulk(owner, PENDING, ACCEPT, "bulk-0001")
    workspace.review.undo_last(owner)
    assert len(workspace.review.redoable(owner)) == 1
    workspace.review.decide(owner, [Decision(id="decision-1", pair_id=made[0].id, kind="reject")])
    assert workspace.review.redoable(owner) == []
