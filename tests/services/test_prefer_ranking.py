"""Rankings: one act of three or more answers is worth every two of them, everywhere, once."""

import random
from itertools import combinations
from uuid import uuid4

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Message, Pair, Vote
from distill_studio.core.records.labelling import LabellingSettings
from distill_studio.prefer.blind import BlindTask
from distill_studio.prefer.ranking import RankTask
from distill_studio.services import operations
from distill_studio.services.workspace import Workspace
from distill_studio.store import agreement, pairs
from distill_studio.store import preferences as store
from distill_studio.store.preferences import PreferenceQuery

ANN, BOB = (Actor(user=name, role=Role.REVIEWER) for name in ("ann", "bob"))
EVERYTHING = PreferenceQuery(limit=1000)


def fill(workspace: Workspace, seeds: int, candidates: int, **fields: object) -> list[Pair]:
    made = [
        Pair(
            **{
                "seed_id": f"seed-{s:03d}",
                "messages": (Message(role="user", content=f"question {s}"),),
                "answer": f"answer {s} {'word ' * c}{c}",
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


def vote(task: BlindTask | RankTask, outcome: str, *ranks: int, **fields: object) -> Vote:
    return Vote(id=str(uuid4()), task_id=task.id, outcome=outcome, ranks=ranks, **fields)


def by_length(task: RankTask) -> Vote:
    """The longest answer first."""
    lengths = sorted({len(a.text) for a in task.answers}, reverse=True)
    return vote(task, "rank", *(lengths.index(len(a.text)) + 1 for a in task.answers))


def said(workspace: Workspace, user: str = "") -> list[tuple[str, str, str]]:
    """(better answer, other answer, outcome) of the stored preferences; ties in order of text."""
    found = store.page(workspace.db, EVERYTHING)
    texts = {p.id: p.answer for p in pairs.page(workspace.db, pairs.PairQuery(limit=1000))}
    rows = []
    for p in found:
        if user in ("", p.user):
            both = [texts[p.chosen_pair_id], texts[p.rejected_pair_id]]
            rows.append((*(both if p.outcome == "win" else sorted(both)), p.outcome))
    return sorted(rows)


def test_rankings_are_blind_stable_and_in_an_order_drawn_by_lot(
    workspace: Workspace, owner: Actor
) -> None:
    made = fill(workspace, 30, 4)
    sent = operations.call(workspace, owner, "prefer_rank_queue", {"limit": 30})
    assert sent == operations.call(workspace, owner, "prefer_rank_queue", {"limit": 30})
    assert len(sent) == 30
    assert set(sent[0]) == {"id", "messages", "answers"}
    assert set(sent[0]["answers"][0]) == {"text", "is_cut"}
    assert all(p.id not in str(sent) and str(p.teacher) not in str(sent) for p in made)
    assert len({tuple(a["text"].split()[-1] for a in t["answers"]) for t in sent}) > 5
    stored = {
        row["id"]: row["pair_ids"]
        for row in workspace.db.rows("SELECT id, pair_ids FROM comparison_tasks")
    }
    texts = {p.id: p.answer for p in made}
    for task in sent:  # the order shown is the order recorded
        assert [texts[i] for i in stored[task["id"]]] == [a["text"] for a in task["answers"]]
    assert workspace.prefer.progress(owner).rankings == 30


def test_a_ranking_says_every_two_of_its_answers_once(workspace: Workspace, owner: Actor) -> None:
    """In the preferences, the agreement, the ranking of models and the rows for training."""
    fill(workspace, 1, 4)
    task = workspace.prefer.rank_queue(owner)[0]
    texts = [a.text for a in task.answers]
    result = workspace.prefer.vote(owner, [vote(task, "rank", 2, 1, 2, 3)])
    assert [a.teacher for a in result.ranked[0].answers] == [f"teacher-{t[-1]}" for t in texts]
    assert result.reveals == ()
    expected = sorted(
        [(texts[1], texts[n], "win") for n in (0, 2, 3)]
        + [(texts[n], texts[3], "win") for n in (0, 2)]
        + [(*sorted((texts[0], texts[2])), "tie")]
    )
    assert said(workspace) == expected
    assert store.out_of_step(workspace.db) == []
    assert len(workspace.agreement.verdicts(owner, "votes")) == 6
    ranking = workspace.agreement.ranking(owner)
    assert (ranking.ranking.n, ranking.ranking.prompts) == (6, 1)
    wins = {row.model: (row.wins, row.ties) for row in ranking.rates if not row.against}
    who = [f"teacher-{text[-1]}" for text in texts]
    assert wins == {who[0]: (1, 1), who[1]: (3, 0), who[2]: (1, 1), who[3]: (0, 0)}
    meetings = [(m["first"], m["second"]) for m in agreement.meetings(workspace.db, ["person"])]
    assert len(meetings) == len({frozenset(both) for both in meetings}) == 6
    workspace.freeze.create(owner, "dpo", "preference")
    rows = workspace.freeze.rows(owner, "dpo")
    trained = [(r["chosen"][0]["content"], r["rejected"][0]["content"], "win") for r in rows]
    assert sorted(trained) == [row for row in expected if row[2] == "win"]
    progress = workspace.prefer.progress(owner)
    assert (progress.voted, progress.preferences, progress.wins) == (1, 6, 5)
    assert (progress.rankings, progress.open) == (0, 0)
    me = workspace.agreement.person(owner, owner.user)
    assert (me.rankings, me.votes, me.repeats.wins) == (1, 0, 0)


def test_an_act_is_stored_once_and_taken_back_as_one(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 1, 3)
    task = workspace.prefer.rank_queue(owner)[0]
    first = vote(task, "rank", 1, 2, 3, reason="Clearer")
    for _ in range(2):
        assert workspace.prefer.vote(owner, [first, first]).stored == (first.id, first.id)
    assert workspace.db.value("SELECT count(*) FROM votes") == 1
    before = said(workspace)
    assert len(before) == 3
    again = vote(task, "rank", 3, 2, 1)
    workspace.prefer.vote(owner, [again])
    assert {(a, b) for a, b, _ in said(workspace)} == {(b, a) for a, b, _ in before}
    undone = workspace.prefer.undo_last(owner)
    assert undone is not None
    assert (undone.task, undone.ranks) == (task, (3, 2, 1))
    assert said(workspace) == before
    assert workspace.prefer.undo_last(owner).ranks == (1, 2, 3)
    assert said(workspace) == []
    assert workspace.prefer.rank_queue(owner) == [task]
    last = workspace.db.value("SELECT id FROM votes ORDER BY seq DESC LIMIT 1")
    workspace.prefer.vote(owner, [vote(task, "undo", undoes=last)])  # and there it is again
    assert said(workspace) == before
    workspace.prefer.vote(owner, [vote(task, "both_bad")])
    assert [outcome for *_, outcome in said(workspace)] == ["both_bad"] * 3
    workspace.prefer.vote(owner, [vote(task, "skip")])
    assert said(workspace) == []
    assert store.out_of_step(workspace.db) == []


def test_what_does_not_fit_is_refused_and_says_why(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 1, 3)
    fill(workspace, 1, 2, seed_id="two", job_id="two")
    ranking, couple = workspace.prefer.rank_queue(owner)[0], workspace.prefer.queue(owner)
    two = next(t for t in couple if t.messages[0].content == "question 0")
    sent = [
        vote(ranking, "rank", 1, 2),
        vote(ranking, "left"),
        vote(ranking, "tie"),
        vote(two, "rank", 1, 2),
    ]
    refused = {r.id: r.reason for r in workspace.prefer.vote(owner, sent).refused}
    assert set(refused) == {v.id for v in sent}
    assert "3 answers are ranked here, and 2 ranks were sent" in refused[sent[0].id]
    assert workspace.prefer.vote(ANN, [vote(ranking, "rank", 1, 2, 3)]).stored == ()
    for bad in (
        {"outcome": "rank"},
        {"outcome": "left", "ranks": [1, 2]},
        {"outcome": "rank", "ranks": [0, 1, 2]},
    ):
        given = {"votes": [{"id": "12345678", "task_id": ranking.id, **bad}]}
        with pytest.raises(InvalidInput, match="rank"):
            operations.call(workspace, owner, "prefer_vote", given)


def test_many_answers_make_even_groups_and_equal_texts_stay_out(
    workspace: Workspace, owner: Actor
) -> None:
    fill(workspace, 1, 14)
    fill(workspace, 1, 2, seed_id="pair", job_id="pair")
    fill(workspace, 1, 3, seed_id="twins", job_id="twins", answer="All alike")
    for n in (7, 8):
        fill(workspace, 1, 1, seed_id="twins", job_id="others", sample=n, answer=f"other {n}")
    made = workspace.prefer.rank_queue(owner)
    assert sorted(len(t.answers) for t in made) == [3, 4, 5, 5]
    texts = [a.text for t in made for a in t.answers]
    assert len(texts) == len(set(texts)) == 17
    assert texts.count("All alike") == 1
    assert workspace.prefer.progress(owner).rankable == 2


def test_couples_and_rankings_never_ask_for_the_same_two_again(
    workspace: Workspace, owner: Actor
) -> None:
    """Whatever a person turns to when, and nothing is left that either of them could show."""
    fill(workspace, 10, 4)
    fill(workspace, 3, 3, job_id="three")
    rng = random.Random(3)
    for _ in range(30):
        if rng.random() < 0.5:
            found = workspace.prefer.queue(owner, limit=4, fresh=True)
            votes = [vote(t, rng.choice(["left", "tie"])) for t in found[: rng.randint(1, 3)]]
        else:
            ranked = workspace.prefer.rank_queue(owner, limit=4, fresh=True, order="random")
            votes = [by_length(t) for t in ranked[: rng.randint(1, 3)]]
        workspace.prefer.vote(owner, votes)
    assert workspace.prefer.queue(owner) == workspace.prefer.rank_queue(owner) == []
    rows = store.page(workspace.db, EVERYTHING)
    couples = [frozenset((p.chosen_pair_id, p.rejected_pair_id)) for p in rows]
    assert len(couples) == len(set(couples)) > 25
    progress = workspace.prefer.progress(owner)
    assert (progress.open, progress.rankings) == (0, 0)
    assert store.out_of_step(workspace.db) == []


def test_two_people_rank_different_prompts_unless_overlap_is_asked_for(
    workspace: Workspace, owner: Actor
) -> None:
    fill(workspace, 6, 3)
    hers = workspace.prefer.rank_queue(ANN, limit=4)
    his = workspace.prefer.rank_queue(BOB, limit=4)
    prompts = lambda tasks: {t.messages[0].content for t in tasks}  # noqa: E731
    assert (len(hers), len(his)) == (4, 2)
    assert not prompts(hers) & prompts(his)
    assert prompts(workspace.prefer.queue(BOB)) == prompts(his)  # nor in twos
    assert workspace.prefer.renew(BOB, tuple(t.id for t in his)) == []
    workspace.prefer.vote(ANN, [by_length(t) for t in hers])
    workspace.labelling.save(owner, LabellingSettings(overlap=2))
    joined = workspace.prefer.rank_queue(BOB, limit=10)
    assert prompts(joined) == prompts(hers) | prompts(his)
    same = {t.messages[0].content: t for t in hers}
    for task in joined:
        if task.messages[0].content in same:
            theirs = same[task.messages[0].content]
            assert {a.text for a in theirs.answers} == {a.text for a in task.answers}
    # One vote against ann's on each: agreement is what the couples themselves say.
    for task in joined:
        ranks = by_length(task).ranks
        workspace.prefer.vote(BOB, [vote(task, "rank", *(4 - r for r in ranks))])
    report = workspace.agreement.rows(owner, "votes")
    assert (report.rows[0].items, report.rows[0].percent.value) == (12, 0.0)
    assert workspace.prefer.progress(owner).disputed == 12
    cem = Actor(user="cem", role=Role.REVIEWER)
    assert prompts(workspace.prefer.rank_queue(cem)) == prompts(his)  # one vote is missing
    settled = workspace.prefer.ties(owner, limit=200)
    workspace.prefer.vote(owner, [vote(t, "left") for t in settled])
    assert workspace.prefer.progress(owner).disputed == 0


def test_some_rankings_come_back_the_other_way_round(workspace: Workspace, owner: Actor) -> None:
    """They measure the voter and make no preference."""
    fill(workspace, 40, 3)
    shown: dict[str, RankTask] = {}
    repeats = []
    while tasks := workspace.prefer.rank_queue(owner, limit=10):
        for task in tasks:
            prompt = task.messages[0].content
            if prompt in shown:
                repeats.append((shown[prompt], task))
            shown.setdefault(prompt, task)
        workspace.prefer.vote(owner, [by_length(task) for task in tasks])
    assert len(repeats) == 2  # one in twenty
    for first, again in repeats:
        assert first.answers == again.answers[::-1]
    steadiness = workspace.prefer.consistency(owner)
    assert (steadiness.repeats, steadiness.same, steadiness.same_side) == (6, 6, 0)
    assert steadiness.left_share is None  # a ranking has no sides
    assert workspace.prefer.count(owner, PreferenceQuery()) == 40 * 3
    assert len(agreement.votes(workspace.db)) == 40 * 3
    assert store.out_of_step(workspace.db) == []


def test_the_implied_couples_are_those_of_the_ranks(workspace: Workspace, owner: Actor) -> None:
    """Against every two of the ranks, one by one, for random ranks with ties."""
    rng = random.Random(7)
    fill(workspace, 12, 6)
    expected = []
    for task in workspace.prefer.rank_queue(owner, limit=20):
        ranks = [rng.randint(1, 4) for _ in task.answers]
        workspace.prefer.vote(owner, [vote(task, "rank", *ranks)])
        for (a, ra), (b, rb) in combinations(zip(task.answers, ranks, strict=True), 2):
            if ra == rb:
                expected.append((*sorted((a.text, b.text)), "tie"))
            else:
                best, other = (a, b) if ra < rb else (b, a)
                expected.append((best.text, other.text, "win"))
    assert said(workspace) == sorted(expected)
    assert len(expected) == 12 * 15


def test_a_rejected_answer_takes_its_ranking_away(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 1, 4)
    before = workspace.prefer.rank_queue(owner)
    with workspace.db.write() as cursor:
        cursor.execute("UPDATE pairs SET status = 'rejected' WHERE id = ?", [made[2].id]).fetchall()
    assert workspace.prefer.rank_queue(owner) == []
    assert len(before) == 1
