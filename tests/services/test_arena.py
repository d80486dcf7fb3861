"""The arena: whose votes rank models, and a judge that votes through a real HTTP server."""

import json
import re
import threading

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.records import (
    JobState,
    Message,
    Pair,
    Preference,
    Run,
    RunState,
    TeacherConfig,
    TeacherKind,
)
from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    AnswerStats,
    Comparison,
    ModelCard,
    ModelRole,
)
from distill_studio.services import operations
from distill_studio.store import arena as table
from distill_studio.store import evaluations, pairs, preferences, runs
from tests.stub_openai import Answer as HttpAnswer
from tests.stub_openai import StubServer, completion, failure

ANN = Actor(user="ann", role=Role.REVIEWER)
QUALITY = {"big": 3, "raw": 1, "small": 2}
ANSWERS = re.compile(r"The answer of quality (\d)")


def compared(workspace, number: int, *names: str, **texts: str) -> Comparison:
    """A stored comparison of these models, each with an answer that says how good it is."""
    roles = {"big": ModelRole.TEACHER, "raw": ModelRole.BASE, "small": ModelRole.STUDENT}
    made = Comparison(
        messages=(Message(role="user", content=f"Question {number}?"),),
        answers=tuple(
            Answer(
                card=ModelCard(
                    id=f"{roles[name].value}:{name}",
                    label=name,
                    role=roles[name],
                    model=f"{name}-1",
                ),
                text=texts.get(name, f"The answer of quality {QUALITY[name]}" + " more" * number),
                state=AnswerState.DONE,
                stats=AnswerStats(characters=10),
            )
            for name in names
        ),
        is_blind=True,
        user="owner",
    )
    evaluations.insert(workspace.db, made)
    return made


def verdict(better: str) -> HttpAnswer:
    return HttpAnswer(completion(json.dumps({"reason": "because", "better": better})))


def fair(body) -> HttpAnswer:
    """The better answer, wherever it stands."""
    first, second = (int(q) for q in ANSWERS.findall(body["messages"][-1]["content"]))
    return verdict("A" if first > second else "B" if second > first else "tie")


@pytest.fixture
def stub():
    server = StubServer(fair)
    yield server
    server.close()


@pytest.fixture
def judge(workspace, owner, stub) -> str:
    """The stub as the teacher `court`."""
    config = TeacherConfig(
        name="court", kind=TeacherKind.OPENAI, model="stub-1", base_url=stub.url, max_retries=0
    )
    workspace.teachers.save(owner, config)
    return config.name


def votes(workspace, owner, judge: str, **settings) -> dict[str, int]:
    """What a judge says, its job having ended well."""
    job = workspace.arena.judge(owner, judge, **settings)
    done = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert done.state is JobState.DONE, done.error
    return done.result["said"]


def stored(workspace, source: str) -> list[tuple[str, str, str, str]]:
    """(chosen, rejected, outcome, voter) by name of model."""
    rows = workspace.db.rows(
        """SELECT c.teacher AS chosen, r.teacher AS rejected, p.outcome, p.user_name
        FROM preferences p JOIN pairs c ON c.id = p.chosen_pair_id
        JOIN pairs r ON r.id = p.rejected_pair_id WHERE p.source = ?""",
        [source],
    )
    return sorted(tuple(row.values()) for row in rows)


def test_an_empty_arena_has_no_rows(workspace, owner, judge):
    found = workspace.arena.standings(owner)
    assert (found.rows, found.judges, found.comparisons, found.n) == ((), (), 0, 0)
    with pytest.raises(InvalidInput, match="no comparison"):
        workspace.arena.judge(owner, judge)


