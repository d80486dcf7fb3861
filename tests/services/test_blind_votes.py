"""A vote changed after the names were shown is no blind verdict, but still a preference."""

from uuid import uuid4

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Message, Pair, Vote
from distill_studio.services.workspace import Workspace
from distill_studio.store import agreement, pairs
from distill_studio.store.preferences import PreferenceQuery

ANN = Actor(user="ann", role=Role.REVIEWER)


def fill(workspace: Workspace, seeds: int, candidates: int = 2) -> None:
    made = [
        Pair(
            seed_id=f"seed-{s:03d}",
            messages=(Message(role="user", content=f"question {s}"),),
            answer="word " * (3 + 3 * c) + f"{s}",
            sample=c,
            job_id="job",
            teacher=f"teacher-{c}",
        )
        for s in range(seeds)
        for c in range(candidates)
    ]
    pairs.insert(workspace.db, made)


def vote(workspace: Workspace, task: object, outcome: str, *ranks: int, **fields: object) -> str:
    made = Vote(id=str(uuid4()), task_id=task.id, outcome=outcome, ranks=ranks, **fields)
    assert workspace.prefer.vote(ANN, [made]).stored
    return made.id


def test_a_vote_changed_after_the_reveal_is_no_verdict(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 6)
    blind, amended, skipped, changed, undone, back = workspace.prefer.queue(ANN)
    vote(workspace, blind, "left")
    vote(workspace, amended, "left")
    vote(workspace, amended, "left", strength=3, reason="Clearer")
    vote(workspace, skipped, "skip")
    vote(workspace, skipped, "left")
    vote(workspace, changed, "left")
    vote(workspace, changed, "right")
    seen = vote(workspace, undone, "left")
    vote(workspace, undone, "undo", undoes=seen)
    vote(workspace, undone, "right")
    vote(workspace, back, "left")
    again = vote(workspace, back, "right")
    vote(workspace, back, "undo", undoes=again)  # the blind one holds again

    assert len(workspace.agreement.verdicts(ANN, "votes")) == 4
    ann = workspace.agreement.person(ANN)
    assert (ann.votes, ann.sighted, ann.skipped) == (6, 2, 0)
    assert (ann.position.share.n, ann.length.share.n) == (4, 4)
    report = workspace.agreement.ranking(ANN)
    assert (report.ranking.n, report.voters) == (4, {"ann": 4})
    assert sum(row["n"] for row in agreement.meeting_counts(workspace.db)) == 4
    assert workspace.prefer.count(ANN, PreferenceQuery(outcome="win")) == 6
    frozen = workspace.freeze.create(owner, "dpo", "preference")
    assert frozen.train_rows + frozen.validation_rows == 6


def test_a_ranking_put_in_another_order_afterwards_counts_as_changed(workspace: Workspace) -> None:
    fill(workspace, 2, candidates=3)
    first, second = workspace.prefer.rank_queue(ANN)
    vote(workspace, first, "rank", 1, 2, 3)
    vote(workspace, first, "rank", 3, 2, 1)
    vote(workspace, second, "rank", 1, 2, 3)
    assert len(workspace.agreement.verdicts(ANN, "votes")) == 3
    ann = workspace.agreement.person(ANN)
    assert (ann.rankings, ann.sighted) == (1, 1)
