"""A suite scored by a judge: scores, what it wrote, what it could not, relatives, the way back."""

import json
from collections import Counter

import pytest

from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import JobState, Run, RunState, TeacherConfig, TeacherKind
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.judge import load_rubric
from distill_studio.store import agreement, preferences, runs
from distill_studio.store.preferences import PreferenceQuery
from distill_studio.teachers.scripted import ScriptedChatModel
from tests.services.suite_models import Scripted, finish, upload
from tests.stub_openai import Answer, StubServer, completion, failure

ASPECTS = [aspect.name for aspect in load_rubric().aspects]
ROWS = [
    {"prompt": "Why is the sky blue?", "topic": "sky"},
    {"prompt": "Why is grass green?", "reference": "Chlorophyll.", "topic": "earth"},
    *({"prompt": f"Why is stone number {n} grey?", "topic": "earth"} for n in range(10)),
]


def says(*scores: int) -> Answer:
    named = dict(zip(ASPECTS, scores, strict=True))
    return Answer(completion(json.dumps({"reason": "as <b>seen</b>", **named})))


def reply(body) -> Answer:
    """Models say how good they are; the judge believes them."""
    text = body["messages"][-1]["content"]
    if body["model"] != "judge-1":
        return Answer(completion("Well said." if body["model"] == "good-1" else "Dunno."))
    return says(5, 5, 4, 4) if "Well said." in text else says(2, 1, 1, 2)


@pytest.fixture
def stub(workspace, owner):
    server = StubServer(reply)
    for name, model in (("good", "good-1"), ("bad", "bad-1"), ("judge", "judge-1")):
        workspace.teachers.save(
            owner,
            TeacherConfig(
                name=name, kind=TeacherKind.OPENAI, model=model, base_url=server.url, max_retries=0
            ),
        )
    yield server
    server.close()


@pytest.fixture
def suite(workspace, owner, tmp_path) -> None:
    made = upload(workspace, tmp_path, ROWS, "why.jsonl")
    workspace.suites.add(owner, made, SuiteScorer.JUDGE)


def score(workspace, owner, models=("teacher:good", "teacher:bad"), judge="judge"):
    job = workspace.suites.run(owner, "why", list(models), judge=judge)
    return finish(workspace, owner, job)


def asked(stub) -> Counter:
    return Counter(body["model"] for body in stub.requests)


def test_scores_are_the_mean_of_the_aspects_from_0_to_1(workspace, owner, stub, suite):
    done = score(workspace, owner)
    assert (done.state, done.done, done.total) == (JobState.DONE, 48, 48)
    trial = workspace.suites.trial(owner, done.params["trial_id"])
    found = workspace.suites.standings(owner, trial.id)
    assert [(row.card.label, row.score.value) for row in found.rows] == [
        ("good", (4.5 - 1) / 4),
        ("bad", (1.5 - 1) / 4),
    ]
    assert {t: rows[0].score.value for t, rows in found.topics.items()}["earth"] == 0.875
    assert found.rows[1].against_teacher.mean.value == -0.75
    answer = workspace.suites.answers(owner, trial.id)[1]
    assert answer.reason.startswith("Instruction following 5, Honesty 5, Truthfulness 4")
    assert json.loads(answer.judged)["helpfulness"] == 4
    assert (trial.judge, trial.judge_model) == ("judge", "judge-1")
    assert trial.rubric == load_rubric().model_dump(mode="json")
    judged = [b["messages"][-1]["content"] for b in stub.requests if b["model"] == "judge-1"]
    assert sum("known to be right" in text and "Chlorophyll." in text for text in judged) == 2
    assert not any("good" in text or "bad-1" in text for text in judged)  # blind
    file = workspace.suites.report(owner, trial.id)
    html = (workspace.folder / "exports" / file.name).read_text(encoding="utf-8")
    assert "judge (judge-1)" in html
    assert "Scores by rubric, version 1" in html
    assert "most answers are neither perfect nor worthless" in html
    assert "as &lt;b&gt;seen&lt;/b&gt;" in html