def test_a_judge_votes_on_every_two_answers_in_both_orders_as_a_voter_of_its_own(
    workspace, owner, stub, judge
):
    for number in range(3):
        compared(workspace, number, "small", "big", "raw")
    assert votes(workspace, owner, judge) == {"left": 6, "right": 3}
    assert len(stub.requests) == 2 * 3 * 3
    orders = [
        tuple(ANSWERS.findall(body["messages"][-1]["content"])) for body in stub.requests[:18]
    ]
    assert sorted(orders) == sorted((b, a) for a, b in orders)  # each couple both ways
    voter = "court (stub-1)"
    assert stored(workspace, "judge") == sorted(
        [("big", "raw", "win", voter), ("big", "small", "win", voter),
         ("small", "raw", "win", voter)] * 3
    )  # fmt: skip
    assert stored(workspace, "arena") == stored(workspace, "person") == []
    assert workspace.db.value("SELECT count(*) FROM votes") == 0
    assert workspace.agreement.people(owner) == []
    found = workspace.arena.standings(owner)
    assert (found.sources, found.voters, found.people_votes, found.judge_votes) == (
        "judges", {voter: 9}, 0, 9,
    )  # fmt: skip
    assert [row.model for row in found.rows] == ["big", "small", "raw"]
    (one,) = found.judges
    assert (one.votes, one.order.n, one.order.consistent.value, one.order.side) == (9, 9, 1.0, "")
    assert one.with_people.n == 0


def test_nothing_is_asked_twice_and_new_comparisons_are_read(workspace, owner, stub, judge):
    compared(workspace, 1, "big", "small")
    assert votes(workspace, owner, judge) == {"left": 1}
    assert votes(workspace, owner, judge) == {}
    compared(workspace, 2, "raw", "small")
    compared(workspace, 3, "raw", "small")
    assert votes(workspace, owner, judge, most=1) == {"right": 1}
    assert len(stub.requests) == 4
    assert "Question 3?" in stub.prompts()[-1]  # the newest first
    assert {c.judge: c.read for c in workspace.arena.judges(owner)}["court"] == 2
    assert len(stored(workspace, "judge")) == 2


def test_what_people_voted_on_comes_first_and_agreement_is_measured(workspace, owner, judge):
    made = [compared(workspace, number, "big", "small") for number in range(12)]
    for one in made[:10]:
        workspace.evaluate.vote(ANN, one.id, "1" if one is not made[0] else "2")
    assert votes(workspace, owner, judge, most=10) == {"left": 10}
    found = workspace.arena.standings(owner)
    assert (found.sources, found.people_votes, found.judge_votes) == ("people", 10, 10)
    (one,) = found.judges
    assert (one.with_people.n, one.with_people.percent.value) == (10, pytest.approx(0.9))
    both = workspace.arena.standings(owner, "all")
    assert both.n == 20
    assert {row.model: (row.people_votes, row.judge_votes) for row in both.rows} == {
        "big": (10, 10), "small": (10, 10),
    }  # fmt: skip
    assert both.rows[0].win_rate.value == pytest.approx(0.95)
    alone = workspace.arena.standings(owner, "all", voter="ann")
    assert (alone.n, alone.rows[0].win_rate.value) == (10, pytest.approx(0.9))


def test_a_judge_that_takes_the_first_place_makes_ties_and_is_told(workspace, owner, stub, judge):
    for number in range(12):
        compared(workspace, number, "big", "small")
    stub.behave = lambda body: verdict("A")
    assert votes(workspace, owner, judge) == {"tie": 12}
    (one,) = workspace.arena.standings(owner).judges
    assert (one.order.first, one.order.second, one.order.side) == (12, 0, "first")
    assert "Leans to the answer shown first" in one.order.words
    assert {row.win_rate.value for row in workspace.arena.standings(owner).rows} == {0.5}


def test_the_same_words_tie_without_a_question(workspace, owner, stub, judge):
    compared(workspace, 1, "big", "small", big="Paris.", small=" Paris. ")
    assert votes(workspace, owner, judge) == {"tie": 1}
    assert stub.requests == []
    (one,) = workspace.arena.standings(owner).judges
    assert (one.votes, one.order.n) == (1, 0)


