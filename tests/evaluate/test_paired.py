"""Means, differences and ratios of paired scores: against statsmodels, and by simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.power import TTestPower

from distill_studio.evaluate.paired import (
    difference,
    items_needed,
    mean_score,
    recovered,
    retained,
)


def singles(n: int) -> list[str]:
    """A cluster for each item."""
    return [f"{i:05d}" for i in range(n)]


def test_a_mean_has_the_interval_of_a_t_test() -> None:
    scores = np.random.default_rng(0).random(40)
    found = mean_score(singles(40), scores)
    low, high = stats.t.interval(0.95, 39, scores.mean(), stats.sem(scores))
    assert (found.value, found.low, found.high) == pytest.approx((scores.mean(), low, high))
    assert found.n == 40


def test_clustered_errors_equal_those_of_a_regression() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), rng.integers(1, 7, size=12))
    scores = rng.normal(size=12)[groups] + rng.normal(size=len(groups))
    other = rng.normal(size=len(groups))
    found = difference([f"{g:03d}" for g in groups], scores, other)
    fit = sm.OLS(scores - other, np.ones(len(groups))).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    low, high = fit.conf_int()[0]
    assert found.se == pytest.approx(fit.bse[0])
    assert found.p_value == pytest.approx(fit.pvalues[0])
    assert (found.mean.low, found.mean.high) == pytest.approx((low, high))


def test_a_difference_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random(30), rng.random(30)
    found = difference(singles(30), first, second)
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)


@pytest.mark.parametrize("effect", [0.05, 0.2])
def test_items_needed_give_the_power_they_promise(effect: float) -> None:
    differences = np.random.default_rng(3).normal(scale=0.5, size=500)
    needed = items_needed(differences, effect)
    assert needed is not None
    scale = effect / np.std(differences, ddof=1)
    power = TTestPower().power(scale, nobs=needed, alpha=0.05)
    assert power == pytest.approx(0.8, abs=0.01)
    at_hand = difference(singles(500), differences, np.zeros(500)).detectable
    assert at_hand is not None
    assert items_needed(differences, at_hand) == pytest.approx(500, abs=1)


def test_what_is_kept_of_the_teacher() -> None:
    teacher, student = np.array([1.0, 1, 1, 0] * 20), np.array([1.0, 0, 1, 0] * 20)
    found = retained(singles(80), student, teacher)
    assert found.value == pytest.approx(2 / 3)
    assert found.low is not None
    assert found.high is not None
    assert 0.4 < found.low < 2 / 3 < found.high < 0.9
    guessed = retained(singles(80), student, teacher, chance=0.25)
    assert guessed.value == pytest.approx((0.5 - 0.25) / (0.75 - 0.25))
    base = np.array([0.0, 0, 1, 0] * 20)
    assert recovered(singles(80), student, base, teacher).value == pytest.approx(0.5)


def test_without_a_gap_there_is_no_share_of_it() -> None:
    zeros, ones = np.zeros(9), np.ones(9)
    assert retained(singles(9), ones, zeros).value is None
    assert "chance" in retained(singles(9), ones, np.full(9, 0.25), chance=0.25).why
    assert "no gap" in recovered(singles(9), zeros, ones, ones).why
    assert mean_score([], np.zeros(0)).value is None
    assert mean_score(["a", "a"], np.ones(2)).low is None
    same = difference(singles(9), ones, ones)
    assert (same.mean.value, same.mean.low, same.p_value) == (0.0, None, None)
    assert "All of them are the same" in same.mean.why
    assert items_needed(zeros, 0.03) is None
    assert retained(singles(9), ones, ones).low is None


def test_a_ratio_has_the_interval_of_a_test_of_each_ratio() -> None:
    """At both ends student - q teacher differs from 0 at exactly 5%, samples of a prompt as one."""
    rng = np.random.default_rng(5)
    clusters = [f"{q:02d}" for q in range(40) for _ in range(1 + q % 3)]
    teacher = (rng.random(len(clusters)) < 0.8).astype(float)
    student = teacher * (rng.random(len(clusters)) < 0.7)
    found = retained(clusters, student, teacher)
    assert found.low is not None
    assert found.high is not None
    for end in (found.low, found.high):
        assert difference(clusters, student, end * teacher).p_value == pytest.approx(0.05)


def test_a_gap_that_is_not_shown_has_no_interval() -> None:
    base = np.array([1.0, 0, 0, 1] * 10)
    teacher = np.array([0.0, 1, 1, 0] * 9 + [1, 1, 1, 1])
    found = recovered(singles(40), base + 0.1, base, teacher)
    assert found.value is not None
    assert (found.low, found.high) == (None, None)
    assert "do not show that there is a gap" in found.why
    chance = retained(singles(40), base, teacher, chance=0.5)
    assert (chance.low, "better than chance" in chance.why) == (None, True)


@pytest.mark.slow
def test_intervals_hold_what_they_promise() -> None:
    """A thousand simulated suites with known truth: 95% of the intervals contain it, +- 2."""
    rng = np.random.default_rng(4)
    questions, samples, rounds = 120, 2, 1000
    p_student, p_teacher = 0.45, 0.7
    clusters = [f"{q:03d}" for q in range(questions) for _ in range(samples)]
    hits = {"mean": 0, "difference": 0, "retained": 0}
    for _ in range(rounds):
        ease = np.repeat(rng.normal(scale=0.8, size=questions), samples)
        noise = rng.normal(size=(2, questions * samples))
        spread = np.sqrt(1 + 0.8**2)  # so that the shares over all questions are the given ones
        student, teacher = (
            (noise[k] + ease < stats.norm.ppf(p) * spread).astype(float)
            for k, p in enumerate((p_student, p_teacher))
        )
        mean = mean_score(clusters, student)
        gap = difference(clusters, student, teacher).mean
        kept = retained(clusters, student, teacher)
        for name, found, truth in (
            ("mean", mean, p_student),
            ("difference", gap, p_student - p_teacher),
            ("retained", kept, p_student / p_teacher),
        ):
            assert found.low is not None
            assert found.high is not None
            hits[name] += found.low <= truth <= found.high
    assert all(930 <= count <= 970 for count in hits.values()), hits
