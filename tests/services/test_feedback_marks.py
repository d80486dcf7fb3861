"""When the practice half of a suite stops to count, since when, how that is undone; rounds."""

from datetime import UTC, datetime, timedelta

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, NotAllowed, NotFound
from distill_studio.core.records import (
    JobState,
    Message,
    Outcome,
    Pair,
    Run,
    RunState,
    Seed,
    Vote,
)
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.feedback import Feedback, FeedbackKind
from distill_studio.core.records.suite import SuiteAnswer, Trial
from distill_studio.evaluate.suite_page import suite_page
from distill_studio.services.feedback_rounds import next_round, round_of
from distill_studio.services.suite_report import gather
from distill_studio.store import feedback as table
from distill_studio.store import migrate, pairs, preferences, runs, suites
from distill_studio.store import seeds as seed_table
from distill_studio.store.database import Database
from distill_studio.store.preferences import PreferenceQuery
from distill_studio.teachers.scripted import ScriptedChatModel
from distill_studio.ui.panels.feedback_html import lost_html, means_html
from tests.services.suite_models import finish
from tests.services.test_feedback import SUMS, models, score, trial  # noqa: F401  (fixtures)

START = datetime(2026, 1, 1, tzinfo=UTC)


def practice(workspace, owner, trial_id: str) -> int:
    """Prompts that do not count any more."""
    return workspace.suites.standings(owner, trial_id).practice


def stored(workspace) -> tuple[int, int, int]:
    count = "SELECT count(*) FROM"
    return tuple(workspace.db.value(f"{count} {t}") for t in ("preferences", "pairs", "seeds"))


def test_a_job_that_brings_nothing_retires_nothing(workspace, owner, trial, models):  # noqa: F811
    models["teacher:big"] = ScriptedChatModel("big", lambda r: "No.")
    job = finish(workspace, owner, workspace.feedback.seeds(owner, trial, "small"))
    assert (job.state, job.result["new"]) == (JobState.DONE, 0)
    assert practice(workspace, owner, trial) == 0
    view = workspace.feedback.view(owner, trial, "small")
    assert (view.marked, view.last) == (None, None)
    assert "Nothing was sent back." in lost_html(view)
    assert "count the" in means_html(view)
    with pytest.raises(Conflict, match="Nothing was sent"):
        workspace.feedback.undo(owner, view.steps[0].id)


def test_a_step_whose_job_cannot_start_is_not_there(workspace, owner, trial, monkeypatch):  # noqa: F811
    def killed(*_: object) -> None:
        raise RuntimeError("the power is gone")

    monkeypatch.setattr(workspace.jobs, "submit", killed)
    with pytest.raises(RuntimeError):
        workspace.feedback.seeds(owner, trial, "small")
    assert workspace.feedback.steps(owner, "sums") == []
    assert practice(workspace, owner, trial) == 0


def test_what_was_sent_is_said_before_dated_and_undone(workspace, owner, trial):  # noqa: F811
    items = workspace.suites.items(owner, "sums", limit=100)
    half = sum(item.is_practice for item in items)
    before = workspace.feedback.view(owner, trial, "small")
    assert (before.practice, before.exam) == (half, 16 - half)
    said = means_html(before)
    assert f"count the {16 - half} of the exam half only, and not these {half} any more" in said
    step = workspace.feedback.prefer(owner, trial, "small")
    assert practice(workspace, owner, trial) == half
    view = workspace.feedback.view(owner, trial, "small")
    assert (view.marked.id, view.last.id, view.waiting) == (step.id, step.id, [])
    assert f"Since {step.sent_at:%d %b %Y %H:%M} UTC (by {step.user})" in means_html(view)
    workspace.prefer.queue(owner)  # shown, but nobody voted
    with pytest.raises(NotAllowed):
        workspace.feedback.undo(Actor(user="v", role=Role.VIEWER), step.id)
    undone = workspace.feedback.undo(owner, step.id)
    assert (undone.undone_by, undone.is_live) == (owner.user, False)
    assert practice(workspace, owner, trial) == 0
    assert stored(workspace) == (0, 0, 0)
    assert workspace.prefer.queue(owner) == []
    after = workspace.feedback.view(owner, trial, "small")
    assert after.waiting == before.waiting
    assert "Undone " in lost_html(after)
    with pytest.raises(Conflict, match="was undone on"):
        workspace.feedback.undo(owner, step.id)
    with pytest.raises(NotFound):
        workspace.feedback.undo(owner, "nothing")
    again = workspace.feedback.prefer(owner, trial, "small")
    assert again.numbers == step.numbers
    assert practice(workspace, owner, trial) == half