def test_useless_replies_are_kept_as_such_and_asked_again(workspace, owner, stub, judge):
    for number in (1, 2):
        compared(workspace, number, "big", "small")

    def moody(body) -> HttpAnswer:
        is_first = "Question 1?" in body["messages"][-1]["content"]
        return HttpAnswer(completion("Both have their charm.")) if is_first else fair(body)

    stub.behave = moody
    assert votes(workspace, owner, judge) == {"left": 1, "unreadable": 1}
    (one,) = workspace.arena.standings(owner).judges
    assert (one.votes, one.lost) == (1, 1)
    stub.behave = fair
    assert votes(workspace, owner, judge) == {"left": 1}
    (one,) = workspace.arena.standings(owner).judges
    assert (one.votes, one.lost) == (2, 0)
    stub.behave = lambda body: failure(500, "out of memory")
    compared(workspace, 3, "big", "small")
    job = workspace.arena.judge(owner, judge)
    ended = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert ended.state is JobState.FAILED
    assert "None of 2 requests was answered" in ended.error


def test_a_stopped_judge_goes_on_with_what_is_missing(workspace, owner, stub, judge):
    for number in range(30):
        compared(workspace, number, "big", "small")
    asked, go_on = threading.Event(), threading.Event()

    def slow(body) -> HttpAnswer:
        if len(stub.requests) > 16:  # in the second lot: it begins once the first is stored
            asked.set()
            go_on.wait(120)
        return fair(body)

    stub.behave = slow
    job = workspace.arena.judge(owner, judge, most=20)
    assert asked.wait(60)
    assert workspace.arena.judge(owner, judge, most=20).id == job.id
    with pytest.raises(Conflict, match="voting already, on up to 20"):
        workspace.arena.judge(owner, judge, most=30)
    workspace.jobs.cancel(owner, job.id)
    go_on.set()
    assert workspace.jobs.wait(owner, job.id, timeout_s=60).state is JobState.CANCELLED
    before = len(stored(workspace, "judge"))
    assert 4 <= before < 20
    stub.behave = fair
    workspace.jobs.resume(owner, job.id)
    done = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert (done.state, done.result["said"]) == (JobState.DONE, {"left": 20})
    assert len(stored(workspace, "judge")) == 20  # what it was asked for, none twice
    assert len(table.readings(workspace.db)) == 20


def test_another_model_of_the_same_name_is_another_voter(workspace, owner, stub, judge):
    compared(workspace, 1, "big", "small")
    votes(workspace, owner, judge)
    config = workspace.teachers.config(judge)
    workspace.teachers.save(owner, config.model_copy(update={"model": "stub-2"}))
    votes(workspace, owner, judge)
    assert {row[3] for row in stored(workspace, "judge")} == {"court (stub-1)", "court (stub-2)"}


def test_a_judge_that_reads_anew_replaces_its_vote(workspace, owner, stub, judge):
    compared(workspace, 1, "big", "small")
    votes(workspace, owner, judge)
    workspace.db.cursor().execute("UPDATE arena_verdicts SET prompt_version = 'an older one'")
    stub.behave = lambda body: verdict("tie")
    assert votes(workspace, owner, judge) == {"tie": 1}
    assert [row[2] for row in stored(workspace, "judge")] == ["tie"]
    assert len(table.readings(workspace.db)) == 1


def test_a_judges_votes_rank_and_are_not_trained_on(workspace, owner, judge):
    one = compared(workspace, 1, "big", "small")
    votes(workspace, owner, judge)
    preview = workspace.freeze.preview(owner, format="preference")
    assert (preview.rows, preview.left_out) == (0, {"a judge's vote in the arena": 1})
    assert workspace.overview.counts(owner)["preferences"] == 0
    assert workspace.prefer.progress(owner).wins == 0
    workspace.evaluate.vote(ANN, one.id, "2")
    assert stored(workspace, "arena") == [("small", "big", "win", "ann")]
    assert workspace.freeze.preview(owner, format="preference").rows == 1
    assert workspace.db.value("SELECT count(*) FROM pairs") == 2  # the same answers


