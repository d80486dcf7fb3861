"""The whole service over real HTTP: answers, failures, filters, cancel, resume, kill -9."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Job, JobState, Message, Seed, TeacherConfig, TeacherKind
from distill_studio.core.settings import Settings
from distill_studio.services import hub_tokens, operations
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.services.jobs import NeedsKey
from distill_studio.services.workspace import Workspace
from distill_studio.store import logprobs, seeds
from distill_studio.store.generation import SeedFilter
from tests.fake_hub import FakeHub
from tests.stub_openai import Answer, StubServer, completion, echo, failure

VIEWER = Actor(user="v", role=Role.VIEWER)
ROOT = Path(__file__).parents[2]
ALL = SeedFilter(only_unanswered=False)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


def add_seeds(workspace: Workspace, count: int, topic: str = "", start: int = 0) -> list[str]:
    rows = [
        Seed(messages=(Message(role="user", content=f"Q{i}"),), topic=topic, source="f.jsonl")
        for i in range(start, start + count)
    ]
    return list(seeds.insert(workspace.db, rows).values())


def add_teacher(workspace: Workspace, owner: Actor, url: str, name: str = "Stub", **fields) -> None:
    defaults = {"max_retries": 0, "timeout_s": 60.0}
    teacher = TeacherConfig(
        name=name, kind=TeacherKind.OPENAI, model="stub-1", base_url=url, **defaults | fields
    )
    workspace.teachers.save(owner, teacher)


def finish(workspace: Workspace, owner: Actor, job: Job) -> Job:
    return workspace.jobs.wait(owner, job.id, timeout_s=60)


def wait_for(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def keys(workspace: Workspace, job_id: str) -> list[tuple[str, int]]:
    rows = workspace.db.rows("SELECT seed_id, sample FROM pairs WHERE job_id = ?", [job_id])
    return [(row["seed_id"], row["sample"]) for row in rows]


def test_best_of_n_from_two_teachers(workspace: Workspace, owner: Actor, stub: StubServer) -> None:
    ids = add_seeds(workspace, 10, "maths")
    add_teacher(workspace, owner, stub.url, "One")
    add_teacher(workspace, owner, stub.url, "Two")
    arguments = {
        "teachers": ["One", "Two"],
        "recipe": "best_of_n",
        "n": 3,
        "sampling": {"temperature": 0.9, "max_tokens": 32, "seed": 5},
        "system_prompt": "Be brief.",
        "seeds": {"topic": "maths"},
    }
    preview = operations.call(workspace, owner, "generate_preview", {"wish": arguments})
    assert (preview["seeds"], preview["requests"]) == (10, 60)
    job = finish(
        workspace,
        owner,
        workspace.jobs.get(
            owner, operations.call(workspace, owner, "generate_start", {"wish": arguments})["id"]
        ),
    )
    assert (job.state, job.done, job.total) == (JobState.DONE, 60, 60)
    assert job.result["answered"] == 60, (job.result, workspace.generate.reasons(owner, job.id))
    assert job.result["tokens"] == 60 * 3
    assert Counter(keys(workspace, job.id)) == Counter((i, s) for i in ids for s in range(6))
    assert workspace.review.facets(owner)["source"] == ["f.jsonl"]
    assert workspace.review.facets(owner)["recipe"] == ["best_of_n"]
    assert preview["first"]["body"] in stub.requests
    sent = [body["seed"] for body in stub.requests]
    assert len(set(sent)) == 60
    newest = workspace.generate.recent(VIEWER, job.id, 100)
    assert {p.teacher for p in newest if p.sample < 3} == {"One"}
    assert {p.teacher for p in newest if p.sample >= 3} == {"Two"}
    assert newest[0].messages[0].content == "Be brief."
    assert newest[0].topic == "maths"
    assert newest == sorted(newest, key=lambda p: p.id, reverse=True)


def test_only_seeds_without_an_answer(workspace: Workspace, owner: Actor, stub: StubServer) -> None:
    add_teacher(workspace, owner, stub.url)
    with pytest.raises(InvalidInput, match="no seeds"):
        workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    first = add_seeds(workspace, 4, "a")
    add_seeds(workspace, 6, "b", start=4)
    count = workspace.generate.count
    assert count(VIEWER) == {"seeds": 10, "matching": 10, "unanswered": 10, "chosen": 10}
    finish(
        workspace,
        owner,
        workspace.generate.start(
            owner, GenerationWish(teachers=["Stub"], seeds=SeedFilter(topic="a", limit=3))
        ),
    )
    assert count(VIEWER) == {"seeds": 10, "matching": 10, "unanswered": 7, "chosen": 7}
    assert count(VIEWER, SeedFilter(topic="a"))["chosen"] == 1
    assert count(VIEWER, SeedFilter(topic="a", only_unanswered=False))["chosen"] == 4
    assert count(VIEWER, SeedFilter(search="q9"))["chosen"] == 1
    assert count(VIEWER, SeedFilter(ids=(first[3], "gone")))["chosen"] == 1
    finish(workspace, owner, workspace.generate.start(owner, GenerationWish(teachers=["Stub"])))
    assert sorted(stub.prompts()) == sorted(f"Q{i}" for i in range(10))
    with pytest.raises(InvalidInput, match="has an answer"):
        workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    again = workspace.generate.start(
        owner,
        GenerationWish(teachers=["Stub"], seeds=SeedFilter(ids=(first[0],), only_unanswered=False)),
    )
    finish(workspace, owner, again)
    assert workspace.db.value("SELECT count(*) FROM pairs WHERE seed_id = ?", [first[0]]) == 2


def test_two_starts_at_once_do_not_ask_twice(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    go_on = threading.Event()

    def behave(body: dict) -> Answer:
        go_on.wait(60)
        return Answer(completion("ok"))

    stub.behave = behave
    add_teacher(workspace, owner, stub.url)
    add_seeds(workspace, 20)
    job = workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    with pytest.raises(InvalidInput, match="being asked"):
        workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    go_on.set()
    finish(workspace, owner, job)
    assert len(stub.requests) == 20


def test_failures_are_rows_retried_and_forgotten(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    def behave(body: dict) -> Answer:
        number = int(body["messages"][-1]["content"][1:])
        return failure(500, f"boom {number}") if number % 5 == 0 else echo(body)

    stub.behave = behave
    add_teacher(workspace, owner, stub.url, concurrency=2)
    add_seeds(workspace, 20)
    job = finish(
        workspace, owner, workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    )
    assert job.state is JobState.DONE
    assert (job.result["answered"], job.result["failed"], job.done) == (16, 4, 20)
    failed = workspace.generate.failures(VIEWER, job.id)
    assert {f.code for f in failed} == {"unreachable"}
    assert all("boom" in f.reason and f.attempts == 0 for f in failed)
    assert len(workspace.generate.reasons(VIEWER, job.id)) == 4
    assert workspace.db.value("SELECT count(*) FROM pairs") == 16

    job = finish(workspace, owner, workspace.generate.retry(owner, job.id))
    assert [f.attempts for f in workspace.generate.failures(VIEWER, job.id)] == [0] * 4
    assert len(stub.requests) == 24
    stub.behave = echo
    job = finish(workspace, owner, workspace.generate.retry(owner, job.id))
    assert (job.result["answered"], job.result["failed"]) == (20, 0)
    assert workspace.generate.failures(VIEWER, job.id) == []
    assert len(keys(workspace, job.id)) == len(set(keys(workspace, job.id))) == 20


def test_a_dead_server_stops_the_job_with_its_reason(workspace: Workspace, owner: Actor) -> None:
    add_teacher(workspace, owner, "http://127.0.0.1:1/v1", concurrency=4)
    add_seeds(workspace, 200)
    job = finish(
        workspace, owner, workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    )
    assert job.state is JobState.FAILED
    assert "cannot be reached at http://127.0.0.1:1/v1" in job.error
    assert workspace.db.value("SELECT count(*) FROM pairs") == 0
    assert 0 < len(workspace.generate.failures(VIEWER, job.id)) < 20


def test_cancel_is_quick_and_resume_asks_only_the_rest(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    def stalls(body: dict) -> Answer:  # after thirty answers
        return Answer(completion("ok"), delay_s=0.02 if len(stub.requests) <= 30 else 60)

    stub.behave = stalls
    add_teacher(workspace, owner, stub.url, concurrency=4)
    add_seeds(workspace, 120)
    job = workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    wait_for(lambda: len(stub.requests) > 30 and stub.in_flight == 4)
    time.sleep(0.1)
    cancelled_at = time.monotonic()
    workspace.jobs.cancel(owner, job.id)
    job = finish(workspace, owner, job)
    assert time.monotonic() - cancelled_at < 30
    assert job.state is JobState.CANCELLED
    stored = len(keys(workspace, job.id))
    assert 20 <= stored < 120
    assert job.result["answered"] == stored
    assert workspace.generate.failures(VIEWER, job.id) == []
    stub.behave = echo
    before = len(stub.requests)
    job = finish(workspace, owner, workspace.jobs.resume(owner, job.id))
    assert (job.state, job.result["answered"]) == (JobState.DONE, 120)
    assert len(stub.requests) - before == 120 - stored
    assert len(set(keys(workspace, job.id))) == 120


def test_seeds_added_or_deleted_meanwhile(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    stub.behave = lambda body: failure(500, "not yet")
    add_teacher(workspace, owner, stub.url, concurrency=1)
    ids = add_seeds(workspace, 10)
    job = finish(
        workspace, owner, workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    )
    assert job.state is JobState.FAILED
    add_seeds(workspace, 5, start=100)
    seeds.delete(workspace.db, ids[:3])
    stub.behave = echo
    job = finish(workspace, owner, workspace.generate.retry(owner, job.id))
    assert (job.state, job.total) == (JobState.DONE, 7)
    assert {seed_id for seed_id, _ in keys(workspace, job.id)} == set(ids[3:])


def test_refuses_what_cannot_work(workspace: Workspace, owner: Actor, stub: StubServer) -> None:
    add_teacher(workspace, owner, stub.url)
    add_seeds(workspace, 1)

    def start(*teachers: str, actor: Actor = owner, **fields: Any) -> Job:
        wish = GenerationWish(teachers=list(teachers), **fields)
        return workspace.generate.start(actor, wish)

    with pytest.raises(InvalidInput, match="No teacher"):
        start()
    with pytest.raises(NotFound, match="no teacher 'Nobody'"):
        start("Nobody")
    with pytest.raises(NotFound, match="direct, best_of_n"):
        start("Stub", recipe="worst_of_n")
    with pytest.raises(InvalidInput, match="temperature 0"):
        start("Stub", recipe="best_of_n", n=2, sampling=SamplingParams(temperature=0))
    with pytest.raises(InvalidInput):
        start("Stub", recipe="best_of_n", n=0)
    with pytest.raises(NotAllowed):
        start("Stub", actor=VIEWER)
    add_teacher(workspace, owner, stub.url, "Keyed", key_env="NOT_SET_ANYWHERE")
    with pytest.raises(NeedsKey, match="NOT_SET_ANYWHERE"):
        start("Keyed")
    assert workspace.jobs.page(owner) == []
    other = workspace.jobs.submit  # a job of another kind is no generation
    workspace.jobs.register("noop", lambda context: {})
    job = workspace.jobs.wait(owner, other(owner, "noop", "", {}).id)
    with pytest.raises(InvalidInput):
        workspace.generate.retry(owner, job.id)
    assert not stub.requests


def test_a_job_waits_for_its_key_after_a_restart(settings: Settings, stub: StubServer) -> None:
    owner = Actor(user="owner", role=Role.OWNER)

    def stalls(body: dict) -> Answer:  # the app is to be closed before all is answered
        return Answer(completion("ok"), delay_s=0.05 if len(stub.requests) <= 6 else 60)

    stub.behave = stalls
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    teacher = TeacherConfig(name="Stub", kind="openai", model="m", base_url=stub.url, concurrency=2)
    workspace.teachers.save(owner, teacher, session_key="sk-1")
    add_seeds(workspace, 30)
    job = workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    with pytest.raises(Conflict):
        workspace.generate.retry(owner, job.id)
    wait_for(lambda: len(stub.requests) > 6)
    studio.close()
    stub.behave = echo

    studio = build_studio(settings)
    workspace = studio.workspace("main")
    job = finish(workspace, owner, job)
    assert job.state is JobState.NEEDS_KEY
    assert "sk-1" not in json.dumps(workspace.db.rows("SELECT * FROM jobs"), default=str)
    assert workspace.teachers.key(owner, "Stub", "sk-2") == [job.id]
    job = finish(workspace, owner, job)
    assert (job.state, job.result["answered"]) == (JobState.DONE, 30)
    assert len(set(keys(workspace, job.id))) == len(keys(workspace, job.id)) == 30
    assert stub.headers[-1]["authorization"] == "Bearer sk-2"
    studio.close()


def test_a_job_waits_for_the_token_of_the_hub(
    hub: FakeHub,
    workspace: Workspace,
    owner: Actor,
    stub: StubServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)  # nobody is logged in here
    monkeypatch.setattr(hub_tokens, "goes_to", lambda url: url == stub.url)
    teacher = TeacherConfig(
        name="Stub", kind="openai", model="m", base_url=stub.url, key_env="HF_TOKEN"
    )
    workspace.teachers.save(owner, teacher)
    workspace.hub.token(owner, "hf_ann")
    stub.behave = lambda body: Answer(completion("ok"), delay_s=60)
    add_seeds(workspace, 20)
    job = workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    workspace.jobs.cancel(owner, job.id)
    assert finish(workspace, owner, job).state is JobState.CANCELLED
    stub.behave = echo
    workspace.studio.session_keys.clear()  # as after a restart
    workspace.jobs.resume(owner, job.id)
    waiting = finish(workspace, owner, job)
    assert (waiting.state, waiting.waits_for) == (JobState.NEEDS_KEY, hub_tokens.HUB)
    assert workspace.teachers.key(owner, waiting.waits_for, "hf_ann") == [job.id]
    job = finish(workspace, owner, job)
    assert (job.state, job.result["answered"]) == (JobState.DONE, 20)
    assert stub.headers[-1]["authorization"] == "Bearer hf_ann"


_CHILD = """
import sys, time
from pathlib import Path
from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.settings import Settings
from distill_studio.services.generation_planning import GenerationWish
studio = build_studio(Settings(home=Path(sys.argv[1])))
me = Actor(user="owner", role=Role.OWNER)
workspace = studio.workspace("main")
workspace.generate.start(me, GenerationWish(teachers=["Stub"], recipe="best_of_n", n=2))
while True:
    print(workspace.db.value("SELECT count(*) FROM pairs"), flush=True)
    time.sleep(0.02)
