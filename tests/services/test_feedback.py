"""The way back: losses on a suite become preferences, seeds and a next training."""

from datetime import timedelta

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, TeacherError
from distill_studio.core.records import JobState, Run, RunState
from distill_studio.core.records.benchmark import BenchmarkRun, BenchmarkScore, BenchmarkSettings
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.feedback import FeedbackKind
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.services.model_facts import model_facts
from distill_studio.store import benchmarks, preferences, runs
from distill_studio.store import pairs as pair_table
from distill_studio.store import seeds as seed_table
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery
from distill_studio.teachers.scripted import ScriptedChatModel
from tests.services.suite_models import Scripted, adds, adds_small, finish, upload

SUMS = [
    {"question": f"What is {a} + {a + 1}?", "answer": str(2 * a + 1), "topic": topic}
    for start, topic in ((1, "small"), (50, "big"))
    for a in range(start, start + 8)
]
NEW = [
    "Please, what is {first}?",  # too like one that it was shown
    "A baker sells eleven loaves and then thirteen more. How many loaves did the baker sell?",
    "What is {first}?",  # copied
    "Draw a picture of two sums.",
    "Anna has forty marbles, wins twenty two and loses five. How many marbles are left to her?",
]


def writes(request):
    text = request.messages[-1].content
    if "numbered list" in text:
        first = text.partition("What is ")[2].partition("?")[0]
        return "\n".join(f"{n}. {one.format(first=first)}" for n, one in enumerate(NEW, 1))
    return adds(request)


@pytest.fixture
def models(workspace):
    models = {
        "teacher:big": ScriptedChatModel("big", writes),
        "student:small": ScriptedChatModel("small", adds_small),
        "student:none": ScriptedChatModel("none", lambda r: "no idea"),
    }
    workspace.evaluate.comparable = Scripted(workspace, models)
    return models


@pytest.fixture
def trial(workspace, owner, tmp_path, models) -> str:
    workspace.suites.add(owner, upload(workspace, tmp_path, SUMS), SuiteScorer.MATH)
    return score(workspace, owner, list(models))


def score(workspace, owner, names: list[str], **settings) -> str:
    job = workspace.suites.run(owner, "sums", names, **settings)
    return finish(workspace, owner, job).params["trial_id"]


def lost_numbers(workspace, owner) -> list[int]:
    """What `small` loses: big sums of the practice half."""
    items = workspace.suites.items(owner, "sums", limit=100)
    found = [i.number for i in items if i.is_practice and i.topic == "big"]
    assert 2 <= len(found) <= 6  # both halves have some
    return found


def test_what_was_lost_is_shown_in_groups_with_both_answers(workspace, owner, trial):
    lost = lost_numbers(workspace, owner)
    items = workspace.suites.items(owner, "sums", limit=100)
    view = workspace.feedback.view(owner, trial, "small")
    assert (view.tally.compared, view.tally.won) == (sum(i.is_practice for i in items), 0)
    assert view.waiting == lost
    assert sorted(n for g in view.groups for n in g.numbers) == lost  # of one topic: by words
    first, *_ = workspace.feedback.lost(owner, trial, "small", lost[::-1])
    assert first.item.number == lost[0]
    said = first.teacher.answer, first.student.answer
    assert said == (f"The answer is {first.item.reference}.", "The answer is 7.")
    groups = workspace.feedback.view(owner, trial, "none").groups
    assert {g.name for g in groups} == {"big", "small"}
    with pytest.raises(InvalidInput, match="Others are: small, none"):
        workspace.feedback.view(owner, trial, "big")


def test_losses_become_preferences_that_people_may_overrule(workspace, owner, trial):
    lost = lost_numbers(workspace, owner)
    step = workspace.feedback.prefer(owner, trial, "small")
    assert (step.kind, list(step.numbers)) == (FeedbackKind.PREFERENCES, lost)
    made = preferences.page(workspace.db, PreferenceQuery())
    facts = {(p.source, p.outcome, p.user) for p in made}
    assert (len(made), facts) == (len(lost), {("rule", "win", "suite sums")})
    rows = {p.id: p for p in workspace.review.page(owner, PairQuery(job_id=step.id, limit=100))}
    for one in made:
        best, worst = rows[one.chosen_pair_id], rows[one.rejected_pair_id]
        assert (best.teacher, worst.teacher, worst.answer) == ("big", "small", "The answer is 7.")
        assert (best.topic, best.seed_id) == ("big", one.seed_id)
        (seed,) = seed_table.get(workspace.db, [one.seed_id])
        assert seed.extra["feedback"] == step.id
    # in Prefer, blind; not among the answers that people review and train on
    asked = {task.messages[-1].content for task in workspace.prefer.queue(owner)}
    assert asked == {SUMS[n]["question"] for n in lost}
    assert workspace.review.page(owner, PairQuery()) == []
    assert workspace.freeze.preview(owner, format="preference").rows == len(lost)
    with pytest.raises(InvalidInput, match="nothing to send"):
        workspace.feedback.prefer(owner, trial, "small")


