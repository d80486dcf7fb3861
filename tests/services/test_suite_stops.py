"""Answers to a suite are stored before they are scored, so that neither a stop nor a crash loses
one: what was written is scored later, and nobody is asked for it again."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import JobState, TeacherConfig, TeacherKind
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.services import suite_scoring
from distill_studio.teachers.scripted import ScriptedChatModel
from distill_studio.verify import Verdict
from tests.conftest import ROOT
from tests.services.suite_models import Scripted, finish, upload
from tests.stub_openai import Answer, StubServer, completion

COUNT = 8
ROWS = [{"prompt": f"Write number {n}.", "reference": f"assert f() == {n}"} for n in range(COUNT)]


class Slow:
    """A verifier that takes its time until `go` is set, as code that loops does."""

    def __init__(self) -> None:
        self.go, self.checked = threading.Event(), 0

    def __call__(self, kind: str, answer: str, reference: str) -> Verdict:
        self.checked += 1
        self.go.wait(600)
        return Verdict(ok=True, reason=f"passed: {answer}")


@pytest.fixture
def slow(monkeypatch):
    verifier = Slow()
    monkeypatch.setattr(suite_scoring, "verify_by_pool", verifier)
    yield verifier
    verifier.go.set()


@pytest.fixture
def stub():
    server = StubServer(lambda body: Answer(completion(body["messages"][-1]["content"])))
    yield server
    server.close()


def add_coder(workspace, owner, stub, tmp_path, **fields) -> None:
    """The stub as the teacher `coder`, and the suite `code`."""
    config = TeacherConfig(
        name="coder", kind=TeacherKind.OPENAI, model="coder-1", base_url=stub.url,
        **{"max_retries": 0, "concurrency": 4} | fields,
    )  # fmt: skip
    workspace.teachers.save(owner, config)
    made = upload(workspace, tmp_path, ROWS, "code.jsonl")
    workspace.suites.add(owner, made, SuiteScorer.UNIT_TESTS)


def wait_for(is_so: Callable[[], bool], timeout_s: float = 120.0) -> None:
    limit = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_stop_waits_for_no_score_and_a_resume_asks_nobody(workspace, owner, stub, slow, tmp_path):
    add_coder(workspace, owner, stub, tmp_path)
    job = workspace.suites.run(owner, "code", ["teacher:coder"])
    trial = job.params["trial_id"]
    wait_for(lambda: len(workspace.suites.answers(owner, trial)) == COUNT)
    workspace.jobs.cancel(owner, job.id)
    stopped = finish(workspace, owner, job, limit_s=60)  # the scores take ten minutes
    assert stopped.state is JobState.CANCELLED
    assert slow.checked <= 2, "no more are begun"
    found = workspace.suites.answers(owner, trial)
    assert [one.answer for one in found] == [row["prompt"] for row in ROWS]
    assert all(one.is_draft for one in found)
    assert workspace.suites.standings(owner, trial).missing == COUNT

    slow.go.set()
    workspace.teachers.delete(owner, "coder")  # nobody is there to be asked
    workspace.jobs.resume(owner, job.id)
    done = finish(workspace, owner, job)
    assert (done.state, done.done, done.total) == (JobState.DONE, COUNT, COUNT), done.error
    assert len(stub.requests) == COUNT
    found = workspace.suites.answers(owner, trial)
    assert [(one.score, one.error) for one in found] == [(1.0, "")] * COUNT
    assert found[0].reason == "passed: Write number 0."


def test_a_stop_in_the_middle_of_the_asking_keeps_what_came(workspace, owner, stub, slow, tmp_path):
    def behave(body: dict) -> Answer:
        text = body["messages"][-1]["content"]
        return Answer(completion(text), delay_s=100 if int(text[-2]) >= COUNT // 2 else 0)

    stub.behave = behave
    add_coder(workspace, owner, stub, tmp_path)
    job = workspace.suites.run(owner, "code", ["teacher:coder"])
    wait_for(lambda: stub.in_flight == COUNT // 2 and len(stub.requests) == COUNT)
    workspace.jobs.cancel(owner, job.id)
    assert finish(workspace, owner, job).state is JobState.CANCELLED
    trial = job.params["trial_id"]
    assert len(workspace.suites.answers(owner, trial)) == COUNT // 2
    stub.behave = lambda body: Answer(completion("late"))
    slow.go.set()
    workspace.jobs.resume(owner, job.id)
    done = finish(workspace, owner, job)
    assert (done.state, done.done, done.result["failed"]) == (JobState.DONE, COUNT, 0)
    assert len(stub.requests) == COUNT + COUNT // 2
    said = [one.answer for one in workspace.suites.answers(owner, trial)]
    assert said == [row["prompt"] for row in ROWS[: COUNT // 2]] + ["late"] * (COUNT // 2)


class Patient(ScriptedChatModel):
    """Before it writes on, it looks how many answers are stored, then waits for their scores."""

    def __init__(self, workspace, owner) -> None:
        super().__init__("patient", lambda request: "")
        self.workspace, self.owner = workspace, owner
        self.stored: list[int] = []

    def drafts(self) -> list[bool]:
        (trial,) = self.workspace.suites.trials(self.owner, "code")
        return [one.is_draft for one in self.workspace.suites.answers(self.owner, trial.id)]

    async def generate(self, requests, cancel=None) -> AsyncIterator[ChatReply]:
        for request in requests:
            self.stored.append(len(self.drafts()))
            limit = time.monotonic() + 120
            while any(self.drafts()) and time.monotonic() < limit:
                await asyncio.sleep(0.02)
            assert not any(self.drafts())
            yield ChatReply(key=request.key, text="" if len(self.stored) == 2 else "so")


def test_answers_and_scores_are_stored_before_the_next_reply(
    workspace, owner, slow, tmp_path, monkeypatch
):
    slow.go.set()
    model = Patient(workspace, owner)
    monkeypatch.setattr(workspace.evaluate, "comparable", Scripted(workspace, {"base:p": model}))
    made = upload(workspace, tmp_path, ROWS[:3], "code.jsonl")
    workspace.suites.add(owner, made, SuiteScorer.UNIT_TESTS)
    done = finish(workspace, owner, workspace.suites.run(owner, "code", ["base:p"]))
    assert (done.state, done.done) == (JobState.DONE, 3), done.error
    assert model.stored == [0, 1, 2]
    found = workspace.suites.answers(owner, done.params["trial_id"])
    assert [one.reason for one in found] == ["passed: so", "passed: ", "passed: so"]


def test_what_cannot_be_scored_ends_the_job_and_is_kept(
    workspace, owner, stub, monkeypatch, tmp_path
):
    def broken(*_: object) -> Verdict:
        raise OSError("no sandbox")

    monkeypatch.setattr(suite_scoring, "verify_by_pool", broken)
    add_coder(workspace, owner, stub, tmp_path)
    job = workspace.suites.run(owner, "code", ["teacher:coder"])
    failed = finish(workspace, owner, job)
    assert (failed.state, "no sandbox" in failed.error) == (JobState.FAILED, True)
    kept = workspace.suites.answers(owner, job.params["trial_id"])
    assert kept
    assert all(one.is_draft for one in kept)
    workspace.teachers.delete(owner, "coder")  # nobody is there to be asked
    workspace.jobs.resume(owner, job.id)
    failed = finish(workspace, owner, job)
    assert (failed.state, "no sandbox" in failed.error) == (JobState.FAILED, True), (
        "what is there is scored before anybody is asked"
    )


_CHILD = """
import sys, time
from pathlib import Path
from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.settings import Settings
from distill_studio.services import suite_scoring
suite_scoring.verify_by_pool = lambda *_: time.sleep(600)
studio = build_studio(Settings(home=Path(sys.argv[1])))
owner = Actor(user="owner", role=Role.OWNER)
studio.workspace("main").suites.run(owner, "code", ["teacher:coder"])
time.sleep(600)
"""


def test_kill_9_loses_no_answer(settings, owner, stub, slow, tmp_path):
    has_three, go = threading.Event(), threading.Event()

    def behave(body: dict) -> Answer:
        if len(stub.requests) > 3:
            has_three.set()
            go.wait(240)
        return Answer(completion(body["messages"][-1]["content"]))

    stub.behave = behave
    studio = build_studio(settings)
    add_coder(studio.workspace("main"), owner, stub, tmp_path, concurrency=1)
    studio.close()
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(settings.home)], cwd=ROOT, env=dict(os.environ)
    )
    try:
        assert has_three.wait(200)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
    go.set()
    slow.go.set()
    studio = build_studio(settings)  # the job goes on
    workspace = studio.workspace("main")
    (job,) = workspace.jobs.page(owner, kinds=["suite"])
    done = finish(workspace, owner, job)
    assert (done.state, done.result["failed"]) == (JobState.DONE, 0), done.error
    assert len(stub.requests) == COUNT + 1, "only what was on its way is asked twice"
    found = workspace.suites.answers(owner, job.params["trial_id"])
    assert [(one.answer, one.score) for one in found] == [(row["prompt"], 1.0) for row in ROWS]
    studio.close()
