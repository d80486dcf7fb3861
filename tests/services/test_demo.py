"""Stopping the demo, and what its page says meanwhile. That it ends well: tests/test_demo.py."""

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed
from distill_studio.core.records import JobState
from distill_studio.services.demo import DemoService


def test_a_demo_that_runs_can_be_stopped_from_any_workspace(
    studio, workspace, owner, monkeypatch
) -> None:
    def wait(self, done) -> str:
        done.context.cancel.wait(600)
        return ""

    monkeypatch.setattr(DemoService, "_seeds", wait)
    with pytest.raises(InvalidInput, match="does not run"):
        workspace.demo.stop(owner)
    job = workspace.demo.start(owner)
    with pytest.raises(NotAllowed):
        workspace.demo.stop(Actor(user="v", role=Role.VIEWER))
    assert workspace.demo.stop(owner).id == job.id
    ended = studio.demo_workspace().jobs.wait(owner, job.id, timeout_s=60)
    assert ended.state is JobState.CANCELLED
    with pytest.raises(InvalidInput, match="does not run"):
        workspace.demo.stop(owner)
