"""Candidates read by a model: opinions with its name, failures that show, people who win."""

import json
import threading

import pytest

from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import JobState, TeacherConfig, TeacherKind
from distill_studio.curate.filters import ContaminatedConfig, default_filters
from distill_studio.services import asking
from tests.services.test_leaks import (
    DUCKS,
    LONG,
    OTHER,
    REWORDED,
    WordCounts,
    done,
    states,
    store,
    upload,
)
from tests.stub_openai import Answer, StubServer, completion


def says(same, reason="because"):
    return Answer(completion(json.dumps({"reason": reason, "same": same})))


def by_text(body):
    """Yes to what is about geese, no words at all to what is about ships, else no."""
    text = body["messages"][-1]["content"]
    if "Training prompt:" not in text:
        return Answer(completion("What?"))
    prompt = text.split("Training prompt:")[1]
    if "ships" in prompt:
        return Answer(completion("Ships are large."))
    return says("yes", "only the names differ") if "geese" in prompt else says("no")


@pytest.fixture
def leaks(workspace, monkeypatch):
    made = WordCounts()
    monkeypatch.setattr(workspace.studio.models, "embedder", lambda *_: made, raising=False)
    return workspace.leaks


@pytest.fixture
def stub():
    server = StubServer()
    server.behave = by_text
    yield server
    server.close()


@pytest.fixture
def queued(workspace, leaks, owner, tmp_path, stub):
    """A queue of three texts, and the stub as the teacher `stub`."""
    leaks.add(owner, upload(workspace, tmp_path, [DUCKS]))
    texts = [(REWORDED, "19"), (OTHER, LONG), ("Why do ducks keep eggs, and how many?", "Many.")]
    ids = store(workspace, *texts)
    done(workspace, owner, leaks.find_candidates(owner))
    # The embedder of the tests is crude: what it finds too far away is put into the queue here.
    item = workspace.db.row("SELECT * FROM leak_items")
    workspace.db.insert(
        "leak_candidates",
        [
            {"pack": item["pack"], "item": 0, "similarity": 0.5, "rank": 0.1, "model": "t"}
            | {"text_hash": row["prompt_hash"]}
            for row in workspace.db.rows(
                "SELECT prompt_hash FROM pair_texts WHERE prompt_hash NOT IN"
                " (SELECT text_hash FROM leak_candidates)"
            )
        ],
    )
    config = TeacherConfig(
        name="stub", kind=TeacherKind.OPENAI, model="stub-1", base_url=stub.url, max_retries=0
    )
    workspace.teachers.save(owner, config)
    return ids


def candidates(leaks, owner, **which):
    return {c.pair_id: c for c in leaks.queue(owner, **which).candidates}


def test_opinions_stand_beside_candidates_and_remove_nothing(workspace, leaks, owner, queued):
    result = done(workspace, owner, leaks.ask(owner, "stub"))
    assert result["said"] == {"leak": 1, "not_leak": 1, "unreadable": 1}
    found = candidates(leaks, owner)
    geese, ships, ducks = (found[pair_id] for pair_id in queued)
    assert (geese.opinion, geese.opinion_by) == ("leak", "stub")
    assert geese.opinion_reason == "only the names differ"
    assert (ducks.opinion, ships.opinion) == ("not_leak", "unreadable")
    assert "Ships are large." in ships.opinion_reason  # a failure that shows
    assert (geese.verdict, geese.judged_by) == ("", "")
    report = leaks.report(owner, "sums")
    assert (report.open, report.leaks) == (3, 0)
    assert (report.model_leaks, report.model_not_leaks, report.model_failed) == (1, 1, 1)
    assert list(candidates(leaks, owner, opinion="leak")) == [queued[0]]
    assert list(candidates(leaks, owner, opinion="failed")) == [queued[1]]
    stored = workspace.db.rows("SELECT DISTINCT teacher, model, user_name FROM leak_opinions")
    assert stored == [{"teacher": "stub", "model": "stub-1", "user_name": "owner"}]
    assert workspace.curate.apply(owner).filtered == 0


def test_a_model_removes_rows_only_when_told_to_and_a_person_wins(workspace, leaks, owner, queued):
    done(workspace, owner, leaks.ask(owner, "stub"))
    heeding = [
        ContaminatedConfig(by_model=True) if one.kind == "contaminated" else one
        for one in default_filters()
    ]
    assert workspace.curate.apply(owner, filters=heeding).by_reason == {"contaminated": 1}
    assert states(workspace)[queued[0]] == ("filtered", "contaminated: sums, item 1: stub said so")
    geese = candidates(leaks, owner)[queued[0]]
    leaks.judge(owner, "sums", geese.item, geese.text_hash, "not_leak")
    assert workspace.curate.settle(owner).filtered == 0
    leaks.judge(owner, "sums", geese.item, geese.text_hash, "clear")
    assert workspace.curate.settle(owner).filtered == 1
    assert workspace.curate.apply(owner, filters=default_filters()).filtered == 0
    leaks.judge(owner, "sums", geese.item, geese.text_hash, "leak")
    assert workspace.curate.settle(owner).filtered == 1
    assert states(workspace)[queued[0]][1].endswith("a person said so")


