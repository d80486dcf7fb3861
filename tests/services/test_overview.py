"""The next step while a training is at work."""

from distill_studio.core.records import Job, JobState
from distill_studio.store import jobs


def test_a_training_at_work_is_watched(workspace, owner):
    assert workspace.overview.next_step(owner).tab == "seeds"
    job = Job(kind="train", title="Train first (SFT)", user="owner", state=JobState.RUNNING)
    jobs.insert(workspace.db, job)
    step = workspace.overview.next_step(owner)
    assert (step.tab, step.title) == ("distill", "Watch the training")
    assert "Train first (SFT)" in step.text
    jobs.update(workspace.db, job.id, state=JobState.DONE)
    assert workspace.overview.next_step(owner).tab == "seeds"
