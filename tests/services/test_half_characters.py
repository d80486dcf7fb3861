"""A server that cuts an emoji in half ends no job: suites, judges, comparisons, side by side."""

import asyncio
from contextlib import aclosing

import pytest

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import JobState, Message, TeacherConfig, TeacherKind
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.store import evaluations
from tests.services.suite_models import finish, upload
from tests.services.test_arena import compared
from tests.stub_openai import Answer, StubServer, completion, failure

HALF = "\ud83d"
ROWS = [{"prompt": "Say ok.", "reference": "ok"}, {"prompt": "Say it.", "reference": "it"}]
HELLO = [Message(role="user", content="Hello?")]


def says_half(body: dict) -> Answer:
    if body.get("stream"):
        return Answer(pieces=(f"Yes {HALF}", f"\ude00 and {HALF}"))
    return Answer(completion(f"ok {HALF}", reasoning_content=f"so {HALF}"))


@pytest.fixture
def stub(workspace, owner):
    server = StubServer(says_half)
    for name in ("one", "two"):
        workspace.teachers.save(
            owner,
            TeacherConfig(
                name=name, kind=TeacherKind.OPENAI, model=f"{name}-1", base_url=server.url,
                max_retries=0,
            ),
        )  # fmt: skip
    yield server
    server.close()


@pytest.mark.parametrize("scorer", [SuiteScorer.EXACT, SuiteScorer.JUDGE])
def test_a_suite_stores_it_and_ends(workspace, owner, stub, tmp_path, scorer):
    workspace.suites.add(owner, upload(workspace, tmp_path, ROWS, "says.jsonl"), scorer)
    judge = "two" if scorer is SuiteScorer.JUDGE else ""
    job = workspace.suites.run(owner, "says", ["teacher:one"], judge=judge)
    done = finish(workspace, owner, job)
    assert done.state is JobState.DONE, done.error
    found = workspace.suites.answers(owner, done.params["trial_id"])
    assert [answer.answer for answer in found] == ["ok \ufffd"] * 2
    assert [answer.judged for answer in found] == (["ok \ufffd"] * 2 if judge else ["", ""])


def test_what_a_server_says_of_its_failure_is_stored(workspace, owner, stub, tmp_path):
    stub.behave = lambda body: failure(500, f"no room for {HALF}")
    made = upload(workspace, tmp_path, ROWS, "says.jsonl")
    workspace.suites.add(owner, made, SuiteScorer.EXACT)
    done = finish(workspace, owner, workspace.suites.run(owner, "says", ["teacher:one"]))
    assert done.state is JobState.DONE, done.error
    (first, _) = workspace.suites.answers(owner, done.params["trial_id"])
    assert "no room for \ufffd" in first.error


def test_a_judge_of_comparisons_goes_on(workspace, owner, stub):
    compared(workspace, 1, "big", "small")
    stub.behave = lambda body: Answer(completion(f"Both have their charm. {HALF}"))
    job = workspace.arena.judge(owner, "one")
    done = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert (done.state, done.result["said"]) == (JobState.DONE, {"unreadable": 1}), done.error


def test_side_by_side_joins_the_halves_of_two_chunks(workspace, owner, stub):
    found = workspace.evaluate.compare(owner, ["one", "two"], "Hello?")
    assert [answer.text for answer in found.answers] == ["Yes \U0001f600 and \ufffd"] * 2
    assert workspace.evaluate.get(owner, found.id) == found


def test_a_comparison_that_cannot_be_stored_does_not_stay_running(
    workspace, owner, stub, monkeypatch
):
    def full(*_: object) -> None:
        raise OSError("The disk is full.")

    monkeypatch.setattr(evaluations, "insert", full)
    seen: set[str] = set()

    async def watch() -> None:
        frames = workspace.evaluate.stream(owner, ["one", "two"], HELLO, SamplingParams())
        async with aclosing(frames):
            async for frame in frames:
                seen.add(frame.id)

    with pytest.raises(OSError, match="disk is full"):
        asyncio.run(watch())
    assert not workspace.evaluate.stop(owner, seen.pop())
