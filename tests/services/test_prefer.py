"""The prefer service: blind, stable comparisons, votes, repeats."""

from uuid import uuid4

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed
from distill_studio.core.records import Message, Pair, Preference, Vote
from distill_studio.core.records.labelling import LabellingSettings
from distill_studio.prefer.blind import BlindTask
from distill_studio.services import operations
from distill_studio.services.prefer_making import REPEAT_AFTER
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
    assert workspace.prefer.queue(owner) == [tasks[1]]  # what is skipped is still to do
    progress = workspace.prefer.progress(owner)
    assert (progress.open, progress.voted, progress.wins, progress.candidates) == (1, 3, 1, 3)


def test_what_is_skipped_comes_again(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 3, candidates=3)
    fill(workspace, 2, candidates=2, job_id="two")
    for ask in (workspace.prefer.queue, workspace.prefer.rank_queue):
        tasks = ask(owner)
        workspace.prefer.vote(owner, [vote(task, "skip") for task in tasks])
        assert len(tasks) > 1
        assert ask(owner, fresh=True) == tasks
        assert ask(owner, after=tasks[0].id) == tasks[1:]
        workspace.prefer.vote(owner, [vote(tasks[0], "both_bad")])
        assert ask(owner) == tasks[1:]


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
    mine, hers = workspace.prefer.queue(owner, limit=1), workspace.prefer.queue(ann)
    assert len(mine) == len(hers) == 1
    assert mine[0].messages != hers[0].messages
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


def models(workspace: Workspace, tasks: list[BlindTask]) -> list[str]:
    """The two models of each comparison as letters, in the order of the tasks."""
    rows = workspace.db.rows(
        "SELECT t.id, l.teacher AS one, r.teacher AS other FROM comparison_tasks t"
        " JOIN pairs l ON l.id = t.left_pair_id JOIN pairs r ON r.id = t.right_pair_id"
    )
    found = {r["id"]: "".join(sorted((r["one"], r["other"]))) for r in rows}
    return [found[t.id] for t in tasks]


def letters(workspace: Workspace, seeds: int, names: str, **fields: object) -> list[Pair]:
    """Answers of the models `names` to each of these seeds."""
    return [
        pair
        for n, name in enumerate(names)
        for pair in fill(
            workspace, seeds, candidates=1, teacher=name, sample=n,
            **{"answer": f"by {name} {n}", "job_id": f"job-{name}"} | fields,
        )
    ]  # fmt: skip


def prefer_often(workspace: Workspace, better: str, worse: str, n: int, outcome: str) -> None:
    """Votes of somebody else on answers that are not compared any more."""
    made = letters(workspace, n, better + worse, curation="filtered", job_id=f"{better}{worse}")
    store.insert(
        workspace.db,
        [
            Preference(
                seed_id=a.seed_id, chosen_pair_id=a.id, rejected_pair_id=b.id, outcome=outcome,
                user="zoe", source="person",
            )
            for a, b in zip(made[:n], made[n:], strict=True)
        ],
    )  # fmt: skip


def test_the_most_informative_order_asks_for_what_is_uncertain(
    workspace: Workspace, owner: Actor
) -> None:
    """Models a and b are far apart, and so are b and c; a and c are close."""
    prefer_often(workspace, "a", "b", 60, "win")
    prefer_often(workspace, "c", "b", 60, "win")
    prefer_often(workspace, "a", "c", 4, "tie")
    letters(workspace, 60, "abc")
    batch = workspace.prefer.queue(owner, limit=20, order="informative")
    asked = models(workspace, batch)
    assert len(asked) == 20
    assert asked.count("ac") >= 15
    assert asked[:5] == ["ac"] * 5  # what tells most is shown first
    prompts = [t.messages[0].content for t in batch]
    assert prompts != sorted(prompts)  # within two models at random
    assert workspace.prefer.queue(owner, limit=20) == batch  # stored; no order moves it


def test_what_waits_for_a_vote_counts_as_asked(workspace: Workspace, owner: Actor) -> None:
    """Of four models that nobody knows each two are asked for once, also by several people."""
    letters(workspace, 30, "abcd")
    seen: list[BlindTask] = []
    for n in range(6):
        actor = Actor(user=f"person-{n % 2}", role=Role.REVIEWER)
        mine = seen[n % 2 :: 2]
        after = mine[-1].id if mine else ""
        seen += workspace.prefer.queue(actor, after=after, limit=1, order="informative")
    assert sorted(models(workspace, seen)) == ["ab", "ac", "ad", "bc", "bd", "cd"]


