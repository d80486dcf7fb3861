"""What is asked outside generation keeps limits over restarts, is in the ledger, and is closed."""

import asyncio
import csv
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor
from distill_studio.core.errors import Cancelled, TeacherError
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import (
    AskedTotals,
    Job,
    JobState,
    Message,
    TeacherConfig,
    TeacherKind,
)
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.services.asking import Asking
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import Workspace
from distill_studio.store import arena
from distill_studio.teachers import endpoints, openai_compatible
from tests.services.suite_models import finish, upload
from tests.services.test_arena import compared, verdict
from tests.services.test_feedback import SUMS
from tests.services.test_suite_judging import ROWS, reply
from tests.stub_openai import Answer, StubServer, completion

EACH_USD = 0.005  # five tokens are read, as the stub counts them
LIMIT_USD = 0.028  # the sixth answer passes it
USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
NEW = [
    "A baker sells eleven loaves and then thirteen more. How many loaves are sold in all?",
    "Anna wins forty marbles on Monday, twenty on Friday. What does she own by Sunday?",
    "Seven buses carry nine pupils each to the lake. Count the pupils that swim there.",
    "On a shelf stand six red books beside eight blue ones; write down their total.",
    "If every hen lays two eggs a day, what will five hens lay within a whole week?",
    "Two farmers share their ninety apples so that neither has any more. Who gets what?",
    "Tom runs three miles before breakfast but walks four afterwards: how far is that?",
    "From a rope of fifty metres, sailors cut twelve. Which length remains on deck?",
]


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer(reply)
    yield server
    server.close()


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list:
    """All HTTP clients that are opened for teachers."""
    made, real = [], endpoints.new_client

    def remember(*args: object, **options: object) -> object:
        made.append(real(*args, **options))
        return made[-1]

    for module in (endpoints, openai_compatible):
        monkeypatch.setattr(module, "new_client", remember)
    return made


@pytest.fixture
def restart(settings) -> Iterator[Callable[[], Workspace]]:
    """The workspace in a studio that has just been started; an earlier one is closed."""
    running: list[Studio] = []

    def start() -> Workspace:
        if running:
            running.pop().close()
        running.append(build_studio(settings))
        return running[0].workspace("main")

    yield start
    running.pop().close()


def add(workspace: Workspace, owner: Actor, stub: StubServer, name: str, **fields: float) -> None:
    """A teacher; with `spend_limit_usd` one that takes `EACH_USD` for an answer."""
    prices = {"price_in": 1000.0, "price_out": 0.0} if fields else {}
    workspace.teachers.save(
        owner,
        TeacherConfig(
            name=name, kind=TeacherKind.OPENAI, model=f"{name}-1", base_url=stub.url,
            max_retries=0, **prices, **fields,
        ),
    )  # fmt: skip


def asked(stub: StubServer, name: str) -> int:
    return Counter(body["model"] for body in stub.requests)[f"{name}-1"]


def ended(workspace: Workspace, owner: Actor, job: Job, state: JobState) -> Job:
    done = finish(workspace, owner, job)
    assert done.state is state, done.error
    return done


def totals(workspace: Workspace, owner: Actor, about: str) -> dict[str, AskedTotals]:
    return {each.teacher: each for each in workspace.generate.asked(owner, about)}


def all_closed(clients: list) -> bool:
    return bool(clients) and all(client.is_closed() for client in clients)