"""


def test_kill_9_loses_nothing_and_doubles_nothing(settings: Settings, stub: StubServer) -> None:
    owner = Actor(user="owner", role=Role.OWNER)
    answered: list[str] = []
    is_killed = threading.Event()

    def behave(body: dict) -> Answer:
        if len(stub.requests) > 60:  # of 120: the kill comes before the end, however late
            is_killed.wait(120)
        time.sleep(0.02)
        answered.append(f"{body['messages'][-1]['content']}/{body['seed']}")
        return echo(body)

    stub.behave = behave
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    add_teacher(workspace, owner, stub.url, concurrency=4)
    ids = add_seeds(workspace, 60)
    studio.close()

    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(settings.home)],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        told = next(int(line) for line in child.stdout if int(line) >= 20)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
    is_killed.set()
    time.sleep(0.2)  # let the stub see the broken connections
    wait_for(lambda: not stub.in_flight)
    sent_before = len(answered)

    studio = build_studio(settings)
    workspace = studio.workspace("main")
    survived = workspace.db.rows("SELECT seed_id, sample, answer FROM pairs ORDER BY id")
    (job,) = workspace.generate.jobs(owner)
    job = finish(workspace, owner, job)
    assert (job.state, job.result["answered"]) == (JobState.DONE, 120)
    stored = keys(workspace, job.id)
    assert Counter(stored) == Counter((i, s) for i in ids for s in range(2))
    now = workspace.db.rows("SELECT seed_id, sample, answer FROM pairs ORDER BY id")
    assert now[: len(survived)] == survived
    assert len(survived) >= told, "what was seen as stored is there"
    assert len(answered) - 120 == sent_before - len(survived), "what is there is not asked twice"
    studio.close()


@pytest.mark.models
def test_the_starter_teacher_answers(workspace: Workspace, owner: Actor) -> None:
    rows = [Seed(messages=(Message(role="user", content="What is the capital of France?"),))]
    seeds.insert(workspace.db, rows)
    (starter,) = [t.name for t in workspace.teachers.page(owner)]
    sampling = SamplingParams(temperature=0, max_tokens=24)
    preview = workspace.generate.preview(
        owner, GenerationWish(teachers=[starter], sampling=sampling)
    )
    assert preview["first"]["model"] == "smollm2-135m-instruct"
    job = workspace.generate.start(owner, GenerationWish(teachers=[starter], sampling=sampling))
    assert job.kind == "generate_local"
    job = workspace.jobs.wait(owner, job.id, timeout_s=200)
    assert job.state is JobState.DONE
    (pair,) = workspace.generate.recent(owner, job.id)
    assert "Paris" in pair.answer
    assert pair.teacher == starter
    assert pair.completion_tokens > 3
    assert workspace.teachers.test(owner, starter).ok


def test_cost_and_estimate_follow_the_teachers_price_and_count_on_after_a_restart(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    add_seeds(workspace, 6)
    add_teacher(workspace, owner, stub.url, price_in=1000.0, price_out=2000.0)
    seen = workspace.generate.preview(owner, GenerationWish(teachers=["Stub"]))
    (estimate,) = seen["estimates"]
    assert estimate.usd > 0
    assert estimate.completion_tokens == 6 * 128  # half of the longest, before any answer
    job = finish(
        workspace, owner, workspace.generate.start(owner, GenerationWish(teachers=["Stub"]))
    )
    read, written = workspace.db.rows(
        "SELECT sum(prompt_tokens) AS r, sum(completion_tokens) AS w FROM pairs"
    )[0].values()
    assert job.result["cost_usd"] == pytest.approx((1000 * read + 2000 * written) / 1e6, abs=1e-6)
    workspace.db.cursor().execute("DELETE FROM pairs WHERE seed_id = (SELECT min(id) FROM seeds)")
    again = finish(workspace, owner, workspace.generate.retry(owner, job.id))
    assert again.result["cost_usd"] == pytest.approx(job.result["cost_usd"] * 7 / 6, rel=0.05)
    (estimate,) = workspace.generate.preview(owner, GenerationWish(teachers=["Stub"], seeds=ALL))[
        "estimates"
    ]
    assert estimate.completion_tokens == written


def test_log_probabilities_are_kept_beside_the_answer(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    def behave(body: dict[str, Any]) -> Answer:
        assert (body["logprobs"], body["top_logprobs"]) == (True, 2)
        top = [{"token": t, "logprob": p} for t, p in (("A", -0.1), ("B", -2.5))]
        content = [{"token": "A", "logprob": -0.1, "top_logprobs": top}]
        reply = completion("A")
        reply["choices"][0]["logprobs"] = {"content": content}
        return Answer(reply)

    stub.behave = behave
    add_seeds(workspace, 2)
    add_teacher(workspace, owner, stub.url)
    sampling = SamplingParams(top_logprobs=2)
    job = finish(
        workspace,
        owner,
        workspace.generate.start(owner, GenerationWish(teachers=["Stub"], sampling=sampling)),
    )
    pairs = workspace.generate.recent(owner, job.id)
    kept = logprobs.get(workspace.db, [pair.id for pair in pairs])
    assert len(kept) == 2
    for tokens in kept.values():
        assert [(t, round(p, 3)) for t, _, p in tokens[0].top] == [("A", -0.1), ("B", -2.5)]