def test_the_report_counts_losses_of_the_prompts_that_its_figures_count(
    workspace,
    owner,
    trial,  # noqa: F811
):
    asked = workspace.suites.trial(owner, trial)
    suite = workspace.suites.get(owner, "sums")

    def lost_by_small(left_out: set[int]) -> tuple[int, int, str]:
        found = workspace.suites.standings(owner, trial)
        report = gather(workspace.db, suite, asked, found, left_out)
        small = next(one for one in report.lost if one.label == "small")
        return small.compared, small.lost, suite_page(report)

    items = workspace.suites.items(owner, "sums", limit=100)
    half = {item.number for item in items if item.is_practice}
    exam = [item for item in items if not item.is_practice]
    compared, lost, page = lost_by_small(set())
    assert (compared, lost) == (16, 8)
    assert "exam half" not in page
    workspace.feedback.prefer(owner, trial, "small")
    compared, lost, page = lost_by_small(half)
    assert (compared, lost) == (len(exam), sum(item.topic == "big" for item in exam))
    assert "Of the exam half, as all figures above." in page
    written = workspace.suites.report(owner, trial)
    text = (workspace.folder / "exports" / written.name).read_text(encoding="utf-8")
    assert f"Of {len(exam)} prompts that both answered, worse on {lost}" in text


def test_new_prompts_mark_with_the_first_of_them_and_are_undone(workspace, owner, trial):  # noqa: F811
    job = finish(workspace, owner, workspace.feedback.seeds(owner, trial, "small", each=4))
    assert job.result["new"] == 2
    (step,) = workspace.feedback.steps(owner, "sums")
    assert (step.is_live, step.job_id) == (True, job.id)
    assert practice(workspace, owner, trial) > 0
    workspace.feedback.undo(owner, step.id)
    assert stored(workspace) == (0, 0, 0)
    assert practice(workspace, owner, trial) == 0
    resumed = finish(workspace, owner, workspace.jobs.resume(owner, job.id))
    assert resumed.state is JobState.FAILED
    assert "undone" in resumed.error
    assert stored(workspace) == (0, 0, 0)


def test_one_of_two_steps_is_undone_and_the_other_stands(workspace, owner, trial):  # noqa: F811
    first = workspace.feedback.prefer(owner, trial, "small")
    later = score(workspace, owner, ["teacher:big", "student:small"])
    second = workspace.feedback.prefer(owner, later, "small")  # the same answers: pairs are shared
    workspace.feedback.undo(owner, first.id)
    made = preferences.page(workspace.db, PreferenceQuery())
    assert {one.id for one in made} == set(second.made)
    wanted = [i for one in made for i in (one.chosen_pair_id, one.rejected_pair_id)]
    assert len(pairs.get(workspace.db, wanted)) == len(set(wanted))
    assert practice(workspace, owner, trial) > 0
    workspace.feedback.undo(owner, second.id)
    assert practice(workspace, owner, trial) == 0
    assert preferences.page(workspace.db, PreferenceQuery()) == []


def test_what_was_used_is_not_undone(workspace, owner, trial):  # noqa: F811
    step = workspace.feedback.prefer(owner, trial, "none")
    workspace.freeze.create(owner, "held", format="preference")
    with pytest.raises(Conflict, match="snapshot 'held' holds what was sent"):
        workspace.feedback.undo(owner, step.id)
    run = Run(name="gone", method="dpo", snapshot_id="gone", state=RunState.DONE)
    runs.insert(workspace.db, run)
    workspace.freeze.delete(owner, "held")
    with pytest.raises(Conflict, match="'gone' was trained after it"):
        workspace.feedback.undo(owner, step.id)
    runs.delete(workspace.db, "gone")
    task, *_ = workspace.prefer.queue(owner)
    workspace.prefer.vote(owner, [Vote(id="vote-0001", task_id=task.id, outcome=Outcome.LEFT)])
    with pytest.raises(Conflict, match="votes are kept"):
        workspace.feedback.undo(owner, step.id)
    assert practice(workspace, owner, trial) > 0


