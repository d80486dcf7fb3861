"""What rankings say of the person who made them: their couples are one opinion, not many."""

from itertools import combinations, pairwise
from uuid import uuid4

import numpy as np

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Message, Pair, Vote
from distill_studio.services.agreement_people import People
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs
from distill_studio.store import preferences as store

ANN = Actor(user="ann", role=Role.REVIEWER)


def people(votes: list[dict]) -> People:
    """Somebody of whom nothing but votes is known."""
    nothing: dict[str, list] = {
        name: [] for name in ("decisions", "counts", "sides", "paces", "repeats", "judged")
    }
    return People(votes=votes, **nothing)


def ranked_at_random(rng: np.random.Generator, prompt: str, answers: int) -> list[dict]:
    """The couples of one ranking by somebody who does not look at the length."""
    words, ranks = 10 + 10 * rng.permutation(answers), rng.permutation(answers)
    return [
        {
            "rater": "ann",
            "left_id": f"{prompt}-{a}",
            "right_id": f"{prompt}-{b}",
            "cluster": prompt,
            "outcome": "left" if ranks[a] < ranks[b] else "right",
            "topic": "",
            "left_words": int(words[a]),
            "right_words": int(words[b]),
        }
        for a, b in combinations(range(answers), 2)
    ]


def test_who_does_not_lean_is_seldom_said_to() -> None:
    """Ten rankings of six: as if 150 independent votes, one in seven would be warned."""
    rng, rounds = np.random.default_rng(7), 200
    warned = 0
    for _ in range(rounds):
        votes = [row for n in range(10) for row in ranked_at_random(rng, f"p{n}", 6)]
        found = people(votes).stats("ann").length
        warned += bool(found.warning)
        assert found.share.n == len(votes)
    assert warned <= 0.08 * rounds, warned


def test_who_leans_is_told_so() -> None:
    rng = np.random.default_rng(8)
    votes = [row for n in range(10) for row in ranked_at_random(rng, f"p{n}", 6)]
    for row in votes:
        row["outcome"] = "left" if row["left_words"] > row["right_words"] else "right"
    assert "longer" in people(votes).stats("ann").length.warning
    few = [row for row in votes if row["cluster"] == "p0"]  # 15 couples, but one opinion
    assert people(few).stats("ann").length.warning == ""


def rank_twice(workspace: Workspace, prompts: int) -> None:
    """Ann ranks six answers to each prompt, and the same once more the other way round."""
    made = [
        Pair(
            seed_id=f"seed-{n}",
            messages=(Message(role="user", content=f"question {n}"),),
            answer=f"answer {n} {c}",
            sample=c,
            job_id="job",
        )
        for n in range(prompts)
        for c in range(6)
    ]
    pairs.insert(workspace.db, made)
    for n in range(prompts):
        ids = [p.id for p in made[6 * n : 6 * n + 6]]
        for name, order, repeats in (("once", ids, ""), ("twice", ids[::-1], f"task-once-{n}")):
            task = {
                "id": f"task-{name}-{n}",
                "seed_id": f"seed-{n}",
                "left_pair_id": order[0],
                "right_pair_id": order[1],
                "user_name": "ann",
                "pair_ids": order,
                "repeats": repeats,
            }
            store.add_tasks(workspace.db, [task])
            vote = Vote(
                id=str(uuid4()), task_id=task["id"], outcome="rank", ranks=(1, 2, 3, 4, 5, 6)
            )  # by the place on the screen: the second time everything is the other way round
            assert workspace.prefer.vote(ANN, [vote]).stored


def test_one_repeated_ranking_is_one_repeat(workspace: Workspace) -> None:
    rank_twice(workspace, 1)
    found = workspace.agreement.person(ANN)
    assert (found.repeats.repeats, found.repeats.same, found.repeats.tasks) == (15, 0, 1)
    assert workspace.prefer.consistency(ANN).tasks == 1
    assert (found.same.value, found.same.low, found.same.high) == (0.0, None, None)
    assert found.warnings == ()


def test_three_repeated_rankings_tell_who_is_unsteady(workspace: Workspace) -> None:
    rank_twice(workspace, 3)
    found = workspace.agreement.person(ANN)
    assert found.repeats.tasks == 3
    assert any("same way" in text for text in found.warnings)
    widths = [  # each further ranking says more, but never as much as fifteen votes
        people_same(n) for n in (3, 6, 12)
    ]
    assert all(wide > narrow for wide, narrow in pairwise(widths))


def people_same(prompts: int) -> float:
    """Upper end of the interval when `prompts` repeated rankings were all turned round."""
    rows = [
        {"rater": "ann", "first": "left", "again": "left", "cluster": f"p{n}", "task": f"t{n}"}
        for n in range(prompts)
        for _ in range(15)
    ]
    nothing: dict[str, list] = {
        name: [] for name in ("decisions", "counts", "sides", "paces", "votes", "judged")
    }
    high = People(repeats=rows, **nothing).stats("ann").same.high
    assert high is not None
    return high
