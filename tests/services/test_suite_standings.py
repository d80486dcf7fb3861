"""Models that fail, scores that are no verdict, prices: what the standings of a trial say."""

from collections.abc import Callable

import pytest

from distill_studio.core.errors import InvalidInput, TeacherError, Unavailable
from distill_studio.core.protocols import ChatModel
from distill_studio.core.records import JobState, TeacherConfig, TeacherKind
from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.evaluate.size_picture import picture, pictures, tradeoffs
from distill_studio.evaluate.suite_page import suite_page
from distill_studio.services.suite_report import gather
from distill_studio.teachers.scripted import ScriptedChatModel
from distill_studio.ui.panels.suites_html import standings_html
from tests.services.suite_models import SUMS, Scripted, adds, finish, upload


class Broken(Scripted):
    """One of the models cannot be loaded."""

    def source(self, card: ModelCard) -> Callable[[], ChatModel]:
        if card.id == "student:broken":
            raise Unavailable("Its weights are cut short.", "Train it again.")
        return super().source(card)


def test_a_model_that_always_fails_is_named_and_the_others_are_compared(
    workspace, owner, models, sums
):
    models["student:small"].fail_next(TeacherError("The server is busy."), times=4)
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", list(models)))
    trial = done.params["trial_id"]
    found = workspace.suites.standings(owner, trial)
    assert {row.card.label: row.score.value for row in found.rows} == {"big": 1.0, "raw": 0.0}
    assert (found.items, found.rows[1].retained.value) == (4, 0.0)
    assert found.notes == [
        "small failed on 4 of 4 answers (The server is busy.) and is not compared."
    ]
    html = standings_html(found)
    assert "small failed on 4 of 4 answers (The server is busy.)" in html
    assert "100.0%" in html
    assert found.can_be_completed
    page = suite_page(gather(workspace.db, sums, workspace.suites.trial(owner, trial), found, ()))
    assert "small failed on 4 of 4 answers" in page
    assert "Fieller's for ratios" in page
    assert "bootstrap" not in page


def test_a_model_that_failed_on_most_is_compared_when_asked_for(workspace, owner, models, sums):
    models["student:small"].fail_next(TeacherError("The server is busy."), times=3)
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", list(models)))
    trial = done.params["trial_id"]
    assert [one.failed for one in workspace.suites.standings(owner, trial).not_compared] == [3]
    found = workspace.suites.standings(owner, trial, with_failed=True)
    small = next(row for row in found.rows if row.card.label == "small")
    assert (small.items, small.failed, small.against_teacher.mean.n) == (1, 3, 1)
    assert found.not_compared == []
    big = next(row for row in found.rows if row.card.label == "big")
    assert (big.items, big.score.value) == (4, 1.0)  # its own figure is over all that it answered


def test_without_its_teacher_nothing_takes_the_teachers_place(workspace, owner, models, sums):
    models["teacher:second"] = ScriptedChatModel("second", adds)
    models["teacher:big"].fail_next(TeacherError("Out of order."), times=4)
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", list(models)))
    found = workspace.suites.standings(owner, done.params["trial_id"])
    assert found.teacher == ""
    assert "nothing to measure the others by" in found.notes[-1]
    assert all(row.retained is None for row in found.rows)


def test_a_model_that_cannot_be_loaded_fails_alone(workspace, owner, models, sums):
    order = {"student:broken": ScriptedChatModel("broken", adds), **models}
    workspace.evaluate.comparable = Broken(workspace, order)
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", list(order)))
    assert (done.state, done.result["failed"]) == (JobState.DONE, 4)
    found = workspace.suites.standings(owner, done.params["trial_id"])
    assert {row.card.label for row in found.rows} == {"big", "small", "raw"}
    assert "Its weights are cut short. Train it again." in found.notes[0]
    events = workspace.jobs.events(owner, done.id)
    assert any("broken cannot be asked" in event["message"] for event in events)
    workspace.evaluate.comparable = Scripted(workspace, order)  # mended: asked again, alone
    asked = {name: model.calls for name, model in order.items()}
    finish(workspace, owner, workspace.suites.again(owner, done.params["trial_id"]))
    assert [n for n, m in order.items() if m.calls > asked[n]] == ["student:broken"]
    alone = finish(workspace, owner, workspace.suites.run(owner, "sums", ["student:broken"]))
    assert alone.state is JobState.DONE
    workspace.evaluate.comparable = Broken(workspace, order)
    alone = finish(workspace, owner, workspace.suites.run(owner, "sums", ["student:broken"]))
    assert (alone.state, alone.error) == (
        JobState.FAILED, "Its weights are cut short. Train it again.",
    )  # fmt: skip


