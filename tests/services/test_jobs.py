"""Jobs: they run, stop, fail in words, resume, and survive a restart."""

import threading
import time
from collections.abc import Callable

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.errors import Conflict, InvalidInput, Unavailable
from distill_studio.core.records import Job, JobState
from distill_studio.services.jobs import JobContext, NeedsKey
from distill_studio.services.lanes import Lanes
from distill_studio.services.studio import Studio
from distill_studio.store import jobs as jobs_table
from distill_studio.ui.panels.jobs import job_html


def test_a_job_runs_and_keeps_its_result_and_log(workspace, owner):
    def handler(context: JobContext) -> dict:
        context.log("counting")
        for number in range(3):
            context.progress(number + 1, 3, "counting")
        return {"sum": context.params["a"] + 1}

    workspace.jobs.register("count", handler)
    job = workspace.jobs.submit(owner, "count", "Count", {"a": 2})
    ended = workspace.jobs.wait(owner, job.id)
    assert ended.state is JobState.DONE
    assert (ended.result, ended.done, ended.total) == ({"sum": 3}, 3, 3)
    assert [e["message"] for e in workspace.jobs.events(owner, job.id)] == ["counting"]


@pytest.mark.parametrize("error", [None, InvalidInput("Row 7 is empty."), KeyError("x")])
def test_what_was_reported_last_stays_at_the_end(workspace, owner, error):
    def handler(context: JobContext) -> dict:
        for number in range(7):  # of nobody knows how many: at once, so most are not written
            context.progress(number + 1, None, f"{number + 1} rows read")
        if error:
            raise error
        return {}

    workspace.jobs.register("read", handler)
    ended = workspace.jobs.wait(owner, workspace.jobs.submit(owner, "read", "", {}).id)
    assert ended.state is (JobState.FAILED if error else JobState.DONE)
    assert (ended.done, ended.note) == (7, "7 rows read")


def test_failures_are_told_in_words_and_can_be_resumed(workspace, owner):
    tries = []

    def handler(context: JobContext) -> dict:
        tries.append(1)
        if len(tries) == 1:
            raise InvalidInput("Row 7 is empty.", "Fill it.")
        return {}

    workspace.jobs.register("flaky", handler)
    job = workspace.jobs.submit(owner, "flaky", "", {})
    failed = workspace.jobs.wait(owner, job.id)
    assert (failed.state, failed.error) == (JobState.FAILED, "Row 7 is empty. Fill it.")
    workspace.jobs.resume(owner, job.id)
    assert workspace.jobs.wait(owner, job.id).state is JobState.DONE


def test_an_unexpected_error_fails_the_job_not_the_lane(workspace, owner):
    def handler(context: JobContext) -> dict:
        raise KeyError("x")

    workspace.jobs.register("broken", handler, lane="compute")
    workspace.jobs.register("fine", lambda context: {}, lane="compute")
    broken = workspace.jobs.submit(owner, "broken", "", {})
    fine = workspace.jobs.submit(owner, "fine", "", {})
    assert workspace.jobs.wait(owner, fine.id).state is JobState.DONE
    assert "KeyError" in workspace.jobs.get(owner, broken.id).error


def test_cancel_stops_a_running_and_a_waiting_job(workspace, owner):
    started = threading.Event()

    def handler(context: JobContext) -> dict:
        started.set()
        while True:
            context.cancel.raise_if_cancelled()
            time.sleep(0.01)

    workspace.jobs.register("endless", handler, lane="compute")
    running = workspace.jobs.submit(owner, "endless", "", {})
    waiting = workspace.jobs.submit(owner, "endless", "", {})
    assert started.wait(60)
    with pytest.raises(Conflict):
        workspace.jobs.resume(owner, running.id)
    assert workspace.jobs.cancel(owner, waiting.id).state is JobState.CANCELLED  # at once
    assert workspace.jobs.cancel(owner, running.id).cancel_requested
    assert workspace.jobs.wait(owner, running.id).state is JobState.CANCELLED
    assert workspace.jobs.wait(owner, waiting.id).state is JobState.CANCELLED


def test_a_missing_key_is_a_state_of_its_own(workspace, owner):
    def handler(context: JobContext) -> dict:
        raise NeedsKey("The key of 'hosted' is gone.", "Give it again.")

    workspace.jobs.register("keyed", handler)
    job = workspace.jobs.submit(owner, "keyed", "", {})
    assert workspace.jobs.wait(owner, job.id).state is JobState.NEEDS_KEY


