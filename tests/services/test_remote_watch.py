"""A Job that may run is never left alone, and a model that was made is never lost.

Jobs of the fake Hub stay as they are, as in `test_remote_hub`.
"""

import pytest

from distill_studio.core.actor import Actor
from distill_studio.core.records import RunState
from distill_studio.services import remote_state
from distill_studio.services.workspace import Workspace
from tests.fake_hub import FakeHub
from tests.services.test_remote import until
from tests.services.test_remote_hub import MODEL, Far
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
