"""Who stands beside whom, and when a difference is called one."""

import pytest
from scipy import stats

from distill_studio.core.records.benchmark import BenchmarkScore, BenchmarkSettings
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.evaluate.harness.scoreboard import interval, main_figure, scoreboard

CARDS = {
    "t": ModelCard(id="teacher:big", label="big", role=ModelRole.TEACHER),
    "b": ModelCard(id="base:raw", label="raw", role=ModelRole.BASE),
    "s": ModelCard(id="student:small", label="small", role=ModelRole.STUDENT),
}


def score(value: float, stderr: float | None = 0.02, **fields: object) -> BenchmarkScore:
    given = {"task": "arc", "metric": "acc", "n": 500, "total": 500, "fingerprint": "f"} | fields
    return BenchmarkScore(value=value, stderr=stderr, **given)


def verdicts(teacher: BenchmarkScore, student: BenchmarkScore, base: BenchmarkScore | None = None):
    found = [("t", teacher), ("s", student)] + ([("b", base)] if base else [])
    board = scoreboard(BenchmarkSettings(), found, CARDS)
    cell = board.rows[-1].cells["arc"]
    return [one.verdict if one else None for one in (cell.teacher, cell.base)]


def test_an_interval_is_students_and_there_is_none_where_all_scored_the_same():
    found = interval(score(0.5, 0.1, n=10))
    low, high = stats.t.interval(0.95, 9, loc=0.5, scale=0.1)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert "All questions scored the same" in interval(score(1.0, 0.0)).why
    assert "no standard error" in interval(score(1.0, None)).why


@pytest.mark.parametrize(
    ("teacher", "student", "verdict"),
    [
        (0.60, 0.50, "worse"),
        (0.50, 0.60, "better"),
        (0.60, 0.53, "overlap"),  # 2.5 standard errors of the difference, yet they overlap
        (0.60, 0.60, "overlap"),
    ],
)
def test_a_difference_is_called_one_only_where_the_intervals_lie_apart(teacher, student, verdict):
    assert verdicts(score(teacher), score(student)) == [verdict, None]


def test_less_is_better_where_the_metric_says_so():
    pair = [score(value, is_higher_better=False) for value in (0.6, 0.5)]
    assert verdicts(*pair) == ["better", None]


@pytest.mark.parametrize(
    "change",
    [{"fingerprint": "g"}, {"version": "2"}, {"metric": "f1"}, {"n": 20}, {"shots": 5},
     {"filter": "strict"}],
)  # fmt: skip
def test_what_was_asked_otherwise_is_not_compared(change):
    assert verdicts(score(0.9), score(0.1, **change)) == ["other", None]


def test_without_an_interval_nothing_is_said():
    assert verdicts(score(1.0, 0.0), score(0.1)) == ["unknown", None]


def test_a_student_stands_beside_teacher_and_base_a_base_beside_the_teacher():
    assert verdicts(score(0.9), score(0.5), score(0.2)) == ["worse", "better"]
    board = scoreboard(
        BenchmarkSettings(),
        [("s", score(0.5)), ("b", score(0.2)), ("t", score(0.9))],
        CARDS,
    )
    assert [row.card.label for row in board.rows] == ["big", "raw", "small"]
    teacher, base, _ = (row.cells["arc"] for row in board.rows)
    assert (teacher.teacher, teacher.base, base.base) == (None, None, None)
    assert base.teacher
    assert base.teacher.verdict == "worse"


def test_the_figure_that_people_mean_is_shown_and_parts_of_a_group_are_not():
    two = [score(0.3, task="hellaswag"), score(0.4, task="hellaswag", metric="acc_norm")]
    assert main_figure(two).metric == "acc_norm"
    assert main_figure([score(0.3), score(0.4, metric="acc_norm")]).metric == "acc"
    found = [("t", score(0.5, task="mmlu")), ("t", score(0.5, task="mmlu_law", is_asked=False))]
    assert scoreboard(BenchmarkSettings(), found, CARDS).tasks == ["mmlu"]


def test_a_part_of_the_questions_is_smoke():
    board = scoreboard(BenchmarkSettings(limit=5), [("t", score(0.5, n=5))], CARDS)
    assert board.rows[0].cells["arc"].is_smoke


def test_settings_are_alike_whatever_the_batch_and_the_way_to_the_server():
    plain = BenchmarkSettings()
    assert plain.key == BenchmarkSettings(batch=1, api="completions").key
    others = [{"limit": 5}, {"shots": 5}, {"chat_template": False}, {"seed": 1}]
    keys = {BenchmarkSettings(**one).key for one in others}
    assert len(keys | {plain.key}) == 5