def test_a_running_job_goes_on_after_a_restart(settings, owner):
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    started = threading.Event()

    def endless(context: JobContext) -> dict:
        started.set()
        while True:
            context.cancel.raise_if_cancelled()
            time.sleep(0.01)

    workspace.jobs.register("work", endless)
    job = workspace.jobs.submit(owner, "work", "", {"x": 1})
    assert started.wait(60)
    studio.close()

    again = Studio(settings, resume_jobs=False)
    try:
        workspace = again.workspace("main")
        assert workspace.jobs.get(owner, job.id).state is JobState.RUNNING
        workspace.jobs.register("work", lambda context: {"seen": context.params["x"]})
        workspace.jobs.resume_all()
        ended = workspace.jobs.wait(owner, job.id)
        assert (ended.state, ended.result) == (JobState.DONE, {"seen": 1})
    finally:
        again.close()


def test_a_stop_outlives_the_process_that_was_to_notice_it(settings, owner):
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    started = threading.Event()

    def deaf(context: JobContext) -> dict:
        started.set()
        time.sleep(30)
        return {}

    workspace.jobs.register("deaf", deaf)
    job = workspace.jobs.submit(owner, "deaf", "", {})
    assert started.wait(60)
    workspace.jobs.cancel(owner, job.id)
    studio.close()

    again = Studio(settings, resume_jobs=False)
    try:
        workspace = again.workspace("main")

        def hears(context: JobContext) -> dict:
            context.cancel.raise_if_cancelled()
            return {}

        workspace.jobs.register("deaf", hears)
        workspace.jobs.resume_all()
        assert workspace.jobs.wait(owner, job.id).state is JobState.CANCELLED
    finally:
        again.close()


def test_stopped_while_it_waited_and_resumed_at_once(workspace, owner):
    go, runs = threading.Event(), []
    workspace.jobs.register("long", lambda context: {"left": go.wait(60)}, lane="compute")
    workspace.jobs.register("short", lambda context: {"run": runs.append(1)}, lane="compute")
    workspace.jobs.submit(owner, "long", "", {})
    waiting = workspace.jobs.submit(owner, "short", "", {})
    for _ in range(3):
        assert workspace.jobs.cancel(owner, waiting.id).state is JobState.CANCELLED
        assert workspace.jobs.resume(owner, waiting.id).state is JobState.QUEUED
    go.set()
    assert workspace.jobs.wait(owner, waiting.id).state is JobState.DONE
    workspace.jobs.register("last", lambda context: {}, lane="compute")
    workspace.jobs.wait(owner, workspace.jobs.submit(owner, "last", "", {}).id)
    assert runs == [1]  # the turns that it was stopped before are passed over


def test_an_end_that_is_told_can_be_resumed_from(workspace, owner):
    workspace.jobs.register("quick", lambda context: {})
    job = workspace.jobs.submit(owner, "quick", "", {})
    for _ in range(50):
        while workspace.jobs.get(owner, job.id).state is not JobState.DONE:
            pass
        workspace.jobs.resume(owner, job.id)
    assert workspace.jobs.wait(owner, job.id).state is JobState.DONE


def test_two_resumes_at_once_run_a_job_once(workspace, owner):
    runs, go = [], threading.Event()

    def handler(context: JobContext) -> dict:
        runs.append(1)
        go.wait(60)
        return {}

    workspace.jobs.register("once", lambda context: {})
    job = workspace.jobs.submit(owner, "once", "", {})
    workspace.jobs.wait(owner, job.id)
    time.sleep(0.1)
    workspace.jobs.register("once", handler)
    outcomes = []

    def resume() -> None:
        try:
            outcomes.append(workspace.jobs.resume(owner, job.id).id)
        except Conflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=resume) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    go.set()
    workspace.jobs.wait(owner, job.id)
    assert sorted(outcomes) == sorted([job.id, *["refused"] * 5])
    assert len(runs) == 1


def test_a_dead_process_leaves_a_job_that_can_be_revived(workspace, owner):
    workspace.jobs.register("left", lambda context: {"ran": True})
    orphan = Job(kind="left", user="owner", state=JobState.RUNNING)
    jobs_table.insert(workspace.db, orphan)
    workspace.jobs.revive(owner, orphan)
    assert workspace.jobs.wait(owner, orphan.id).result == {"ran": True}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def _threads(lane: str) -> int:
    return sum(one.name.startswith(f"{lane}-") for one in threading.enumerate())


