"""The review service: queue, decide, undo, bulk, and what each role may do."""

from uuid import uuid4

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import Curation, Decision, DecisionKind, Message, Pair, PairStatus
from distill_studio.core.settings import Settings
from distill_studio.services import operations
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions as store
from distill_studio.store import pairs
from distill_studio.store.pairs import PairQuery


def fill(workspace: Workspace, count: int, **fields: object) -> list[Pair]:
    made = [
        Pair(
            **{
                "seed_id": f"seed-{n // 2}",
                "messages": (Message(role="user", content=f"question {n}"),),
                "answer": f"answer {n}",
                "sample": n,
                "job_id": "job",
                "teacher": "tutor",
                "topic": "maths" if n % 2 else "law",
            }
            | fields
        )
        for n in range(count)
    ]
    pairs.insert(workspace.db, made)
    return made


def decision(pair: Pair, kind: str, **fields: object) -> Decision:
    return Decision(id=str(uuid4()), pair_id=pair.id, kind=kind, **fields)


def test_the_queue_is_light_and_pages(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 5)
    fill(workspace, 1, curation=Curation.FILTERED, job_id="other")
    first = workspace.review.queue(owner, PairQuery(status="pending", curation="kept", limit=3))
    assert [r.id for r in first] == [p.id for p in made[:3]]
    assert first[0].candidates >= 2
    assert first[0].provenance == "tutor"
    rest = workspace.review.queue(
        owner, PairQuery(status="pending", curation="kept", after=first[-1].id)
    )
    assert [r.id for r in rest] == [p.id for p in made[3:]]
    assert len(workspace.review.queue(owner)) == 5  # filtered ones are not put forward
    law = workspace.review.queue(owner, PairQuery(topic="law", search="QUESTION 2"))
    assert [r.id for r in law] == [made[2].id]


def test_decide_over_the_operation(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 2)
    sent = [decision(made[0], "accept"), decision(made[1], "reject", reason="wrong")]
    batch = [d.model_dump(mode="json") for d in sent]
    batch.append({"id": "client-id-9", "pair_id": "nowhere", "kind": "accept"})
    for _ in range(2):
        told = operations.call(workspace, owner, "review_decide", {"decisions": batch})
        assert told["stored"] == [d.id for d in sent]
        assert [r["id"] for r in told["refused"]] == ["client-id-9"]
    got = workspace.review.get(owner, made[1].id)
    assert (got.status, got.reject_reason, got.decided_by) == ("rejected", "wrong", "owner")
    assert store.out_of_step(workspace.db) == []
    with pytest.raises(InvalidInput):
        operations.call(
            workspace, owner, "review_decide", {"decisions": [{**batch[0], "reason": "\ud800"}]}
        )


def test_another_users_outbox_is_not_stored(workspace: Workspace, owner: Actor) -> None:
    pair = fill(workspace, 1)[0]
    with pytest.raises(Conflict, match="ann"):
        workspace.review.decide(owner, [decision(pair, "accept")], for_user="ann")
    assert workspace.review.get(owner, pair.id).status is PairStatus.PENDING


def test_undo_last_survives_a_restart(settings: Settings, owner: Actor) -> None:
    studio = build_studio(settings)
    made = fill(studio.workspace("main"), 2)
    studio.workspace("main").review.decide(
        owner, [decision(made[0], "accept"), decision(made[1], "reject")]
    )
    studio.close()
    studio = build_studio(settings)
    review = studio.workspace("main").review
    assert [u.kind for u in review.recent(owner)] == ["reject", "accept"]
    undone = review.undo_last(owner)
    assert undone is not None
    assert undone.record is not None
    assert undone.record.id == made[1].id
    assert review.undo_last(owner) is not None
    assert review.undo_last(owner) is None
    assert review.progress(owner).pending == 2
    assert [e.kind for e in review.history(owner, made[1].id)] == ["reject", "undo"]
    studio.close()


def test_bulk_asks_for_the_number_that_was_confirmed(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 10)
    review, query = workspace.review, PairQuery(topic="law", status="pending")
    count = review.bulk_count(owner, query, DecisionKind.REJECT)
    assert count == 5
    with pytest.raises(Conflict, match="5 pairs instead of the 4"):
        review.bulk(owner, query, DecisionKind.REJECT, "bulk-0001", expected=4)
    agreed = {"bulk_id": "bulk-0001", "reason": "off topic", "expected": 5}
    done = review.bulk(owner, query, DecisionKind.REJECT, **agreed)
    again = review.bulk(owner, query, DecisionKind.REJECT, **agreed)
    assert done == again
    assert review.progress(owner).rejected == 5
    assert review.reasons(owner)[-1] == "off topic"
    last = review.undo_last(owner)
    assert last is not None
    assert (last.bulk_id, last.count) == ("bulk-0001", 5)
    assert review.progress(owner).pending == 10
    with pytest.raises(InvalidInput):
        review.bulk(owner, query, DecisionKind.EDIT, "bulk-0002")


def test_roles(workspace: Workspace) -> None:
    pair = fill(workspace, 1)[0]
    viewer = Actor(user="eve", role=Role.VIEWER)
    assert len(workspace.review.queue(viewer)) == 1
    for call in (
        lambda: workspace.review.decide(viewer, [decision(pair, "accept")]),
        lambda: workspace.review.undo_last(viewer),
        lambda: workspace.review.bulk(viewer, PairQuery(), DecisionKind.ACCEPT, "bulk-0001"),
        lambda: workspace.review.bulk_undo(viewer, "bulk-0001"),
    ):
        with pytest.raises(NotAllowed):
            call()
    with pytest.raises(NotFound):
        workspace.review.get(viewer, "nowhere")