def test_a_judge_has_one_limit_for_all_models_of_a_suite_over_restarts(
    owner, stub, clients, restart, tmp_path
):
    workspace = restart()
    for name in ("good", "bad"):
        add(workspace, owner, stub, name)
    add(workspace, owner, stub, "judge", spend_limit_usd=LIMIT_USD)
    workspace.suites.add(owner, upload(workspace, tmp_path, ROWS, "why.jsonl"), SuiteScorer.JUDGE)
    models = ["teacher:good", "teacher:bad"]
    job = workspace.suites.run(owner, "why", models, judge="judge")
    failed = ended(workspace, owner, job, JobState.FAILED)
    assert "judge has cost 0.0300 USD in this job" in failed.error
    assert "spend limit, then resume" in failed.error
    assert "0.0300 USD so far" in failed.note
    assert asked(stub, "judge") == 6, "not six for each model"
    trial = job.params["trial_id"]
    found = totals(workspace, owner, trial)
    assert found["judge"].cost_usd == pytest.approx(6 * EACH_USD)
    assert found["judge"].failures == {"spend_limit": 18}
    assert (found["good"].requests, found["good"].cost_usd) == (12, 0.0)

    workspace = restart()
    again = workspace.suites.again(owner, trial)
    assert again.id != job.id
    ended(workspace, owner, again, JobState.FAILED)
    assert asked(stub, "judge") == 6, "what was spent before counts"
    add(workspace, owner, stub, "judge", spend_limit_usd=1.0)
    done = ended(workspace, owner, workspace.suites.again(owner, trial), JobState.DONE)
    assert (asked(stub, "judge"), asked(stub, "good")) == (24, 12)
    assert done.result["cost_usd"] == pytest.approx(24 * EACH_USD)
    assert "0.1200 USD so far" in done.note
    assert all_closed(clients)
    (row,) = [one for one in csv_rows(workspace, owner) if one["teacher"] == "judge"]
    assert (row["kind"], row["title"]) == ("suite", "2 models on why")


def csv_rows(workspace: Workspace, owner: Actor) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(workspace.generate.asked_csv(owner))))


def test_an_arena_judge_that_has_cost_enough_goes_on_by_a_resume(owner, stub, clients, restart):
    stub.behave = lambda body: verdict("A")
    workspace = restart()
    for number in range(5):
        compared(workspace, number, "big", "small")
    add(workspace, owner, stub, "court", spend_limit_usd=LIMIT_USD)
    job = workspace.arena.judge(owner, "court")
    failed = ended(workspace, owner, job, JobState.FAILED)
    assert "court has cost 0.0300 USD" in failed.error
    assert asked(stub, "court") == 6
    said = arena.counts_of_job(workspace.db, job.id)
    assert set(said) <= {"tie"}, "refused is not failed"

    workspace = restart()
    ended(workspace, owner, workspace.jobs.resume(owner, job.id), JobState.FAILED)
    assert asked(stub, "court") == 6
    add(workspace, owner, stub, "court", spend_limit_usd=1.0)
    done = ended(workspace, owner, workspace.jobs.resume(owner, job.id), JobState.DONE)
    assert done.result["said"] == {"tie": 5}, "A in both orders"
    again = 2 * (5 - said.get("tie", 0))  # where one of two orders was refused, both are asked
    assert asked(stub, "court") == 6 + again
    assert done.result["cost_usd"] == pytest.approx((6 + again) * EACH_USD)
    assert totals(workspace, owner, job.id)["court"].cost_usd == done.result["cost_usd"]
    assert all_closed(clients)


def test_new_prompts_of_the_way_back_go_on_counting(owner, stub, clients, restart, tmp_path):
    written = iter(NEW)

    def play(body: dict) -> Answer:
        text = body["messages"][-1]["content"]
        if "numbered list" in text:
            return Answer(completion(f"1. {next(written)}"))
        first, second = (int(word.strip("?")) for word in text.split()[2::2])
        return Answer(completion(str(first + second) if body["model"] == "big-1" else "7777"))

    stub.behave = play
    workspace = restart()
    add(workspace, owner, stub, "big")
    add(workspace, owner, stub, "small")
    add(workspace, owner, stub, "writer", spend_limit_usd=0.004)
    workspace.suites.add(owner, upload(workspace, tmp_path, SUMS), SuiteScorer.MATH)
    scored = workspace.suites.run(owner, "sums", ["teacher:big", "teacher:small"])
    trial = ended(workspace, owner, scored, JobState.DONE).params["trial_id"]
    job = workspace.feedback.seeds(owner, trial, "small", teacher="teacher:writer", each=1)
    batches = len(job.params["groups"])
    assert batches > 1
    failed = ended(workspace, owner, job, JobState.FAILED)
    assert "writer has cost 0.0050 USD" in failed.error
    assert asked(stub, "writer") == 1

    workspace = restart()
    ended(workspace, owner, workspace.jobs.resume(owner, job.id), JobState.FAILED)
    assert asked(stub, "writer") == 1
    add(workspace, owner, stub, "writer", spend_limit_usd=1.0)
    done = ended(workspace, owner, workspace.jobs.resume(owner, job.id), JobState.DONE)
    assert done.result["cost_usd"] == pytest.approx(asked(stub, "writer") * EACH_USD)
    assert done.result["new"] == asked(stub, "writer") >= batches
    assert all_closed(clients)