@pytest.mark.parametrize("scorer", [SuiteScorer.CHOICE, SuiteScorer.LIKELIHOOD])
def test_likelihoods_are_asked_of_local_models_only(workspace, owner, tmp_path, scorer):
    workspace.teachers.save(
        owner,
        TeacherConfig(
            name="far", kind=TeacherKind.OPENAI, model="m", base_url="http://127.0.0.1:9/v1"
        ),
    )
    rows = [{"prompt": "Which?", "reference": "a", "choices": ["a", "b"]}]
    workspace.suites.add(owner, upload(workspace, tmp_path, rows), scorer, "which")
    with pytest.raises(InvalidInput, match="far does not run in this process"):
        workspace.suites.run(owner, "which", ["base:smollm2-135m-instruct", "teacher:far"])
    assert workspace.suites.trials(owner, "which") == []
    assert workspace.jobs.page(owner) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"temperature": 9}, "temperature: Input should be less than or equal to 5"),
        ({"top_p": 0}, "top_p: "),
        ({"max_tokens": 0}, "max_tokens: "),
        ({"most_items": -1}, "The first -1 prompts cannot be asked"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(workspace, owner, models, sums, values, said):
    with pytest.raises(InvalidInput, match=said):
        workspace.suites.run(owner, "sums", ["base:raw"], **values)
    assert workspace.suites.trials(owner, "sums") == []


def test_words_in_common_are_no_share_of_quality(workspace, owner, models, tmp_path):
    workspace.suites.add(owner, upload(workspace, tmp_path, SUMS), SuiteScorer.ROUGE_L, "words")
    done = finish(workspace, owner, workspace.suites.run(owner, "words", list(models)))
    found = workspace.suites.standings(owner, done.params["trial_id"])
    assert found.teacher == "teacher:big"
    assert [row.retained for row in found.rows] == [None] * 3
    assert [row.recovered for row in found.rows] == [None] * 3
    assert any(row.against_teacher for row in found.rows)
    html = standings_html(found)
    assert "Quality retained" not in html
    assert "no verdict" in html
    sized = found.model_copy(
        update={
            "rows": [
                row.model_copy(
                    update={"card": row.card.model_copy(update={"parameters": 10 ** (9 - n)})}
                )
                for n, row in enumerate(found.rows)
            ]
        }
    )
    drawn = picture(sized)
    assert drawn.count("<circle") == 3
    assert "Reported for" not in drawn
    assert "Reported for" in picture(sized.model_copy(update={"has_quality": True}))


def test_what_answers_cost_and_how_fast_they_are(workspace, owner, models, sums):
    config = TeacherConfig(
        name="big", kind=TeacherKind.OPENAI, model="m", base_url="https://api.example.com/v1",
        price_in=1.0, price_out=10.0,
    )  # fmt: skip
    workspace.teachers.save(owner, config)
    done = finish(workspace, owner, workspace.suites.run(owner, "sums", list(models)))
    trial = done.params["trial_id"]
    rows = {row.card.label: row for row in workspace.suites.standings(owner, trial).rows}
    big, small = rows["big"], rows["small"]
    assert big.mean_tokens
    assert big.mean_prompt_tokens
    assert big.usd_per_1000 == pytest.approx((big.mean_prompt_tokens + 10 * big.mean_tokens) / 1000)
    assert "per million tokens" in big.cost_basis
    assert (small.usd_per_1000, small.cost_basis) == (
        None, "no price known: say what the machine costs an hour",
    )  # fmt: skip
    assert small.tokens_per_s > 0
    assert small.card.written_tokens == 4 * small.mean_tokens
    assert small.tokens_per_s == pytest.approx(small.card.written_tokens / small.card.writing_s)
    workspace.suites.price(owner, trial, 3.6)
    found = workspace.suites.standings(owner, trial)
    small = next(row for row in found.rows if row.card.label == "small")
    assert small.usd_per_1000 == pytest.approx(small.mean_tokens / small.tokens_per_s)
    heads, lines = tradeoffs(found)
    assert heads[4] == "USD per 1,000 answers"
    assert {line[0]: bool(line[4]) for line in lines} == {"big": True, "small": True, "raw": True}
    html = pictures(found)
    assert 'id="ev-axis-cost"' in html
    assert "USD per 1,000 answers</text>" in html
    assert "ev-axis-size" not in html  # no size is known
    for wrong in (-1.0, float("nan"), 1e9):
        with pytest.raises(InvalidInput, match="no price"):
            workspace.suites.price(owner, trial, wrong)
    workspace.suites.price(owner, trial)
    assert workspace.suites.trial(owner, trial).usd_per_hour is None


def test_a_model_that_cannot_be_read_fails_alone(workspace, owner, models, tmp_path):
    """Scripted models give no likelihoods: each says so, and the next one is tried."""
    rows = [{"prompt": "Which?", "reference": "a"}]
    workspace.suites.add(owner, upload(workspace, tmp_path, rows), SuiteScorer.LIKELIHOOD, "which")
    asked = ["base:raw", "student:small"]
    done = finish(workspace, owner, workspace.suites.run(owner, "which", asked))
    assert done.state is JobState.FAILED  # none could be asked at all
    answers = workspace.suites.answers(owner, done.params["trial_id"])
    assert {a.model: "likelihoods cannot be read" in a.error for a in answers} == dict.fromkeys(
        asked, True
    )
