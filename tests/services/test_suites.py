"""Suites: reading files, asking models once each, scoring, and what the standings say."""

import json
import math

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import (
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    TeacherError,
)
from distill_studio.core.records import JobState
from distill_studio.core.records.suite import SuiteScorer
from tests.services.suite_models import SUMS, finish, upload


def test_a_suite_keeps_its_prompts_in_order(workspace, owner, sums):
    assert (sums.name, sums.item_count, sums.source) == ("sums", 4, "sums.jsonl")
    items = workspace.suites.items(owner, "sums")
    assert [item.messages[-1].content for item in items] == [row["question"] for row in SUMS]
    assert [item.reference for item in items] == ["3", "7", "110", "150"]
    assert [item.topic for item in items] == ["small", "small", "big", "big"]
    assert [item.number for item in workspace.suites.items(owner, sums.id, after=2)] == [3]


def test_standings_say_what_the_student_keeps(workspace, owner, models, sums):
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", list(models)))
    assert done.state is JobState.DONE
    found = workspace.suites.standings(owner, done.params["trial_id"])
    assert [row.card.label for row in found.rows] == ["big", "small", "raw"]
    assert [row.score.value for row in found.rows] == [1.0, 0.5, 0.0]
    small = found.rows[1]
    assert (small.retained.value, small.recovered.value) == (0.5, 0.5)
    assert small.against_teacher.mean.value == -0.5
    assert found.rows[0].retained is None
    assert (found.items, found.left_out) == (4, 0)
    by_topic = {t: {r.card.label: r.score.value for r in rows} for t, rows in found.topics.items()}
    assert by_topic["small"]["small"] == 1.0
    assert by_topic["big"]["small"] == 0.0
    assert found.needed is not None


def test_a_failed_answer_leaves_its_prompt_out_for_all_and_is_asked_again(
    workspace, owner, models, sums
):
    models["student:small"].fail_next(TeacherError("The server is busy."))
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", list(models)))
    trial = done.params["trial_id"]
    found = workspace.suites.standings(owner, trial)
    assert (found.items, found.left_out) == (3, 1)
    assert {row.card.label: row.failed for row in found.rows} == {"big": 0, "small": 1, "raw": 0}
    by_label = {row.card.label: row for row in found.rows}
    assert (by_label["big"].score.n, by_label["small"].score.n) == (4, 3)
    assert by_label["small"].against_teacher.mean.n == 3  # what both answered
    assert by_label["raw"].against_teacher.mean.n == 4
    failed = [a for a in workspace.suites.answers(owner, trial) if a.error]
    assert [(a.model, a.error) for a in failed] == [("student:small", "The server is busy.")]
    asked = {name: model.calls for name, model in models.items()}
    again = finish(workspace, owner, workspace.suites.again(owner, trial))
    assert again.state is JobState.DONE
    assert {name: model.calls - asked[name] for name, model in models.items()} == {
        "teacher:big": 0,
        "base:raw": 0,
        "student:small": 1,
    }
    assert workspace.suites.standings(owner, trial).left_out == 0


def test_samples_are_answers_of_one_cluster(workspace, owner, models, sums):
    job = workspace.suites.run(owner, "sums", ["teacher:big"], samples=3, temperature=0.7)
    done = finish(workspace, owner, job)
    assert [r.sampling.seed for r in models["teacher:big"].requests] == [0, 1, 2] * 4
    row = workspace.suites.standings(owner, done.params["trial_id"]).rows[0]
    assert row.score.n == 12
    with pytest.raises(InvalidInput, match="same"):
        workspace.suites.run(owner, "sums", ["teacher:big"], samples=3)


def test_only_the_first_prompts_when_asked(workspace, owner, models, sums):
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", ["base:raw"], most_items=2))
    assert workspace.suites.standings(owner, done.params["trial_id"]).items == 2
    assert [t.most_items for t in workspace.suites.trials(owner, "sums")] == [2]