def streams(body: dict) -> Answer:
    return Answer(pieces=("Hello", " there"), usage=USAGE)


def test_a_set_stops_before_what_it_may_not_pay_and_a_resume_goes_on(owner, stub, clients, restart):
    stub.behave = streams
    workspace = restart()
    add(workspace, owner, stub, "dear", spend_limit_usd=0.012)
    add(workspace, owner, stub, "free")
    prompts = [f"Question {n}?" for n in range(5)]
    job = workspace.evaluate.compare_set(owner, ["dear", "free"], prompts=prompts)
    failed = ended(workspace, owner, job, JobState.FAILED)
    assert "dear has cost 0.0150 USD in this job" in failed.error
    assert (asked(stub, "dear"), asked(stub, "free")) == (3, 3), "no answer goes to waste"
    stored = workspace.evaluate.page(owner, set_id=job.id)
    assert [a.state.value for c in stored for a in c.answers] == ["done"] * 6

    workspace = restart()
    ended(workspace, owner, workspace.jobs.resume(owner, job.id), JobState.FAILED)
    assert asked(stub, "free") == 3
    add(workspace, owner, stub, "dear", spend_limit_usd=1.0)
    done = ended(workspace, owner, workspace.jobs.resume(owner, job.id), JobState.DONE)
    assert asked(stub, "dear") == 5
    assert done.result["cost_usd"] == pytest.approx(5 * EACH_USD)
    assert "0.0250 USD so far" in done.note
    assert all_closed(clients)


def test_comparisons_by_hand_are_in_the_ledger_also_when_they_are_left(
    workspace, owner, stub, clients
):
    stub.behave = streams
    add(workspace, owner, stub, "dear", spend_limit_usd=1.0)
    add(workspace, owner, stub, "free")
    first = workspace.evaluate.compare(owner, ["dear", "free"], "Hello?")
    found = totals(workspace, owner, first.id)
    assert [(one.requests, one.completion_tokens) for one in found.values()] == [(1, 2), (1, 2)]
    assert found["dear"].cost_usd == pytest.approx(EACH_USD)
    row = csv_rows(workspace, owner)[0]
    assert (row["job_id"], row["kind"], row["title"]) == (first.id, "compare", "Compare dear, free")
    assert row["started"]
    stub.behave = lambda body: Answer(pieces=("one", "late"), pause_s=30)

    async def leave() -> str:
        frames = workspace.evaluate.stream(
            owner, ["dear", "free"], [Message(role="user", content="x" * 40)], SamplingParams()
        )
        async with aclosing(frames):
            async for frame in frames:
                if all(answer.text for answer in frame.answers):
                    return frame.id
        pytest.fail("nobody answered")

    left = totals(workspace, owner, asyncio.run(leave()))
    assert (left["dear"].requests, left["dear"].untold) == (1, 1)
    assert left["dear"].cost_usd == pytest.approx(0.01), "ten tokens were read"
    (dear, _) = workspace.generate.asked(owner)
    assert (dear.teacher, dear.kinds) == ("dear", {"compare": 2})
    assert all_closed(clients)