def test_sent_again_or_in_another_round_nothing_is_doubled(workspace, owner, trial):
    lost = lost_numbers(workspace, owner)
    workspace.feedback.prefer(owner, trial, "small")
    workspace.feedback.prefer(owner, trial, "small", lost[:1])
    later = score(workspace, owner, ["teacher:big", "student:small"])
    workspace.feedback.prefer(owner, later, "small")  # greedy models say the same again
    rows = pair_table.page(workspace.db, PairQuery(recipe=pair_table.WAY_BACK, limit=100))
    texts = [(p.seed_id, p.teacher, p.answer) for p in rows]
    assert len(texts) == len(set(texts)) == 2 * len(lost)
    made = preferences.page(workspace.db, PreferenceQuery())
    known = {p.id for p in rows}
    assert {i for p in made for i in (p.chosen_pair_id, p.rejected_pair_id)} == known


def test_a_prompt_that_is_twice_in_a_suite_is_sent_once(workspace, owner, tmp_path, models):
    rows = SUMS + SUMS
    workspace.suites.add(owner, upload(workspace, tmp_path, rows), SuiteScorer.MATH)
    trial = score(workspace, owner, list(models))
    step = workspace.feedback.prefer(owner, trial, "small")
    made = preferences.page(workspace.db, PreferenceQuery())
    assert len(made) == len(step.numbers) // 2
    ids = [i for p in made for i in (p.chosen_pair_id, p.rejected_pair_id)]
    assert len(pair_table.get(workspace.db, ids)) == 2 * len(made)


def test_the_practice_half_counts_no_more_and_an_unchanged_student_scores_the_same(
    workspace, owner, tmp_path, trial
):
    items = workspace.suites.items(owner, "sums", limit=100)
    exam = [i for i in items if not i.is_practice]
    assert workspace.suites.standings(owner, trial).items == 16
    workspace.feedback.prefer(owner, trial, "small")
    later = score(workspace, owner, ["teacher:big", "student:small"])
    for one in (trial, later):
        found = workspace.suites.standings(owner, one)
        assert (found.items, found.practice) == (len(exam), 16 - len(exam))
        small = next(row for row in found.rows if row.card.label == "small")
        assert small.score.value == sum(i.topic == "small" for i in exam) / len(exam)
    # the same prompts as another suite are known as well
    workspace.suites.delete(owner, "sums")
    workspace.suites.add(owner, upload(workspace, tmp_path, SUMS), SuiteScorer.MATH)
    again = score(workspace, owner, ["teacher:big", "student:small"])
    assert workspace.suites.standings(owner, again).practice == 16 - len(exam)


def test_a_teacher_writes_new_prompts_near_the_losses(workspace, owner, trial):
    lost = lost_numbers(workspace, owner)
    job = finish(workspace, owner, workspace.feedback.seeds(owner, trial, "small", each=4))
    assert job.state is JobState.DONE
    assert job.result["new"] == 2
    assert job.result["dropped"]
    found = seed_table.page(workspace.db)
    assert {seed.prompt for seed in found} == {NEW[1], NEW[4]}
    assert {seed.source for seed in found} == {"way back: sums"}
    assert set(found[0].extra["near"]) <= set(lost)
    (step,) = workspace.feedback.steps(owner, "sums")
    assert (step.kind, step.job_id) == (FeedbackKind.SEEDS, job.id)
    again = finish(workspace, owner, workspace.feedback.seeds(owner, trial, "small", each=4))
    assert (again.result["new"], again.result["known"]) == (0, 2)


def test_a_job_that_goes_on_asks_only_what_is_missing(workspace, owner, trial, models):
    job = finish(workspace, owner, workspace.feedback.seeds(owner, trial, "small", each=4))
    asked = []
    models["teacher:big"] = ScriptedChatModel("big", lambda r: asked.append(r) or writes(r))
    again = finish(workspace, owner, workspace.jobs.resume(owner, job.id))
    assert again.state is JobState.DONE
    assert again.result["new"] == 2
    assert len(asked) == len(again.params["groups"]) - len({
        seed.extra["batch"] for seed in seed_table.page(workspace.db)
    })


def test_an_unreadable_reply_is_said_and_the_job_goes_on(workspace, owner, trial, models):
    models["teacher:big"] = ScriptedChatModel("big", lambda r: "No.")
    job = finish(workspace, owner, workspace.feedback.seeds(owner, trial, "small"))
    assert (job.state, job.result["new"]) == (JobState.DONE, 0)
    assert job.result["unread"] >= 1
    assert "No." in workspace.jobs.events(owner, job.id)[-1]["message"]