def test_a_lane_has_the_threads_that_it_needs_and_no_more_and_none_in_the_end():
    lane = "lane-of-this-test"
    lanes = Lanes({lane: 3})
    assert _threads(lane) == 0
    for _ in range(5):  # one after the other: one thread does
        done = threading.Event()
        lanes.submit(lane, done.set)
        assert done.wait(60)
        wait_until(lambda: lanes._lanes[lane]._idle._value == 1)
    assert _threads(lane) == 1
    go, begun = threading.Event(), []
    for number in range(7):
        lanes.submit(lane, lambda number=number: (begun.append(number), go.wait(60)))
    wait_until(lambda: len(begun) == 3)
    assert _threads(lane) == 3
    go.set()
    wait_until(lambda: len(begun) == 7)
    assert sorted(begun) == list(range(7))
    lanes.close()
    wait_until(lambda: _threads(lane) == 0)
    lanes.submit(lane, lambda: begun.append("late"))
    assert "late" not in begun


def test_a_closed_studio_leaves_no_thread_of_a_lane(settings, owner):
    before = set(threading.enumerate())
    studio = build_studio(settings)
    jobs = studio.workspace("main").jobs
    jobs.register("noop", lambda context: {})
    jobs.wait(owner, jobs.submit(owner, "noop", "", {}).id)
    studio.close()
    lanes = ("compute-", "io-", "flow-", "watch-")
    wait_until(
        lambda: (
            not [
                one
                for one in threading.enumerate()
                if one not in before and one.name.startswith(lanes)
            ]
        )
    )


def leaves() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("fails", [lambda: 1 / 0, leaves])
def test_a_lane_outlives_work_that_raises(fails):
    lanes = Lanes({"compute": 1})
    done = threading.Event()
    lanes.submit("compute", fails)
    lanes.submit("compute", done.set)
    assert done.wait(60)


def test_a_lane_without_a_thread_refuses_and_works_later(monkeypatch):
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lanes, done = Lanes({"compute": 1}), threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError):
            lanes.submit("compute", lambda: None)
    lanes.submit("compute", done.set)
    assert done.wait(60)


def test_a_job_that_no_thread_takes_has_failed_and_can_be_resumed(workspace, owner, monkeypatch):
    def full(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    workspace.jobs.register("work", lambda context: {"ran": True})
    with monkeypatch.context() as patch:
        patch.setattr(workspace.studio.lanes, "submit", full)
        with pytest.raises(Unavailable, match="cannot start a thread"):
            workspace.jobs.submit(owner, "work", "", {})
    (job,) = workspace.jobs.page(owner, ["work"])
    assert job.state is JobState.FAILED
    workspace.jobs.resume(owner, job.id)
    assert workspace.jobs.wait(owner, job.id).result == {"ran": True}


def test_a_job_that_exits_has_failed(workspace, owner):
    workspace.jobs.register("leaves", lambda context: leaves())
    job = workspace.jobs.submit(owner, "leaves", "", {})
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert (ended.state, "SystemExit" in ended.error) == (JobState.FAILED, True)


@pytest.mark.parametrize("when", ["beginning", "ending"])
def test_a_job_whose_state_cannot_be_stored_is_not_stuck(workspace, owner, monkeypatch, when):
    real, failed = jobs_table.update, threading.Event()
    lost = JobState.RUNNING if when == "beginning" else JobState.DONE

    def full(db: object, job_id: str, **fields: object) -> None:
        if fields.get("state") in (lost, JobState.FAILED):
            failed.set()
            raise OSError("No space left on device")
        real(db, job_id, **fields)

    workspace.jobs.register("work", lambda context: {"ran": True})
    with monkeypatch.context() as patch:
        patch.setattr(jobs_table, "update", full)
        job = workspace.jobs.submit(owner, "work", "", {})
        assert failed.wait(60)
        wait_until(lambda: job.id not in workspace.jobs._tokens)
    assert workspace.jobs.get(owner, job.id).state.is_active
    workspace.jobs.resume(owner, job.id)
    assert workspace.jobs.wait(owner, job.id, 60).result == {"ran": True}


def test_a_job_that_waits_tells_what_it_waits_for(workspace, owner):
    may_end = threading.Event()
    workspace.jobs.register("long", lambda _: {"ok": may_end.wait(60)}, "compute")
    workspace.jobs.register("other", lambda _: {"ok": may_end.wait(60)})
    first = workspace.jobs.submit(owner, "long", "Find near-duplicates", {})
    aside = workspace.jobs.submit(owner, "other", "", {})
    wait_until(lambda: workspace.jobs.get(owner, first.id).state is JobState.RUNNING)
    second = workspace.jobs.submit(owner, "long", "Again", {})
    ahead = workspace.jobs.ahead(workspace.jobs.get(owner, second.id))
    assert ahead is not None
    assert ahead.id == first.id
    assert "Waits until this has ended: Find near-duplicates." in job_html(second, ahead)
    assert workspace.jobs.ahead(workspace.jobs.get(owner, aside.id)) is None
    may_end.set()
    assert workspace.jobs.wait(owner, second.id).state is JobState.DONE
