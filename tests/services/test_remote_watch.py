"""A Job that may run is never left alone, and a model that was made is never lost.

Jobs of the fake Hub stay as they are, as in `test_remote_hub`.
"""

import errno
import time
from typing import Any

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import JobState, RunState
from distill_studio.core.settings import Settings
from distill_studio.distill.events import Step
from distill_studio.hub.run_repository import RunRepository
from distill_studio.services import remote_events, remote_state
from distill_studio.services.workspace import Workspace
from distill_studio.store import jobs as jobs_table
from distill_studio.store import runs as runs_table
from tests.fake_hub import FakeHub
from tests.services.test_distill import freeze_some, spec
from tests.services.test_remote import until
from tests.services.test_remote_hub import BEGUN, MODEL, TOKEN, Far
from tests.services.test_remote_wishes import ann, begun, far, job_state, state_of, tiny, waits

__all__ = ["ann", "far", "tiny"]  # fixtures


def test_a_job_that_does_not_end_is_cancelled_until_it_has(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill_studio.services.remote_watch._ENDS_WITHIN", 2)
    refused = far.hub.fail("/cancel$", 409, times=6)
    far.job.stage = "RUNNING"
    far.makes(MODEL)
    assert far.over().state is RunState.DONE
    assert (refused.hits, far.job.stage) == (6, "CANCELED")
    assert not state_of(far).may_run
    folder = far.workspace.folder / "runs" / "far"
    remote_state.change(folder, is_over=False, is_taken=False, stage="RUNNING")
    far.job.stage = "RUNNING"  # as a former version left it
    far.workspace.distill.stop(far.owner, "far")
    assert far.over().state is RunState.DONE
    assert far.job.stage == "CANCELED"
    assert far.workspace.distill.student_folder("far").exists()
    far.workspace.distill.delete(far.owner, "far")


def test_another_machine_trains_on_while_a_token_is_refused(
    workspace: Workspace, owner: Actor, tiny: str, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = spec(freeze_some(workspace, owner), tiny, name="far")
    workspace.remote.start_elsewhere(owner, wanted)
    far = Far(workspace, owner, hub, is_job=False)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    waits(far)
    assert (far.run.state, state_of(far).is_over) == (RunState.RUNNING, False)
    assert "other machine" in far.run.error
    monkeypatch.setattr("distill_studio.hub.client._wait_s", lambda _: 0.01)
    another = hub.user("ann", "hf_another")
    down = hub.fail("/whoami-v2$", 503, after=1, times=5)  # one passes: as it is given
    workspace.hub.token(owner, another)
    until(lambda: down.hits == 5, 120)
    assert far.run.state is RunState.RUNNING
    far.makes(MODEL)
    assert far.over().state is RunState.DONE
    assert state_of(far).attempt == 1


def test_a_repository_that_is_not_seen_at_the_end_is_looked_for_again(far: Far) -> None:
    kept = dict(far.hub.repos)
    far.hub.repos.clear()  # as a token without a right to it sees it
    assert far.ends().state is RunState.FAILED
    assert not state_of(far).is_over
    far.hub.repos.update(kept)
    far.makes(MODEL)
    far.workspace.distill.resume(far.owner, "far")
    assert far.over().state is RunState.DONE
    assert len(far.hub.jobs) == 1
    assert state_of(far).attempt == 1


def test_a_full_disk_for_a_while_ends_no_watching(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, tries = remote_events._append, []

    def full(*args: Any) -> int:
        tries.append(1)
        if len(tries) < 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(*args)

    monkeypatch.setattr(remote_events, "_append", full)
    far.says(BEGUN, Step(step=1, total=3, loss=2.5, lr=0.1))
    until(lambda: "No space left" in far.run.error, 120)
    assert (job_state(far), far.run.state) == (JobState.RUNNING, RunState.RUNNING)
    until(lambda: far.run.metrics.get("step") == 1, 120)
    until(lambda: not far.run.error, 120)
    assert len(tries) == 5
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE


def test_a_full_disk_keeps_nobody_from_a_stop(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(remote_state, "save", full)
        far.workspace.distill.stop(far.owner, "far")
        until(lambda: far.job.stage == "CANCELED", 120)
    assert far.over().state is RunState.STOPPED
    assert not state_of(far).may_run


def test_a_job_that_nobody_watches_is_watched_from_the_next_start_on(
    settings: Settings, owner: Actor, tiny: str, hub: FakeHub
) -> None:
    first = build_studio(settings)
    far = begun(first.workspace("main"), owner, tiny, hub)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    db = far.workspace.db  # as an error of this machine left it
    jobs_table.update(db, far.run.job_id, state=JobState.FAILED, error="OSError: no space")
    runs_table.update(db, "far", state=RunState.FAILED)
    first.close()
    second = build_studio(settings)
    far.workspace = second.workspace("main")
    until(lambda: far.run.state is RunState.RUNNING, 120)
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE
    assert (len(hub.jobs), state_of(far).attempt) == (1, 1)
    second.close()


def test_a_restart_with_a_token_goes_on_with_what_a_sessions_token_began(
    settings: Settings, owner: Actor, tiny: str, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    first = build_studio(settings)
    first.workspace("main").hub.token(owner, TOKEN)
    far = begun(first.workspace("main"), owner, tiny, hub)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    assert far.workspace.jobs.get(owner, far.run.job_id).params["session_token"]
    first.close()
    remote_state.ask_stop(far.workspace.folder / "runs" / "far")  # a stop that nobody obeyed yet
    monkeypatch.setenv("HF_TOKEN", hub.user("ann", "hf_another"))
    second = build_studio(settings)
    far.workspace = second.workspace("main")
    assert far.over().state is RunState.STOPPED
    assert far.job.stage == "CANCELED"
    second.close()


def test_a_list_of_files_that_lags_behind_the_end_is_read_once_more(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, hidden = RunRepository.files, []

    def lagging(self: RunRepository, repo: str, folder: str, attempts: int = 1) -> dict[str, int]:
        is_seen = state_of(far).stage == "COMPLETED"  # by the look before this read
        if folder.endswith("/events") and not (is_seen and hidden):
            hidden.extend([folder] * is_seen)
            return {}
        return real(self, repo, folder, attempts)

    monkeypatch.setattr(RunRepository, "files", lagging)
    far.makes(MODEL)
    assert far.ends("COMPLETED").state is RunState.DONE
    assert len(hidden) == 1


def test_a_model_that_shows_late_is_fetched_and_not_paid_twice(far: Far) -> None:
    assert far.ends("COMPLETED").state is RunState.FAILED
    assert state_of(far).is_over
    far.makes(MODEL)  # it was there, and the Hub did not show it
    far.workspace.distill.resume(far.owner, "far")
    assert far.over().state is RunState.DONE
    assert len(far.hub.jobs) == 1
    assert (state_of(far).attempt, state_of(far).before) == (1, None)


def test_a_resume_pays_the_price_of_the_day_on_a_machine_that_can(
    workspace: Workspace, owner: Actor, tiny: str, hub: FakeHub
) -> None:
    wanted = spec(freeze_some(workspace, owner), tiny, name="far", devices=2)
    workspace.remote.start(owner, wanted, "a10g-largex2", 30)
    far = Far(workspace, owner, hub)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    assert far.ends("CANCELED").state is RunState.STOPPED
    with pytest.raises(InvalidInput, match="wants 2 devices"):
        workspace.remote.resume(owner, "far", "a10g-small")
    assert (far.run.state, state_of(far).attempt, len(hub.jobs)) == (RunState.STOPPED, 1, 1)
    before = workspace.remote.status(owner, "far")
    assert before is not None
    assert before.is_paid_again
    dearer = [
        one.model_copy(update={"usd_per_minute": 2 * one.usd_per_minute})
        for one in workspace.remote.flavors(owner)
    ]
    workspace.remote._known = (time.monotonic(), dearer)
    workspace.distill.resume(owner, "far")
    after = workspace.remote.status(owner, "far")
    assert after is not None
    assert after.limit_usd == pytest.approx(2 * before.limit_usd)
    until(lambda: len(hub.jobs) == 2, 120)


def test_a_start_that_nobody_confirmed_is_not_said_to_train(
    workspace: Workspace, owner: Actor, tiny: str, hub: FakeHub
) -> None:
    hub.fail("/api/jobs/ann$", 503, method="POST")
    hub.fail("/api/jobs/ann$", 402, method="POST")
    wanted = spec(freeze_some(workspace, owner), tiny, name="far")
    workspace.remote.start(owner, wanted, "a10g-small", 30)
    far = Far(workspace, owner, hub, is_job=False)
    until(lambda: job_state(far) is JobState.NEEDS_KEY, 120)
    assert "wants credit" in far.run.error
    assert "Whether its Job was started is not known" in far.run.error
    assert "trains on" not in far.run.error
    assert not hub.jobs
    workspace.distill.stop(owner, "far")
    assert far.over().state is RunState.STOPPED


def test_a_model_that_cannot_be_written_leaves_no_job_alone(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("distill_studio.services.remote_watch._ENDS_WITHIN", 2)
    far.job.stage = "RUNNING"
    with monkeypatch.context() as patch:
        patch.setattr("distill_studio.services.remote_watch.take_model", full)
        far.makes(MODEL)
        assert far.over().state is RunState.FAILED
    assert (far.job.stage, state_of(far).may_run) == ("CANCELED", False)
    assert "only downloaded" in far.run.error
    far.workspace.distill.resume(far.owner, "far")
    assert far.over().state is RunState.DONE
    assert len(far.hub.jobs) == 1
