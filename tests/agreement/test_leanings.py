"""Leanings of a voter, scores of a judge, win rates at equal length."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binomtest, mannwhitneyu, t
from sklearn.linear_model import LogisticRegression

from distill_studio.agreement.bias import length_lean, position_lean
from distill_studio.agreement.bradley_terry import Meeting
from distill_studio.agreement.couples import couple_key, label_of
from distill_studio.agreement.length_control import LEAST, fit, length_controlled
from distill_studio.agreement.scores import separation
from distill_studio.core.estimate import share


@pytest.mark.parametrize(
    ("left", "right", "says"),
    [(30, 30, ""), (6, 3, ""), (45, 15, "to the left"), (15, 45, "to the right"), (0, 0, "")],
)
def test_a_lean_to_a_side_is_told_when_chance_is_excluded(left, right, says):
    found = position_lean(left, right)
    assert (says in found.warning) if says else not found.warning
    if left + right:
        reference = binomtest(left, left + right).proportion_ci(method="wilson")
        assert (found.share.low, found.share.high) == pytest.approx(tuple(reference))
    else:
        assert found.share.value is None
        assert found.share.why


def test_a_lean_to_length_is_set_beside_the_others():
    alike = length_lean(share(80, 100), share(78, 100))
    assert "much the same" in alike.remark
    assert not alike.warning
    assert "chance does not explain" in length_lean(share(80, 100), share(40, 100)).warning
    assert length_lean(share(50, 100), share(90, 100)).warning == ""
    assert "shorter" in length_lean(share(20, 100)).warning


def test_labels_of_a_couple_do_not_depend_on_the_sides():
    for n in range(50):
        a, b = f"pair-{n}-a", f"pair-{n}-b"
        assert couple_key(a, b) == couple_key(b, a)
        assert label_of(a, b, "left") == label_of(b, a, "right") == label_of(a, b, "win")
        assert label_of(a, b, "right") != label_of(a, b, "left")
        assert label_of(a, b, "tie") == label_of(b, a, "tie") == "tie"
    # The older one is no more often "the first" than a coin would say.
    firsts = sum(label_of(f"{n:03d}a", f"{n:03d}b", "left") == "first" for n in range(400))
    assert 150 < firsts < 250


def test_separation_equals_mann_whitney():
    rng = np.random.default_rng(1)
    kept = rng.random(200) < 0.6
    scores = np.round(rng.normal(3 + kept, 1.0) * 4) / 4
    found = separation(list(scores), list(kept), [f"p{n}" for n in range(200)])
    u = mannwhitneyu(scores[kept], scores[~kept]).statistic
    assert found.value == pytest.approx(u / (kept.sum() * (~kept).sum()))
    assert 0.6 < found.low < found.value < found.high < 0.9
    assert separation([1.0, 2.0], [True, True], ["a", "b"]).why


def test_length_control_takes_the_pull_of_length_out():
    """Both are equally good, length wins, and `wordy` is mostly the longer one."""
    rng = np.random.default_rng(2)
    meetings, lengths = [], []
    for n in range(600):
        gap = int(rng.normal(80, 100))
        wins = rng.random() < 1 / (1 + np.exp(-2 * np.tanh(gap / 100)))
        first, second = ("wordy", "brief") if wins else ("brief", "wordy")
        meetings.append(Meeting(f"p{n}", first, second))
        sizes = (400 + gap, 400)
        lengths.append(sizes if wins else sizes[::-1])
    found = length_controlled(meetings, lengths, anchor="brief")[0]
    assert found.plain > 0.62
    assert abs(found.rate.value - 0.5) < 0.1
    assert found.rate.low < 0.5 < found.rate.high
    assert found.slope > 1


def test_the_regression_equals_sklearn():
    rng = np.random.default_rng(3)
    x = np.tanh(rng.normal(size=300))
    outcome = (rng.random(300) < 1 / (1 + np.exp(-(0.4 + 1.2 * x)))).astype(float)
    found = fit(x, outcome, np.ones((1, 300)))[0]
    reference = LogisticRegression(C=1 / 0.1, tol=1e-10).fit(x[:, None], outcome)
    assert found == pytest.approx([reference.intercept_[0], reference.coef_[0, 0]], abs=1e-4)


def test_the_interval_at_equal_length_is_that_of_clustered_errors():
    """Statsmodels' logistic regression; ours has a ridge of 0.1 on the slope."""
    rng = np.random.default_rng(4)
    prompts = np.repeat(np.arange(150), rng.integers(1, 4, size=150))
    gaps = rng.normal(60, 100, size=len(prompts)).astype(int)
    x = np.tanh(gaps / gaps.std())
    wins = rng.random(len(x)) < 1 / (1 + np.exp(-(0.4 + x + rng.normal(size=150)[prompts])))
    meetings = [
        Meeting(f"p{p:03d}", *(("a", "b") if w else ("b", "a")))
        for p, w in zip(prompts, wins, strict=True)
    ]
    lengths = [(500 + g, 500) if w else (500, 500 + g) for g, w in zip(gaps, wins, strict=True)]
    found = length_controlled(meetings, lengths, anchor="b")[0]
    reference = sm.Logit(wins.astype(float), sm.add_constant(x)).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": prompts}
    )
    # statsmodels also multiplies by (n - 1) / (n - k)
    error = reference.bse[0] * np.sqrt((len(x) - 2) / (len(x) - 1))
    reach = t.ppf(0.975, 149) * error
    ends = 1 / (1 + np.exp(-(reference.params[0] + np.array([-reach, reach]))))
    assert (found.rate.low, found.rate.high) == pytest.approx(tuple(ends), abs=2e-3)


def test_where_all_was_won_the_rate_at_equal_length_has_a_lower_end():
    won = [Meeting(f"p{n}", "a", "b") for n in range(LEAST)]
    found = length_controlled(won, [(3, 2)] * LEAST, anchor="b")[0]
    exact = binomtest(LEAST, LEAST).proportion_ci(method="exact")
    assert (found.rate.value, found.rate.high, found.slope) == (1.0, 1.0, None)
    assert found.rate.low == pytest.approx(exact.low)
    alone = [Meeting("p", "a", "b")] * LEAST
    assert length_controlled(alone, [(3, 2)] * LEAST, anchor="b")[0].rate.why


def test_few_comparisons_give_no_rate_at_equal_length():
    few = [Meeting(f"p{n}", "a", "b") for n in range(LEAST - 1)]
    found = length_controlled(few, [(1, 2)] * len(few), anchor="b")[0]
    assert (found.plain, found.rate.value, found.slope) == (1.0, None, None)
    assert str(LEAST) in found.rate.why