def test_votes_of_the_way_back_do_not_count(workspace, owner):
    made = [
        Pair(
            seed_id="lost",
            messages=(Message(role="user", content="Lost?"),),
            answer=f"answer of {name}",
            teacher=name,
            recipe=pairs.WAY_BACK,
            sample=place,
        )
        for place, name in enumerate(("big", "small"))
    ]
    pairs.insert(workspace.db, made)
    (task,) = workspace.prefer.queue(owner)
    vote = {"id": new_id(), "task_id": task.id, "outcome": "left"}
    operations.call(workspace, owner, "prefer_vote", {"votes": [vote]})
    assert len(preferences.page(workspace.db, preferences.PreferenceQuery())) == 1
    found = workspace.arena.standings(owner)
    assert (found.n, found.rows, found.voters, found.left_out) == (0, (), {}, 1)
    say = Preference(
        seed_id="lost", chosen_pair_id=made[0].id, rejected_pair_id=made[1].id,
        source="judge", user="hand-made",
    )  # fmt: skip
    preferences.insert(workspace.db, [say])
    assert workspace.arena.standings(owner).judges == ()


def test_relatives_are_named(workspace, owner, stub):
    for name, model in (("own", "big-1"), ("cousin", "SmolLM2-1.7B-Instruct"), ("far", "gpt-4o")):
        config = TeacherConfig(name=name, kind=TeacherKind.OPENAI, model=model, base_url=stub.url)
        workspace.teachers.save(owner, config)
    student = {"student": {"base_id": "HuggingFaceTB/SmolLM2-135M-Instruct"}}
    run = Run(name="small", method="sft", snapshot_id="s", state=RunState.DONE, config=student)
    runs.insert(workspace.db, run)
    compared(workspace, 1, "big", "small")
    warnings = {one.judge: one.warning for one in workspace.arena.judges(owner)}
    assert "judges its own answers" in warnings["own"]
    grown = "compared model small (from HuggingFaceTB/SmolLM2-135M-Instruct) are of one family"
    assert grown in warnings["cousin"]
    assert warnings["far"] == ""


def test_a_second_stage_is_a_relative_of_what_its_first_grew_from(workspace, owner, judge):
    """SFT of a base, then DPO of that: the judge is of the base's family."""
    for name, base in (("sft", "HuggingFaceTB/SmolLM2-135M-Instruct"), ("small", "run:sft")):
        student = {"student": {"base_id": base}}
        run = Run(name=name, method="sft", snapshot_id="s", state=RunState.DONE, config=student)
        runs.insert(workspace.db, run)
    compared(workspace, 1, "raw", "small")
    cousin = workspace.teachers.config("court").model_copy(update={"model": "SmolLM2-1.7B"})
    workspace.teachers.save(owner, cousin)
    (said,) = [one.warning for one in workspace.arena.judges(owner) if one.judge == "court"]
    assert "model small (from HuggingFaceTB/SmolLM2-135M-Instruct) are of one family" in said


def test_roles_and_names(workspace, owner, judge):
    compared(workspace, 1, "big", "small")
    viewer = Actor(user="guest", role=Role.VIEWER)
    assert workspace.arena.standings(viewer).comparisons == 1
    assert [one.judge for one in workspace.arena.judges(viewer)][-1] == "court"
    with pytest.raises(NotAllowed):
        workspace.arena.judge(viewer, judge)
    with pytest.raises(NotFound):
        workspace.arena.judge(owner, "nobody")
    with pytest.raises(InvalidInput):
        workspace.arena.judge(owner, judge, most=0)
    assert {"arena_standings", "arena_judge", "arena_judges"} <= set(operations.operations())