def test_answered_prompts_are_not_undone(workspace, owner, trial):  # noqa: F811
    finish(workspace, owner, workspace.feedback.seeds(owner, trial, "small", each=4))
    (step,) = workspace.feedback.steps(owner, "sums")
    seed, *_ = seed_table.page(workspace.db)
    pairs.insert(
        workspace.db,
        [Pair(seed_id=seed.id, messages=seed.messages, answer="Twenty four.", job_id="j")],
    )
    with pytest.raises(Conflict, match="have 1 answers by now"):
        workspace.feedback.undo(owner, step.id)
    assert practice(workspace, owner, trial) > 0


# -- rounds -------------------------------------------------------------------------------


def add_run(workspace, name: str, base: str, day: int, method: str = "sft", **fields) -> None:
    config = {"student": {"base_id": base}}
    runs.insert(
        workspace.db,
        Run(
            name=name, method=method, config=config, state=RunState.DONE,
            created_at=START + timedelta(days=day), **{"snapshot_id": "s", **fields},
        ),
    )  # fmt: skip


def send_back(workspace, student: str, day: int, **fields) -> None:
    table.insert(
        workspace.db,
        Feedback(
            trial_id="t", suite_id="s", student=f"student:{student}", kind=FeedbackKind.SEEDS,
            numbers=(0,), **{"sent_at": START + timedelta(days=day), **fields},
        ),
    )  # fmt: skip


def test_a_round_is_a_training_after_feedback(workspace):
    add_run(workspace, "plan-sft", "smollm2", 0)
    add_run(workspace, "plan-dpo", "run:plan-sft", 1, "dpo")  # the second stage of one plan
    assert (round_of(workspace, "plan-sft"), round_of(workspace, "plan-dpo")) == (1, 1)
    assert next_round(workspace, "plan-dpo") == 1
    send_back(workspace, "plan-dpo", 2, sent_at=None)  # brought nothing
    send_back(workspace, "plan-dpo", 2, undone_at=START)
    send_back(workspace, "other", 2)
    assert next_round(workspace, "plan-dpo") == 1
    send_back(workspace, "plan-dpo", 2)
    assert next_round(workspace, "plan-dpo") == 2
    add_run(workspace, "second", "run:plan-dpo", 3, "dpo")
    add_run(workspace, "early", "run:plan-dpo", 1.5, "dpo")  # before anything was sent back
    assert (round_of(workspace, "second"), round_of(workspace, "early")) == (2, 1)
    add_run(workspace, "third", "run:second", 4, "dpo")
    assert round_of(workspace, "third") == 2
    send_back(workspace, "second", 3.5)
    assert round_of(workspace, "third") == 3


def test_the_chart_of_rounds_reads_all_trials(workspace, owner, trial):  # noqa: F811
    suite = workspace.suites.get(owner, "sums")
    newer = ModelCard(id="student:newer", label="newer", role=ModelRole.STUDENT)
    for _ in range(51):
        one = Trial(suite_id=suite.id, models=(newer,))
        suites.add_trial(workspace.db, one)
    answers = [SuiteAnswer(model=newer.id, number=n, score=1.0) for n in range(len(SUMS))]
    suites.add_answers(workspace.db, one.id, answers)
    found = workspace.feedback.rounds(owner, "sums")
    assert {r.card.label: r.score for r in found} == {"newer": 1.0, "small": 0.5, "none": 0.0}


def test_steps_from_before_are_marked_where_they_sent_something(tmp_path, monkeypatch):
    path = tmp_path / "studio.duckdb"
    known = [one for one in migrate.migrations() if one[0] < 47]
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migrations", lambda: known)
        old = Database(path)
    said = Message(role="user", content="A new prompt?")
    seed_table.insert(old, [Seed(messages=(said,), extra={"feedback": "brought"})])
    for name, kind in (("liked", "preferences"), ("brought", "seeds"), ("stopped", "seeds")):
        old.insert(
            "feedback",
            [{"id": name, "trial_id": "t", "suite_id": name, "student": "student:x", "kind": kind,
              "numbers": [0], "job_id": "", "user_name": "ann", "created_at": START}],
        )  # fmt: skip
    old.close()
    db = Database(path)
    try:
        for name, is_live in (("liked", True), ("brought", True), ("stopped", False)):
            step = table.get(db, name)
            assert (step.is_live, step.made, step.user) == (is_live, (), "ann")
            assert table.was_sent_back(db, name, []) is is_live
    finally:
        db.close()