def test_what_cannot_be_read_is_kept_as_it_came_and_only_the_judge_is_asked_again(
    workspace, owner, stub, suite
):
    def odd(body):
        text = body["messages"][-1]["content"]
        if body["model"] == "judge-1" and "sky" in text:
            return Answer(completion("Splendid <i>work</i>!"))
        if body["model"] == "judge-1" and "grass" in text:
            return failure(500, "out of order")
        return reply(body)

    stub.behave = odd
    done = score(workspace, owner)
    trial = done.params["trial_id"]
    assert done.result["failed"] == 4
    assert workspace.suites.standings(owner, trial).left_out == 2
    sky, _, grass, *_ = workspace.suites.answers(owner, trial)
    assert "What the judge wrote cannot be read" in sky.error
    assert (sky.judged, sky.score, sky.answer) == ("Splendid <i>work</i>!", None, "Dunno.")
    assert "The judge could not answer" in grass.error
    assert "out of order" in grass.error
    before = asked(stub)
    stub.behave = reply
    config = workspace.teachers.config("judge")
    workspace.teachers.save(owner, config.model_copy(update={"model": "other-1"}))
    other = finish(workspace, owner, workspace.suites.again(owner, trial))
    assert other.state is JobState.FAILED
    assert "judge is other-1 now, and judge-1 judges this result" in other.error
    assert asked(stub) == before
    workspace.teachers.save(owner, config)
    again = finish(workspace, owner, workspace.suites.again(owner, trial))
    assert (again.state, again.done, again.total) == (JobState.DONE, 48, 48)
    assert asked(stub) - before == Counter({"judge-1": 4})
    assert workspace.suites.standings(owner, trial).items == 12
    (sky, *_) = workspace.suites.answers(owner, trial)
    assert (sky.error, sky.score) == ("", 0.125)


def test_silence_is_the_worst_answer_and_needs_no_judge(workspace, owner, stub, suite):
    workspace.evaluate.comparable = Scripted(
        workspace, {"base:silent": ScriptedChatModel("silent", lambda r: "")}
    )
    done = score(workspace, owner, ["base:silent"])
    assert workspace.suites.standings(owner, done.params["trial_id"]).rows[0].score.value == 0.0
    assert asked(stub)["judge-1"] == 0


def test_relatives_of_the_judge_are_named(workspace, owner, stub, suite):
    for name, model in (("kin", "Qwen2.5-7B-Instruct"), ("elder", "qwen-max")):
        workspace.teachers.save(
            owner,
            TeacherConfig(name=name, kind=TeacherKind.OPENAI, model=model, base_url=stub.url),
        )
    warn = workspace.suites.judge_warning
    assert "scored model Qwen2.5-7B-Instruct are of one family" in warn(
        owner, "elder", ["teacher:good", "teacher:kin"]
    )
    assert warn(owner, "judge", ["teacher:good", "teacher:kin"]) == ""
    assert "judges its own answers" in warn(owner, "good", ["teacher:good"])
    done = score(workspace, owner, ["teacher:kin"], judge="elder")
    trial = workspace.suites.trial(owner, done.params["trial_id"])
    assert "one family, Qwen" in trial.judge_warning
    file = workspace.suites.report(owner, trial.id)
    html = (workspace.folder / "exports" / file.name).read_text(encoding="utf-8")
    assert "one family, Qwen" in html


def test_a_student_is_of_the_family_it_was_trained_from(workspace, owner, stub):
    for name, origin in (("first", "org/Qwen3-0.6B"), ("second", "run:first")):
        run = Run(
            name=name, method="sft", snapshot_id="s", state=RunState.DONE,
            config={"student": {"base_id": origin}},
        )  # fmt: skip
        runs.insert(workspace.db, run)
    workspace.teachers.save(
        owner,
        TeacherConfig(name="elder", kind=TeacherKind.OPENAI, model="qwen-max", base_url=stub.url),
    )
    said = workspace.suites.judge_warning(owner, "elder", ["student:second"])
    assert "second (from org/Qwen3-0.6B) are of one family" in said


def test_a_judge_is_chosen_where_one_is_asked_for(workspace, owner, stub, suite, tmp_path):
    with pytest.raises(InvalidInput, match=r"none was chosen.*Known are: .*judge"):
        workspace.suites.run(owner, "why", ["teacher:good"])
    with pytest.raises(NotFound, match="no teacher 'nobody'"):
        workspace.suites.run(owner, "why", ["teacher:good"], judge="nobody")
    made = upload(workspace, tmp_path, [{"prompt": "A?", "reference": "b"}], "exact.jsonl")
    workspace.suites.add(owner, made, SuiteScorer.EXACT)
    with pytest.raises(InvalidInput, match="not scored by a judge"):
        workspace.suites.run(owner, "exact", ["teacher:good"], judge="judge")


def test_what_is_sent_to_prefer_is_the_judges_and_does_not_measure_it(
    workspace, owner, stub, suite
):
    trial = score(workspace, owner).params["trial_id"]
    step = workspace.feedback.prefer(owner, trial, "bad")
    found = preferences.page(workspace.db, PreferenceQuery())
    assert len(found) == len(step.numbers) > 0
    assert {(one.source, one.user) for one in found} == {("judge", "judge")}
    assert agreement.judged_couples(workspace.db) == []