@pytest.mark.parametrize(
    ("rows", "scorer", "said"),
    [
        ([{"prompt": "Say so."}], SuiteScorer.MATH, "Line 1: there is no reference"),
        ([{"prompt": "Code.", "reference": ""}], SuiteScorer.UNIT_TESTS, "no tests"),
        ([{"prompt": "A?", "reference": "x"}], SuiteScorer.CHOICE, "no choices"),
        (
            [{"prompt": "A?", "reference": "x", "choices": ["a", "b"]}],
            SuiteScorer.CHOICE,
            "none of its choices",
        ),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(workspace, owner, tmp_path, rows, scorer, said):
    with pytest.raises(InvalidInput, match=said):
        workspace.suites.add(owner, upload(workspace, tmp_path, rows), scorer)


def test_bad_rows_are_left_out_and_named_and_the_rest_is_kept(workspace, owner, tmp_path):
    path = tmp_path / "mixed.jsonl"
    good = [json.dumps({"prompt": f"{n} + 1?", "reference": str(n + 1)}) for n in range(2)]
    lines = [good[0], json.dumps({"prompt": "No answer."}), "{ not JSON", good[1], '{"other": 1}']
    path.write_text("\n".join(lines), encoding="utf-8")
    made = workspace.suites.add(owner, workspace.studio.uploads.add(path), SuiteScorer.MATH)
    assert (made.item_count, made.left_out) == (2, 3)
    assert [one.line for one in made.problems] == [2, 3, 5]
    assert made.problems[0].reason == "there is no reference answer."
    items = workspace.suites.items(owner, "mixed")
    assert [(item.number, item.reference) for item in items] == [(0, "1"), (1, "2")]
    assert workspace.suites.get(owner, "mixed").item_count == 2


def test_the_right_choice_may_be_a_letter_a_number_or_its_text(workspace, owner, tmp_path):
    choices = ["stone", "apple", "B"]
    rows = [{"prompt": "Which?", "reference": r, "choices": choices} for r in ("A", "1", "B")]
    rows[1]["choices"] = {"text": choices, "label": ["A", "B", "C"]}
    workspace.suites.add(owner, upload(workspace, tmp_path, rows), SuiteScorer.CHOICE, "which")
    items = workspace.suites.items(owner, "which")
    assert [item.reference for item in items] == ["stone", "apple", "B"]
    assert {item.messages[-1].content for item in items} == {"Which?"}


def test_names_are_taken_once_and_forgotten_with_their_answers(
    workspace, owner, models, sums, tmp_path
):
    again = upload(workspace, tmp_path, SUMS)
    with pytest.raises(Conflict, match="exists already"):
        workspace.suites.add(owner, again, SuiteScorer.MATH)
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", ["base:raw"]))
    workspace.suites.delete(owner, "sums")
    assert workspace.suites.page(owner) == []
    with pytest.raises(NotFound):
        workspace.suites.standings(owner, done.params["trial_id"])
    assert workspace.db.value("SELECT count(*) FROM suite_answers") == 0


def test_roles(workspace, models, sums):
    viewer = Actor(user="guest", role=Role.VIEWER)
    assert workspace.suites.page(viewer)
    for act in (
        lambda: workspace.suites.run(viewer, "sums", ["base:raw"]),
        lambda: workspace.suites.add(viewer, "x", SuiteScorer.MATH),
        lambda: workspace.suites.delete(Actor(user="ann", role=Role.REVIEWER), "sums"),
    ):
        with pytest.raises(NotAllowed):
            act()


@pytest.mark.slow
def test_a_real_model_is_weighed_and_read(workspace, owner, tmp_path):
    """The starter model prefers sense to nonsense; its sums are read by their last number."""
    fruit = [
        {"prompt": f"Complete: The capital of {land} is", "reference": "A",
         "choices": [city, "Blorptown", "xqzt vvw"]}
        for land, city in [("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo")]
    ]  # fmt: skip
    add, base = workspace.suites.add, "base:smollm2-135m-instruct"
    add(owner, upload(workspace, tmp_path, fruit), SuiteScorer.CHOICE, "cities")
    done = finish(workspace, owner, workspace.suites.run(owner, "cities", [base]))
    assert done.state is JobState.DONE, done
    row = workspace.suites.standings(owner, done.params["trial_id"]).rows[0]
    assert row.score.value == 1.0
    assert row.card.parameters > 100e6
    said = [
        {"prompt": "Name the capital of France.", "reference": text}
        for text in ("The capital of France is Paris.", "Blorptown xqzt vvw qqq.")
    ]
    add(owner, upload(workspace, tmp_path, said), SuiteScorer.LIKELIHOOD, "said")
    done = finish(workspace, owner, workspace.suites.run(owner, "said", [base]))
    sense, nonsense = workspace.suites.answers(owner, done.params["trial_id"])
    assert sense.score > 10 * nonsense.score
    assert sense.score == pytest.approx(math.exp(-float(sense.reason.split()[3])), abs=1e-3)
    assert sense.tokens > 3
    add(owner, upload(workspace, tmp_path, SUMS[:1]), SuiteScorer.NUMERIC, "sums")
    job = workspace.suites.run(owner, "sums", [base], max_tokens=24)
    done = finish(workspace, owner, job)
    (answer,) = workspace.suites.answers(owner, done.params["trial_id"])
    assert answer.error == ""
    assert answer.score in (0.0, 1.0)
    assert answer.tokens > 0