def test_only_what_is_missing_is_asked_and_useless_replies_again(
    workspace,
    leaks,
    owner,
    queued,
    stub,
):
    done(workspace, owner, leaks.ask(owner, "stub", most=1))
    assert len(stub.requests) == 1
    done(workspace, owner, leaks.ask(owner, "stub"))
    assert len(stub.requests) == 3
    stub.behave = lambda _: says("unsure")
    done(workspace, owner, leaks.ask(owner, "stub"))  # the unreadable one alone
    assert len(stub.requests) == 4
    assert candidates(leaks, owner)[queued[1]].opinion == "unsure"
    assert leaks.report(owner, "sums").model_failed == 0
    done(workspace, owner, leaks.ask(owner, "stub"))
    assert len(stub.requests) == 4


def test_a_server_that_is_gone_fails_the_job_with_its_reason(workspace, leaks, owner, queued, stub):
    stub.behave = lambda _: Answer({"error": {"message": "No such key."}}, 401)
    job = workspace.jobs.wait(owner, leaks.ask(owner, "stub").id, 60)
    assert job.state is JobState.FAILED
    assert "None of 3 requests was answered" in job.error
    assert {c.opinion for c in candidates(leaks, owner).values()} == {"failed"}


def test_a_stopped_job_keeps_what_was_said_and_goes_on(workspace, leaks, owner, queued, stub):
    one_is_through = threading.Event()
    go_on = threading.Event()

    def slowly(body):
        if one_is_through.is_set():
            go_on.wait(120)
        one_is_through.set()
        return by_text(body)

    stub.behave = slowly
    config = workspace.teachers.config("stub").model_copy(update={"concurrency": 1})
    workspace.teachers.save(owner, config)
    job = leaks.ask(owner, "stub")
    while len(stub.requests) < 2:
        one_is_through.wait(0.05)
    workspace.jobs.cancel(owner, job.id)
    assert workspace.jobs.wait(owner, job.id, 60).state is JobState.CANCELLED
    go_on.set()
    assert workspace.db.value("SELECT count(*) FROM leak_opinions") == 1
    workspace.jobs.resume(owner, job.id)
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert ended.result["said"] == {"leak": 1, "not_leak": 1, "unreadable": 1}


def test_a_judge_at_its_spend_limit_says_nothing_of_the_rest_and_a_resume_asks_it(
    workspace, leaks, owner, queued, stub, monkeypatch
):
    monkeypatch.setattr(asking, "_FIRST", 1)
    monkeypatch.setattr(asking, "_AT_ONCE", 1)
    config = workspace.teachers.config("stub")
    priced = {"price_in": 1000.0, "price_out": 0.0}  # the stub reads five tokens: 0.005 USD
    limited = config.model_copy(update=priced | {"spend_limit_usd": 0.004})
    workspace.teachers.save(owner, limited)
    job = leaks.ask(owner, "stub")
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert (ended.state, len(stub.requests)) == (JobState.FAILED, 1)
    assert "stub has cost 0.0050 USD" in ended.error
    assert "0.0050 USD so far" in ended.note
    assert workspace.db.value("SELECT count(*) FROM leak_opinions") == 1
    (total,) = workspace.generate.asked(owner, job.id)
    assert total.failures == {"spend_limit": 1}, "the third is not begun"
    workspace.teachers.save(owner, limited.model_copy(update={"spend_limit_usd": 1.0}))
    workspace.jobs.resume(owner, job.id)
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert (ended.state, len(stub.requests)) == (JobState.DONE, 3)
    assert ended.result["said"] == {"leak": 1, "not_leak": 1, "unreadable": 1}


def test_there_must_be_something_to_read_and_somebody_to_ask(workspace, leaks, owner, queued):
    with pytest.raises(NotFound):
        leaks.ask(owner, "nobody")
    for c in candidates(leaks, owner).values():
        leaks.judge(owner, c.pack, c.item, c.text_hash, "not_leak")
    with pytest.raises(InvalidInput, match="no candidate"):
        leaks.ask(owner, "stub")


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(700)
def test_the_starter_model_as_a_judge(workspace, leaks, owner, queued):
    """It judges badly; whatever it writes is an opinion of one kind or a failure that shows."""
    starter = workspace.teachers.page(owner)[0].name
    job = workspace.jobs.wait(owner, leaks.ask(owner, starter, most=2).id, 600)
    assert job.state is JobState.DONE, job.error
    result = job.result
    assert sum(result["said"].values()) == 2
    read = [c for c in candidates(leaks, owner).values() if c.opinion]
    assert len(read) == 2
    for one in read:
        assert one.opinion_by == starter
        assert one.opinion_reason or one.opinion in ("leak", "not_leak", "unsure")
        if one.opinion == "unreadable":
            assert "It wrote:" in one.opinion_reason
    assert workspace.curate.apply(owner).filtered == 0
