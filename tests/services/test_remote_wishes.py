"""What a person wants of a rented machine, and what is made of it: starts, stops, other tokens.

Jobs of the fake Hub stay as they are, as in `test_remote_hub`.
"""

from pathlib import Path

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed
from distill_studio.core.records import JobState, RunState
from distill_studio.core.settings import Settings
from distill_studio.distill.events import Step
from distill_studio.services import remote_state
from distill_studio.services.remote_state import REMOTE_KIND, RemoteRun
from distill_studio.services.workspace import Workspace
from distill_studio.store import jobs as jobs_table
from distill_studio.store import runs as runs_table
from tests.fake_hub import FakeHub
from tests.fake_hub.jobs import FakeJob
from tests.services.test_distill import freeze_some, spec
from tests.services.test_remote import until
from tests.services.test_remote_hub import BEGUN, MODEL, TOKEN, Far
from tests.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_model(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture(autouse=True)
def ann(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.user("ann", TOKEN)
    hub.runs_jobs = False
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("distill_studio.services.remote_work.POLL_S", 0.1)
    monkeypatch.setattr("distill_studio.services.remote_work._LONGEST_POLL_S", 0.2)


@pytest.fixture
def far(workspace: Workspace, owner: Actor, tiny: str, hub: FakeHub) -> Far:
    """A run that is followed."""
    far = begun(workspace, owner, tiny, hub)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    return far


def begun(workspace: Workspace, owner: Actor, tiny: str, hub: FakeHub) -> Far:
    wanted = spec(freeze_some(workspace, owner), tiny, name="far")
    workspace.remote.start(owner, wanted, "a10g-small", 30)
    return Far(workspace, owner, hub)


def state_of(far: Far) -> RemoteRun:
    state = remote_state.load(far.workspace.folder / "runs" / "far")
    assert state is not None
    return state


def job_state(far: Far) -> JobState:
    return far.workspace.jobs.get(far.owner, far.run.job_id).state


def waits(far: Far) -> None:
    """The Hub does not know the token any more, and the app has seen it."""
    del far.hub.tokens[TOKEN]
    until(lambda: job_state(far) is JobState.NEEDS_KEY, 120)


@pytest.mark.parametrize("row", [RunState.RUNNING, RunState.FAILED])
def test_a_restart_pays_for_no_attempt_that_nobody_asked_for(
    settings: Settings, owner: Actor, tiny: str, hub: FakeHub, row: RunState
) -> None:
    first = build_studio(settings)
    far = begun(first.workspace("main"), owner, tiny, hub)
    assert far.ends("ERROR", "Job failed with exit code: 1.").state is RunState.FAILED
    assert state_of(far).is_over
    db = far.workspace.db  # as if it was killed before this was written
    jobs_table.update(db, far.run.job_id, state=JobState.RUNNING)
    runs_table.update(db, "far", state=row)
    first.close()
    second = build_studio(settings)
    far.workspace = second.workspace("main")
    until(lambda: job_state(far) is JobState.FAILED, 120)
    assert (len(hub.jobs), far.run.state) == (1, RunState.FAILED)
    assert "exit code: 1" in far.run.error
    far.workspace.remote.resume(owner, "far", "cpu-basic", 120)
    until(lambda: len(hub.jobs) == 2, 120)
    assert far.job.order["flavor"] == "cpu-basic"
    second.close()


def test_no_bad_hour_of_the_hub_cancels_a_job(far: Far) -> None:
    far.hub.fail("/resolve/", 503, times=40)
    far.hub.fail("/tree/", 407, times=3)
    far.hub.fail("/api/jobs/ann/", 404, times=1)
    far.says(BEGUN, Step(step=1, total=3, loss=2.5, lr=0.1))
    until(lambda: far.run.metrics.get("step") == 1, 120)
    assert far.job.stage == "SCHEDULING"
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE


def test_a_repository_that_is_gone_ends_no_watching_of_a_job_and_a_stop_the_job(far: Far) -> None:
    kept = dict(far.hub.repos)
    far.hub.repos.clear()
    until(lambda: "may still run" in far.run.error, 120)
    assert (far.run.state, far.job.stage) == (RunState.RUNNING, "SCHEDULING")
    with pytest.raises(Conflict, match="still runs"):
        far.workspace.distill.delete(far.owner, "far")
    far.hub.repos.update(kept)
    until(lambda: not far.run.error, 120)
    far.hub.repos.clear()
    far.workspace.distill.stop(far.owner, "far")
    assert far.over().state is RunState.STOPPED
    assert far.job.stage == "CANCELED"
    far.workspace.distill.delete(far.owner, "far")


@pytest.mark.parametrize("status", [404, 409, 400])
def test_a_stop_ends_when_the_hub_shows_the_end_not_before(far: Far, status: int) -> None:
    refused = far.hub.fail("/cancel$", status, times=3)
    looks = far.hub.fail("/api/jobs/ann/[0-9a-f]*$", 404, method="GET", times=3)
    far.workspace.distill.stop(far.owner, "far")
    assert far.over().state is RunState.STOPPED
    assert (refused.hits, looks.hits, far.job.stage) == (3, 3, "CANCELED")
    assert not state_of(far).may_run


def test_a_job_that_is_not_found_is_watched_while_the_list_has_it(far: Far) -> None:
    looks = far.hub.fail("/api/jobs/ann/[0-9a-f]*$", 404, method="GET", times=8)
    until(lambda: looks.hits == 8, 120)
    assert (far.run.state, far.job.stage) == (RunState.RUNNING, "SCHEDULING")
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE
    assert len(far.hub.jobs) == 1


def test_a_job_that_is_gone_is_paid_again_only_after_a_stop(far: Far) -> None:
    gone = dict(far.hub.jobs)
    far.hub.jobs.clear()
    run = far.over()
    assert (run.state, state_of(far).may_run) == (RunState.FAILED, True)
    status = far.workspace.remote.status(far.owner, "far")
    assert status is not None
    assert status.may_run, "the page has Stop"
    assert "Stop the run" in run.error
    with pytest.raises(Conflict, match="may still run"):
        far.workspace.distill.delete(far.owner, "far")
    with pytest.raises(Conflict, match="may still run"):
        far.workspace.studio.delete_workspace(far.owner, "main")
    far.workspace.distill.resume(far.owner, "far")
    assert far.over().state is RunState.FAILED
    assert not far.hub.jobs, "nothing is ordered beside a Job that may run"
    far.hub.jobs.update(gone)  # it was an outage
    far.workspace.distill.stop(far.owner, "far")
    assert far.over().state is RunState.STOPPED
    assert far.job.stage == "CANCELED"
    far.workspace.distill.resume(far.owner, "far")
    until(lambda: len(far.hub.jobs) == 2, 120)


@pytest.mark.parametrize("is_waiting", [True, False])
def test_a_stop_is_remembered_until_a_token_can_obey_it(far: Far, is_waiting: bool) -> None:
    if is_waiting:
        waits(far)
        far.workspace.distill.stop(far.owner, "far")
    else:
        del far.hub.tokens[TOKEN]
        far.workspace.distill.stop(far.owner, "far")
    until(lambda: job_state(far) is JobState.NEEDS_KEY, 120)
    assert far.run.state is RunState.RUNNING
    with pytest.raises(Conflict, match="still"):
        far.workspace.distill.delete(far.owner, "far")
    far.workspace.hub.token(far.owner, far.hub.user("ann", "hf_another"))
    assert far.over().state is RunState.STOPPED
    assert far.job.stage == "CANCELED"


def test_a_stop_while_a_start_is_lost_finds_the_job_and_cancels_it(
    workspace: Workspace, owner: Actor, tiny: str, hub: FakeHub
) -> None:
    hub.fail("/api/jobs/ann$", method="POST", cuts="after")
    hub.fail("/api/jobs/ann$", 503, method="GET", after=2, times=5)
    far = begun(workspace, owner, tiny, hub)
    workspace.distill.stop(owner, "far")
    assert far.over().state is RunState.STOPPED
    assert [job.stage for job in hub.jobs.values()] == ["CANCELED"]


@pytest.mark.parametrize("refusals", [0, 2])
def test_a_job_too_many_is_cancelled(
    settings: Settings, owner: Actor, tiny: str, hub: FakeHub, refusals: int
) -> None:
    first = build_studio(settings)
    far = begun(first.workspace("main"), owner, tiny, hub)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    first.close()
    hub.jobs["f" * 24] = FakeJob("f" * 24, "ann", far.job.order, far.job.folder)
    hub.fail(f"/{'f' * 24}/cancel$", 409, times=refusals)
    second = build_studio(settings)
    second.workspace("main")
    until(lambda: hub.jobs["f" * 24].stage == "CANCELED", 120)
    assert next(iter(hub.jobs.values())).stage == "SCHEDULING"
    second.close()


def test_another_job_of_the_same_run_touches_nothing(far: Far) -> None:
    jobs = far.workspace.jobs
    other = jobs.submit(far.owner, REMOTE_KIND, "Train far", {"run": "far"})
    jobs.cancel(far.owner, other.id)
    assert state_of(far).wanted == 1
    assert (len(far.hub.jobs), far.job.stage) == (1, "SCHEDULING")
    far.ends("CANCELED")
    ended = jobs.wait(far.owner, other.id, 120)
    assert "Another job" in ended.error


def test_anothers_token_takes_over_nothing(far: Far) -> None:
    waits(far)
    far.workspace.hub.token(far.owner, far.hub.user("bob", "hf_bob"))
    until(lambda: "token of bob" in far.run.error, 120)
    until(lambda: job_state(far) is JobState.NEEDS_KEY, 120)
    assert not state_of(far).is_over
    assert far.job.stage == "SCHEDULING"
    far.workspace.hub.token(far.owner, far.hub.user("ann", "hf_another"))
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE


def test_who_resumes_a_job_needs_the_role_of_its_kind(far: Far) -> None:
    waits(far)
    with pytest.raises(NotAllowed):
        far.workspace.jobs.resume(Actor(user="r", role=Role.REVIEWER), far.run.job_id)
    assert job_state(far) is JobState.NEEDS_KEY


def test_machine_and_limit_change_with_a_new_attempt_alone(tmp_path: Path) -> None:
    state = RemoteRun(kind="job", flavor="a10g-small", hub_job="1", is_ordered=True)
    remote_state.save(tmp_path, state)
    asked = remote_state.ask_again(tmp_path, {"flavor": "cpu-basic"})
    assert (asked.flavor, asked.attempt, asked.wanted) == ("a10g-small", 1, 1)
    remote_state.change(tmp_path, is_over=True)
    asked = remote_state.ask_again(tmp_path, {"flavor": "cpu-basic"})
    assert (asked.flavor, asked.attempt, asked.wanted) == ("cpu-basic", 2, 2)
    assert not asked.is_over
    assert not asked.may_run


@pytest.mark.parametrize("minutes", [5, 99_999_999, -1])
def test_a_limit_that_cannot_be_is_refused_and_nothing_is_ordered(far: Far, minutes: int) -> None:
    far.workspace.distill.stop(far.owner, "far")
    far.over()
    with pytest.raises(InvalidInput, match="cannot have"):
        far.workspace.remote.resume(far.owner, "far", limit_minutes=minutes)
    assert far.run.state is RunState.STOPPED
    assert len(far.hub.jobs) == 1


def test_a_job_that_waits_for_a_token_is_tried_again_at_the_next_start(
    settings: Settings, owner: Actor, tiny: str, hub: FakeHub
) -> None:
    first = build_studio(settings)
    far = begun(first.workspace("main"), owner, tiny, hub)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    waits(far)
    first.close()
    hub.user("ann", TOKEN)
    second = build_studio(settings)
    far.workspace = second.workspace("main")
    until(lambda: job_state(far) is JobState.RUNNING, 120)
    second.close()


def test_minutes_are_of_all_attempts() -> None:
    state = RemoteRun(kind="job", usd_per_minute=0.1).ran(61).again().ran(30)
    assert (state.paid_minutes, state.usd) == (3, pytest.approx(0.3))
