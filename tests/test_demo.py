"""The demo, whole: it ends by itself with a trained student beside its teacher."""

import pytest

from distill_studio.core.records import JobState
from distill_studio.services.demo import DEMO_STAGES

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(1500)]


def test_the_demo_ends_with_a_trained_student(studio, workspace, owner):
    job = workspace.demo.start(owner)
    demo = studio.demo_workspace()
    ended = demo.jobs.wait(owner, job.id, timeout_s=1400)
    assert ended.state is JobState.DONE, ended.error
    assert list(workspace.demo.state(owner).facts) == list(DEMO_STAGES)
    counts = demo.overview.counts(owner)
    assert (counts["seeds"], counts["total"], counts["comparisons"]) == (50, 100, 2)
    assert counts["duplicate"] >= 1
    metrics = demo.distill.get(owner, "demo-sft").metrics
    assert metrics["loss_after"] < metrics["loss_before"]
    assert demo.demo.start(owner).id == job.id  # a second press starts nothing anew