def test_each_order_shows_everything_once(workspace: Workspace, owner: Actor) -> None:
    """Also answers of one model, or with the same text, and whatever order is asked when."""
    letters(workspace, 12, "aabc")
    letters(workspace, 3, "a", answer="All alike", seed_id="twins")
    letters(workspace, 3, "b", answer="all  ALIKE", seed_id="twins")
    seen: list[BlindTask] = []
    for order in (
        "informative",
        "",
        "random",
        "informative",
        "random",
        "informative",
        "informative",
    ):
        after = seen[-1].id if seen else ""
        seen += workspace.prefer.queue(owner, after=after, limit=5, order=order)
    answers = [
        i
        for r in workspace.db.rows("SELECT left_pair_id, right_pair_id FROM comparison_tasks")
        for i in (r["left_pair_id"], r["right_pair_id"])
    ]
    assert len(seen) == len({t.id for t in seen}) == 24
    assert len(set(answers)) == len(answers) == 48
    assert not [t for t in seen if "alike" in t.left.casefold()]
    assert workspace.prefer.queue(owner, after=seen[-1].id, order="informative") == []


def test_a_random_order_is_not_the_oldest(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 300)
    ann = Actor(user="ann", role=Role.REVIEWER)
    place = lambda t: int(t.messages[0].content.split()[1])  # noqa: E731
    drawn = [place(t) for t in workspace.prefer.queue(owner, limit=20, order="random")]
    oldest = [place(t) for t in workspace.prefer.queue(ann, limit=20)]
    assert max(oldest) < 100  # the first look
    assert max(drawn) > 100
    assert not set(drawn) & set(oldest)  # leases hold in any order
    assert drawn != sorted(drawn)


def test_orders_keep_the_overlap_and_come_as_operations(workspace: Workspace, owner: Actor) -> None:
    workspace.labelling.save(owner, LabellingSettings(overlap=2))
    letters(workspace, 6, "abc")
    ann, bob = (Actor(user=name, role=Role.REVIEWER) for name in ("ann", "bob"))
    hers = workspace.prefer.queue(ann, limit=4, order="informative")
    his = workspace.prefer.queue(bob, limit=4, order="random")
    couple = lambda t: (t.messages, frozenset((t.left, t.right)))  # noqa: E731
    assert {couple(t) for t in hers} == {couple(t) for t in his}
    given = {"limit": 1, "order": "random"}
    assert len(operations.call(workspace, owner, "prefer_queue", given)) == 1
    with pytest.raises(InvalidInput):
        operations.call(workspace, owner, "prefer_queue", {"order": "best"})


def test_where_votes_differ_another_vote_is_asked_for_first(
    workspace: Workspace, owner: Actor
) -> None:
    """Then where no person says what the judge does; then the rest by age."""
    workspace.labelling.save(owner, LabellingSettings(overlap=4))
    made = fill(workspace, 5)
    ann, bob, cem, dan = (Actor(user=n, role=Role.REVIEWER) for n in ("ann", "bob", "cem", "dan"))
    better = {s: made[2 * s].answer for s in range(5)}
    for who in (ann, bob, cem):
        for task in workspace.prefer.queue(who):
            seed = int(task.messages[0].content.split()[1])
            is_first = not (who is bob and seed == 3) and seed != 2
            side = "left" if (task.left == better[seed]) == is_first else "right"
            workspace.prefer.vote(who, [vote(task, side)])
    store.insert(
        workspace.db,
        [
            Preference(
                seed_id=a.seed_id, chosen_pair_id=a.id, rejected_pair_id=b.id, source="judge",
                user="judge",
            )
            for a, b in zip(made[::2], made[1::2], strict=True)
        ],
    )  # fmt: skip
    asked = []
    while found := workspace.prefer.queue(dan, limit=1, order="disagreement"):
        asked.append(int(found[0].messages[0].content.split()[1]))
        workspace.prefer.vote(dan, [vote(found[0], "tie")])
    assert asked == [3, 2, 0, 1, 4]