def test_who_may_cost_no_more_says_so_in_its_pane(workspace, owner, stub, monkeypatch):
    stub.behave = streams
    add(workspace, owner, stub, "dear", spend_limit_usd=0.01)
    add(workspace, owner, stub, "free")
    make = workspace.teachers.model
    monkeypatch.setattr(workspace.teachers, "model", lambda name: make(name, spent_usd=0.02))
    found = workspace.evaluate.compare(owner, ["dear", "free"], "Hello?")
    dear, free = found.answers
    assert (dear.state.value, free.state.value) == ("failed", "done")
    assert dear.error == (
        "dear has cost 0.0200 USD in this job; the limit of one job is 0.01 USD. Raise the"
        " teacher's spend limit, then resume: what was answered is stored."
    )
    assert asked(stub, "dear") == 0


def test_a_stop_in_the_middle_leaves_no_client_and_keeps_the_count(
    workspace, owner, stub, clients, tmp_path
):
    def slow(body: dict) -> Answer:
        text = body["messages"][-1]["content"]
        if "number" not in text:  # two of twelve
            return reply(body)
        return Answer(completion("late"), delay_s=0.5 if "number 0" in text else 30)

    stub.behave = slow
    add(workspace, owner, stub, "good")
    add(workspace, owner, stub, "judge", spend_limit_usd=1.0)
    workspace.suites.add(owner, upload(workspace, tmp_path, ROWS, "why.jsonl"), SuiteScorer.JUDGE)
    job = workspace.suites.run(owner, "why", ["teacher:good"], judge="judge")
    while len(workspace.suites.answers(owner, job.params["trial_id"])) < 3:
        assert workspace.jobs.get(owner, job.id).state.is_active
        time.sleep(0.02)
    workspace.jobs.cancel(owner, job.id)
    ended(workspace, owner, job, JobState.CANCELLED)
    assert totals(workspace, owner, job.params["trial_id"])["good"].requests == 3
    assert all_closed(clients)
    assert json.loads(csv_rows(workspace, owner)[0]["failures"]) == {}


class Fake:
    """A model that ends without a word when it is stopped, as local ones do; and its job."""

    name = "fake"

    def __init__(self, error: str = "") -> None:
        self.cancel, self.error = CancelToken(), error
        self.asked: list[str] = []
        self.told: list[tuple] = []

    async def generate(self, requests, cancel):
        for request in requests:
            if cancel.is_cancelled:
                return
            self.asked.append(request.key)
            code = "teacher" if self.error else ""
            yield ChatReply(key=request.key, error_code=code, error=self.error)

    def progress(self, *told: object) -> None:
        self.told.append(told)

    def ask(self, workspace: Workspace, take: Callable[[ChatReply], str]) -> Counter[str]:
        message = (Message(role="user", content="Hello?"),)
        requests = (ChatRequest(key=str(k), messages=message) for k in range(300))
        return Asking(workspace, "job").each(
            self, requests, take, self, total=300, words=lambda said: f"{said['yes']} yes"
        )


def test_each_reply_is_taken_in_a_thread_and_halves_are_not_counted(workspace):
    fake, threads = Fake(), set()

    def take(reply: ChatReply) -> str:
        threads.add(threading.current_thread())
        return "yes" if int(reply.key) % 2 else ""

    assert fake.ask(workspace, take) == {"yes": 150}
    assert fake.asked == [str(k) for k in range(300)]
    assert (fake.told[0], fake.told[-1]) == ((0, 300, "asking"), (150, 300, "150 yes"))
    assert len(fake.told) == 151
    assert threading.current_thread() not in threads


def test_a_server_that_is_gone_is_asked_eight_times(workspace):
    fake = Fake("Nobody is there.")
    with pytest.raises(TeacherError, match="None of 8 requests was answered: Nobody is there"):
        fake.ask(workspace, lambda reply: "no")
    assert len(fake.asked) == 8


def test_a_stop_is_told_also_of_a_model_that_just_ends(workspace):
    fake, taken = Fake(), []

    def take(reply: ChatReply) -> str:
        taken.append(reply.key)
        if reply.key == "20":
            fake.cancel.cancel()
        return "yes"

    with pytest.raises(Cancelled):
        fake.ask(workspace, take)
    assert taken == fake.asked == [str(k) for k in range(21)]
