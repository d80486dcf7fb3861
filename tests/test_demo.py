"""The demo, whole: it ends by itself with a trained student beside its teacher.

With half the updates of the distillation: docs/distillation.md has the figures of all of them.
"""

import pytest

from distill_studio.core.records import JobState
from distill_studio.services import demo as the_demo
from distill_studio.services.demo import DEMO_STAGES

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(1500)]


def test_the_demo_ends_with_a_trained_student(studio, workspace, owner, monkeypatch):
    monkeypatch.setattr(the_demo, "LOGIT_STEPS", 40)
    job = workspace.demo.start(owner)
    demo = studio.demo_workspace()
    ended = demo.jobs.wait(owner, job.id, timeout_s=1400)
    assert ended.state is JobState.DONE, ended.error
    assert list(workspace.demo.state(owner).facts) == list(DEMO_STAGES)
    counts = demo.overview.counts(owner)
    assert (counts["seeds"], counts["total"], counts["comparisons"]) == (50, 100, 2)
    assert counts["duplicate"] >= 1
    metrics = demo.distill.get(owner, "demo-logit").metrics
    assert metrics["kl_after"] < 0.8 * metrics["kl_before"]
    assert "it said “" in workspace.demo.state(owner).facts["logit"]
    samples = [e for e in demo.distill.follow("demo-logit")[1] if e.kind == "sample"]
    assert samples[0].step == 0
    assert samples[-1].answer != samples[0].answer
    assert demo.demo.start(owner).id == job.id  # a second press starts nothing anew