def test_a_server_that_is_gone_fails_the_job_with_its_reason(workspace, owner, trial, models):
    def gone(request):
        raise TeacherError("Nobody is there.")

    working, models["teacher:big"] = models["teacher:big"], ScriptedChatModel("big", gone)
    job = finish(workspace, owner, workspace.feedback.seeds(owner, trial, "small", each=4))
    assert job.state is JobState.FAILED
    assert "Nobody is there." in job.error
    models["teacher:big"] = working
    again = finish(workspace, owner, workspace.jobs.resume(owner, job.id))
    assert (again.state, again.result["new"]) == (JobState.DONE, 2)


def test_the_next_training_waits_for_enough_preferences(workspace, owner, trial):
    assert "trained here" in workspace.feedback.proposal(owner, "student:small").reasons[0]
    config = {"student": {"base_id": "smollm2"}}
    run = Run(name="small", method="sft", snapshot_id="s", config=config, state=RunState.DONE)
    runs.insert(workspace.db, run)
    found = workspace.feedback.proposal(owner, "student:small")
    assert found.spec is None
    assert "8 at least" in found.reasons[0]
    with pytest.raises(Conflict):
        workspace.feedback.accept(owner, "student:small")
    for name in ("small", "none"):
        workspace.feedback.prefer(owner, trial, name)
    found = workspace.feedback.proposal(owner, "student:small")
    assert found.spec is not None
    assert (found.spec.method, found.spec.student) == ("dpo", "run:small")
    with pytest.raises(NotFound):  # its student has no files: the snapshot goes again
        workspace.feedback.accept(owner, "student:small")
    assert workspace.freeze.page(owner) == []


def test_rounds_come_from_whole_trials(workspace, owner, trial):
    score(workspace, owner, ["teacher:big", "student:small"], most_items=2)
    rounds = workspace.feedback.rounds(owner, "sums")
    assert [(r.number, r.card.label, r.score, r.trial_id) for r in rounds] == [
        (1, "none", 0.0, trial),
        (1, "small", 0.5, trial),
    ]


def test_a_run_trained_anew_does_not_inherit_the_score_of_its_name(workspace, owner, trial):
    run = Run(name="small", method="sft", snapshot_id="s")
    runs.insert(workspace.db, run)  # under the name of one that was deleted, after the trial
    assert [r.card.label for r in workspace.feedback.rounds(owner, "sums")] == ["none"]
    card = ModelCard(id="student:small", label="small", role=ModelRole.STUDENT)
    old, new = (
        BenchmarkRun(
            model=card, tasks=("arc",), settings=BenchmarkSettings(), state=RunState.DONE,
            created_at=run.created_at + timedelta(hours=hours),
        )
        for hours in (-1, 1)
    )  # fmt: skip
    for one, value in ((new, 0.6), (old, 0.9)):
        benchmarks.insert(workspace.db, one)
        scored = BenchmarkScore(
            task="arc", metric="acc", value=value, n=100, total=100, shots=0, stderr=None
        )
        benchmarks.add_scores(workspace.db, one.id, [scored])
    (figure,) = model_facts(workspace, owner, run).measured.values()  # no suite's, one benchmark's
    assert figure.startswith("0.6000")
    benchmarks.delete(workspace.db, new.id)
    assert model_facts(workspace, owner, run).measured == {}
    again = score(workspace, owner, ["teacher:big", "student:small"])
    assert [name[:10] for name in model_facts(workspace, owner, run).measured] == ["Suite sums"]
    found = {r.card.label: r.trial_id for r in workspace.feedback.rounds(owner, "sums")}
    assert found == {"none": trial, "small": again}


def test_shared_words_are_no_verdict(workspace, owner, tmp_path, models):
    workspace.suites.add(owner, upload(workspace, tmp_path, SUMS), SuiteScorer.ROUGE_L)
    trial = score(workspace, owner, list(models))
    assert not workspace.feedback.view(owner, trial, "small").is_verdict
    with pytest.raises(InvalidInput, match="ROUGE-L"):
        workspace.feedback.prefer(owner, trial, "none")


def test_who_may_do_what(workspace, trial):
    viewer = Actor(user="v", role=Role.VIEWER)
    assert workspace.feedback.view(viewer, trial, "small").suite == "sums"
    for call in (workspace.feedback.prefer, workspace.feedback.seeds):
        with pytest.raises(NotAllowed):
            call(viewer, trial, "small")
    with pytest.raises(NotAllowed):
        workspace.feedback.accept(viewer, "student:small")
