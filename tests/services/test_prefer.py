"""The prefer service: blind, stable comparisons, votes, repeats."""

from uuid import uuid4

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, NotAllowed
from distill_studio.core.records import Message, Pair, Vote
from distill_studio.prefer.blind import BlindTask
from distill_studio.services import operations
from distill_studio.services.prefer import REPEAT_AFTER
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs
from distill_studio.store import preferences as store
from distill_studio.store.preferences import PreferenceQuery


def fill(workspace: Workspace, seeds: int, candidates: int = 2, **fields: object) -> list[Pair]:
    made = [
        Pair(
            **{
                "seed_id": f"seed-{s:03d}",
                "messages": (Message(role="user", content=f"question {s}"),),
                "answer": f"answer {s} {c}",
                "sample": c,
                "job_id": "job",
                "teacher": f"teacher-{c}",
            }
            | fields
        )
        for s in range(seeds)
        for c in range(candidates)
    ]
    pairs.insert(workspace.db, made)
    return made


def vote(task: BlindTask, outcome: str, **fields: object) -> Vote:
    return Vote(id=str(uuid4()), task_id=task.id, outcome=outcome, **fields)


def test_comparisons_are_blind_and_stable(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 40)
    sent = operations.call(workspace, owner, "prefer_queue", {"limit": 40})
    assert sent == operations.call(workspace, owner, "prefer_queue", {"limit": 40})
    assert len(sent) == workspace.prefer.progress(owner).open == 40
    assert set(sent[0]) == {"id", "messages", "left", "right", "is_left_cut", "is_right_cut"}
    assert all(p.id not in str(sent) for p in made)
    lefts = sum(t["left"].endswith(" 0") for t in sent)
    assert 5 < lefts < 35  # both orders occur
    assert db_sides(workspace, sent)


def db_sides(workspace: Workspace, sent: list[dict[str, str]]) -> bool:
    rows = workspace.db.rows(
        "SELECT t.id, l.answer AS left_answer FROM comparison_tasks t"
        " JOIN pairs l ON l.id = t.left_pair_id"
    )
    stored = {r["id"]: r["left_answer"] for r in rows}
    return all(stored[t["id"]] == t["left"] for t in sent)


def test_the_queue_pages_on(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 25)
    first = workspace.prefer.queue(owner, limit=10)
    second = workspace.prefer.queue(owner, after=first[-1].id, limit=10)
    third = workspace.prefer.queue(owner, after=second[-1].id, limit=10)
    ids = [t.id for t in (*first, *second, *third)]
    assert len(ids) == len(set(ids)) == 25
    assert workspace.prefer.queue(owner, after=third[-1].id) == []


def test_votes_become_preferences_and_reveal(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 3)
    tasks = workspace.prefer.queue(owner)
    told = workspace.prefer.vote(
        owner, [vote(tasks[0], "right", strength=3), vote(tasks[1], "skip"), vote(tasks[2], "tie")]
    )
    assert len(told.stored) == 3
    assert {r.task_id for r in told.reveals} == {tasks[0].id, tasks[2].id}
    won = workspace.prefer.page(owner, PreferenceQuery(outcome="win"))
    chosen = pairs.get(workspace.db, [won[0].chosen_pair_id])[0]
    assert chosen.answer == tasks[0].right
    assert won[0].strength == 3
    assert workspace.prefer.queue(owner) == []
    progress = workspace.prefer.progress(owner)
    assert (progress.open, progress.voted, progress.wins, progress.candidates) == (0, 3, 1, 3)


def test_undo_brings_the_comparison_back(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 1)
    task = workspace.prefer.queue(owner)[0]
    workspace.prefer.vote(owner, [vote(task, "left")])
    undone = workspace.prefer.undo_last(owner)
    assert undone is not None
    assert undone.task == task
    assert workspace.prefer.queue(owner) == [task]
    assert workspace.prefer.count(owner, PreferenceQuery()) == 0
    assert workspace.prefer.undo_last(owner) is None


def test_each_person_has_their_own(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 2)
    ann = Actor(user="ann", role=Role.REVIEWER)
    mine, hers = workspace.prefer.queue(owner), workspace.prefer.queue(ann)
    assert not {t.id for t in mine} & {t.id for t in hers}
    told = workspace.prefer.vote(ann, [vote(mine[0], "left")])
    assert told.stored == ()
    assert "not shown to you" in told.refused[0].reason
    with pytest.raises(Conflict):
        workspace.prefer.vote(ann, [vote(hers[0], "left")], for_user="owner")
    with pytest.raises(NotAllowed):
        workspace.prefer.queue(Actor(user="eve", role=Role.VIEWER))


def test_rejected_filtered_and_equal_ones_do_not_come_up(
    workspace: Workspace, owner: Actor
) -> None:
    fill(workspace, 1, status="rejected")
    fill(workspace, 1, curation="duplicate", job_id="two")
    fill(workspace, 1, candidates=1, job_id="three")
    fill(workspace, 1, answer="Same", seed_id="twins", job_id="four")
    fill(workspace, 1, candidates=1, answer="same ", seed_id="twins", job_id="five")
    assert workspace.prefer.queue(owner) == []


def test_some_comparisons_come_back_swapped(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 40)
    shown: dict[str, BlindTask] = {}
    repeats = []
    while tasks := workspace.prefer.queue(owner, limit=10):
        for task in tasks:
            prompt = task.messages[0].content
            if prompt in shown:
                repeats.append((shown[prompt], task))
            shown.setdefault(prompt, task)
        workspace.prefer.vote(owner, [vote(task, "left") for task in tasks])
    assert len(repeats) == 2  # one in twenty
    for first, again in repeats:
        assert (first.left, first.right) == (again.right, again.left)
    steadiness = workspace.prefer.consistency(owner)
    assert steadiness.repeats == len(repeats)
    assert steadiness.same == 0  # always left is no opinion
    assert steadiness.same_side == len(repeats)
    assert steadiness.left_share == 1.0
    assert workspace.prefer.count(owner, PreferenceQuery()) == 40  # repeats make no preference
    assert store.out_of_step(workspace.db) == []
    assert REPEAT_AFTER > 0
