"""The next step while a training is at work."""

from collections import Counter

import pytest

from distill_studio.core.records import Job, JobState, Message, Pair, Seed
from distill_studio.services.overview import next_step
from distill_studio.store import jobs, pairs, seeds


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"waiting": 1, "total": 1}, "1 pair waits for a decision. Only"),
        ({"waiting": 2, "total": 2}, "2 pairs wait for a decision. Only"),
        ({"unanswered": 1}, "1 seed has no answer yet."),
        ({"unanswered": 1200}, "1,200 seeds have no answer yet."),
        ({"total": 1, "accepted": 1, "usable": 1}, "1 accepted pair is ready."),
        ({"total": 3, "accepted": 3, "usable": 2}, "2 accepted pairs are ready."),
    ],
)
def test_a_number_and_its_noun_agree(counts, said):
    assert next_step(Counter({"seeds": 5, **counts})).text.startswith(said)


def test_a_training_at_work_is_watched(workspace, owner):
    assert workspace.overview.next_step(owner).tab == "seeds"
    job = Job(kind="train", title="Train first (SFT)", user="owner", state=JobState.RUNNING)
    jobs.insert(workspace.db, job)
    step = workspace.overview.next_step(owner)
    assert (step.tab, step.title) == ("distill", "Watch the training")
    assert "Train first (SFT)" in step.text
    jobs.update(workspace.db, job.id, state=JobState.DONE)
    assert workspace.overview.next_step(owner).tab == "seeds"


def test_what_curation_set_aside_waits_for_nobody(workspace, owner):
    seed = Seed(messages=(Message(role="user", content="Why?"),))
    seeds.insert(workspace.db, [seed])
    made = [
        Pair(seed_id=seed.id, messages=seed.messages, answer=text, recipe="direct", sample=n)
        for n, text in enumerate(("Because.", "It is so."))
    ]
    pairs.insert(workspace.db, made)
    assert workspace.overview.next_step(owner).text.startswith("2 pairs wait")
    for pair, left in zip(made, ("1 pair waits", "No answer waits"), strict=True):
        with workspace.db.write() as cursor:
            cursor.execute("UPDATE pairs SET curation = 'filtered' WHERE id = ?", [pair.id])
        assert workspace.overview.next_step(owner).text.startswith(left)
    assert workspace.overview.next_step(owner).tab == "curate"
