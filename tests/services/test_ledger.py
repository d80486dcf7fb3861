"""What teachers were asked is kept, whatever became of the replies, and over restarts."""

import csv
import io
import json
from collections.abc import Iterator

import duckdb
import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor
from distill_studio.core.protocols import ChatReply, SamplingParams
from distill_studio.core.records import AskedTotals, JobState, Message, Seed, TeacherConfig
from distill_studio.core.records import TeacherKind as Kind
from distill_studio.core.settings import Settings
from distill_studio.generate.tally import Tally
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.services.workspace import Workspace
from distill_studio.store import seeds
from distill_studio.store.database import Database
from distill_studio.store.migrate import migrations
from tests.stub_openai import Answer, StubServer, completion, echo, failure

ANSWERS = {"right": "#### 4", "wrong": "#### 5"}


def play(body: dict) -> Answer:
    """Right, wrong, or an error inside, by what is asked."""
    (word,) = (w for w in ("right", "wrong", "broken") if w in body["messages"][-1]["content"])
    return Answer(completion(ANSWERS[word])) if word in ANSWERS else failure(500, "no")


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer(play)
    yield server
    server.close()


def add(workspace: Workspace, owner: Actor, stub: StubServer) -> None:
    rows = [
        Seed(messages=(Message(role="user", content=f"{word} {n}"),), reference="4")
        for word, count in (("right", 3), ("wrong", 4), ("broken", 2))
        for n in range(count)
    ]
    seeds.insert(workspace.db, rows)
    workspace.teachers.save(
        owner,
        TeacherConfig(
            name="Stub",
            kind=Kind.OPENAI,
            model="stub-1",
            base_url=stub.url,
            max_retries=0,
            price_in=1000.0,
            price_out=2000.0,
        ),
    )


def ended(workspace: Workspace, owner: Actor, job_id: str) -> JobState:
    return workspace.jobs.wait(owner, job_id, timeout_s=60).state


def test_useless_replies_count_and_a_restart_goes_on_counting(
    settings: Settings, owner: Actor, stub: StubServer
) -> None:
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    add(workspace, owner, stub)
    wish = GenerationWish(teachers=["Stub"], recipe="verified", sampling=SamplingParams(seed=1))
    job = workspace.generate.start(owner, wish)
    assert ended(workspace, owner, job.id) is JobState.DONE
    (first,) = workspace.generate.asked(owner, job.id)
    read, written = 7 * 5, 7 * 2  # as the stub counts them
    assert (first.requests, first.untold) == (9, 0)
    assert (first.prompt_tokens, first.completion_tokens) == (read, written)
    assert first.failures == {"not_verified": 4, "unreachable": 2}
    assert first.cost_usd == pytest.approx((1000 * read + 2000 * written) / 1e6)
    assert 0 < first.busy_s < 60
    studio.close()

    again = build_studio(settings)
    try:
        workspace = again.workspace("main")
        assert workspace.generate.asked(owner, job.id) == [first]
        workspace.generate.retry(owner, job.id)
        assert ended(workspace, owner, job.id) is JobState.DONE
        (second,) = workspace.generate.asked(owner, job.id)
        assert second.requests == 15, "those with an answer are not asked again"
        assert second.failures == {"not_verified": 8, "unreachable": 4}
        assert second.cost_usd == pytest.approx(first.cost_usd * 11 / 7)
        tried = workspace.generate.try_out(owner, wish.model_copy(update={"recipe": "direct"}))
        assert ended(workspace, owner, tried.id) is JobState.DONE
        (both,) = workspace.generate.asked(owner)
        (trial,) = workspace.generate.asked(owner, tried.id)
        assert trial.requests > 0
        assert both.requests == second.requests + trial.requests
        lines = list(csv.DictReader(io.StringIO(workspace.generate.asked_csv(owner))))
        assert [line["job_id"] for line in lines] == [tried.id, job.id]
        assert json.loads(lines[1]["failures"]) == second.failures
    finally:
        again.close()


def test_time_counts_once_while_requests_overlap() -> None:
    now = 0.0
    tally = Tally(lambda: now, AskedTotals(teacher="t", requests=2, busy_s=10.0))
    with tally.busy():
        now = 1.0
        with tally.busy():
            now = 3.0
        assert tally.totals("t").busy_s == 13.0
        now = 4.0
    now = 100.0
    tally.ended(ChatReply(key="k", text="x"))
    tally.ended(ChatReply(key="k", error_code="timeout", error="e"))
    found = tally.totals("t")
    assert (found.busy_s, found.requests, found.untold) == (14.0, 4, 1)
    assert found.failures == {"timeout": 1}


def test_older_jobs_are_counted_by_what_they_stored(settings: Settings, tmp_path) -> None:
    path = tmp_path / "studio.duckdb"
    with duckdb.connect(str(path)) as old:
        old.execute(
            "CREATE TABLE schema_migrations (number INTEGER PRIMARY KEY,"
            " applied_at TIMESTAMPTZ DEFAULT now())"
        )
        for number, sql in migrations():
            if number < 26:
                old.execute(sql)
                old.execute("INSERT INTO schema_migrations (number) VALUES (?)", [number])
        spent = json.dumps({"spent_usd": {'a "b"': 0.5}})
        old.execute(
            "INSERT INTO jobs (id, kind, title, state, user_name, params, result, done, note,"
            " error, created_at) VALUES ('j', 'generate', '', 'done', 'u', '{}',"
            " ?, 0, '', '', now())",
            [spent],
        )
        reply = json.dumps({"prompt_tokens": 5, "completion_tokens": 7})
        for n in range(3):
            old.execute(
                "INSERT INTO generation_steps VALUES ('j', 's', ?, 'answer', ?, '{}', ?, 7, now())",
                [n, 'a "b"', reply if n else "{}"],
            )
    db = Database(path)
    try:
        (row,) = db.rows("SELECT * FROM teacher_ledger")
        assert (row["teacher"], row["requests"], row["untold"]) == ('a "b"', 3, 1)
        assert (row["prompt_tokens"], row["completion_tokens"]) == (10, 14)
        assert row["cost_usd"] == 0.5
    finally:
        db.close()


def test_a_key_wakes_the_jobs_that_wait_for_it_and_no_other(
    settings: Settings, owner: Actor, stub: StubServer
) -> None:
    stub.behave = echo
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    seeds.insert(workspace.db, [Seed(messages=(Message(role="user", content="q"),))])
    for name in ("One", "Two"):
        config = TeacherConfig(name=name, kind=Kind.OPENAI, model="stub-1", base_url=stub.url)
        workspace.teachers.save(owner, config, session_key="k")
    wish = GenerationWish(teachers=["One"], seeds={"only_unanswered": False})
    stub.behave = lambda body: Answer(completion("late"), delay_s=30)
    jobs = {
        name: workspace.generate.start(owner, wish.model_copy(update={"teachers": [name]})).id
        for name in ("One", "Two")
    }
    studio.close()  # the jobs go on at the next start, which has no keys

    stub.behave = echo
    again = build_studio(settings)
    try:
        workspace = again.workspace("main")
        for name, job_id in jobs.items():
            assert ended(workspace, owner, job_id) is JobState.NEEDS_KEY
            assert workspace.jobs.get(owner, job_id).waits_for == name
        assert workspace.teachers.key(owner, "Two", "k") == [jobs["Two"]]
        assert ended(workspace, owner, jobs["Two"]) is JobState.DONE
        assert workspace.jobs.get(owner, jobs["One"]).state is JobState.NEEDS_KEY
    finally:
        again.close()
