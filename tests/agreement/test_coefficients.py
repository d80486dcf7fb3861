"""Agreement coefficients against independent libraries, on random and on degenerate tables."""

import math
import warnings

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa as reference_fleiss

from distill_studio.agreement.coefficients import NO_OVERLAP, NO_VARIATION, ONE_PROMPT
from distill_studio.agreement.tables import Rating, agreement_rows, between

LABELS = ("accept", "edit", "reject")

# Items in rows, raters in columns; -1 where a rater said nothing.
tables = st.integers(2, 4).flatmap(
    lambda raters: st.lists(
        st.lists(st.integers(-1, 2), min_size=raters, max_size=raters), min_size=1, max_size=25
    )
)


def ratings(table: list[list[int]]) -> list[Rating]:
    return [
        Rating(f"item-{n}", f"prompt-{n}", f"rater-{k}", LABELS[value])
        for n, row in enumerate(table)
        for k, value in enumerate(row)
        if value >= 0
    ]


def same(value: float | None, reference: float) -> bool:
    if math.isnan(reference):
        return value is None
    return value is not None and value == pytest.approx(reference, abs=1e-9)


@given(tables)
def test_alpha_equals_the_reference_with_any_gaps(table):
    shared = [row for row in table if sum(v >= 0 for v in row) > 1]
    row = agreement_rows(ratings(table), LABELS)[0]
    if not shared:
        assert (row.alpha.value, row.alpha.why) == (None, NO_OVERLAP)
        return
    values = {v for r in shared for v in r if v >= 0}
    if len(values) == 1:
        assert (row.alpha.value, row.alpha.why) == (None, NO_VARIATION)
        return
    data = np.array([[np.nan if v < 0 else v for v in r] for r in table], dtype=float).T
    reference = krippendorff.alpha(data, level_of_measurement="nominal")
    assert same(row.alpha.value, reference)
    assert row.items == len(shared)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_cohen_equals_the_reference(pairs):
    sides = [[Rating(f"i{n}", f"i{n}", who, LABELS[p[k]]) for n, p in enumerate(pairs)]
             for k, who in enumerate(("ann", "bob"))]  # fmt: skip
    found = between(sides[0], sides[1], LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = cohen_kappa_score(*(list(side) for side in zip(*pairs, strict=True)))
    assert same(found.kappa.value, float(reference))
    assert found.percent.value == pytest.approx(np.mean([a == b for a, b in pairs]))
    assert agreement_rows(sides[0] + sides[1], LABELS)[0].cohen == found.kappa


@given(
    st.integers(2, 5).flatmap(
        lambda raters: st.lists(
            st.lists(st.integers(0, 2), min_size=raters, max_size=raters), min_size=1, max_size=25
        )
    )
)
def test_fleiss_equals_the_reference(table):
    counts = np.array([[row.count(k) for k in range(3)] for row in table])
    assume((counts.sum(axis=0) > 0).sum() > 1)
    row = agreement_rows(ratings(table), LABELS)[0]
    assert same(row.fleiss.value, float(reference_fleiss(counts)))


def test_fleiss_with_different_numbers_of_raters_by_hand():
    # Three raters say a a b, two say b b: mean agreement (1/3 + 1) / 2; shares (2/3, 1/3), (0, 1).
    row = agreement_rows(ratings([[0, 0, 1], [1, 1, -1]]), LABELS)[0]
    observed, expected = (1 / 3 + 1) / 2, (1 / 3) ** 2 + (2 / 3) ** 2
    assert row.fleiss.value == pytest.approx((observed - expected) / (1 - expected))
    assert row.percent.value == pytest.approx(2 / 3)


@given(tables)
def test_nothing_is_ever_nan(table):
    for row in agreement_rows(ratings(table), LABELS):
        for one in (row.percent, row.cohen, row.fleiss, row.alpha):
            if one is not None:
                numbers = (one.value, one.low, one.high)
                assert all(v is None or math.isfinite(v) for v in numbers)
                assert one.why or all(v is not None for v in numbers)
                if one.low is not None:
                    assert one.low - 1e-9 <= one.value <= one.high + 1e-9


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ([[0, -1], [1, -1]], NO_OVERLAP),  # a single rater
        ([[0, -1], [-1, 1]], NO_OVERLAP),  # two without a common record
        ([[2, 2], [2, 2]], NO_VARIATION),  # all of one kind
        ([[0, 1]], ONE_PROMPT),
    ],
)
def test_degenerate_tables_are_told_in_words(table, why):
    row = agreement_rows(ratings(table), LABELS)[0]
    assert row.alpha.why == why
    assert row.alpha.low is row.alpha.high is None


def test_perfect_agreement_on_few_records_has_a_wide_interval():
    few = agreement_rows(ratings([[0, 0], [1, 1], [2, 2]]), LABELS)[0]
    many = agreement_rows(ratings([[0, 0], [1, 1], [2, 2]] * 100), LABELS)[0]
    assert few.percent.value == many.percent.value == few.cohen.value == 1.0
    assert few.percent.low < 0.5 < 0.98 < many.percent.low < 1
    assert few.cohen.low < 0.2 < 0.97 < many.cohen.low < 1


def test_the_interval_covers_what_it_should():
    """Of 150 studies of 60 records, about 95% of the intervals hold the true kappa."""
    rng = np.random.default_rng(0)
    truth, hits = 0.5, 0
    for study in range(150):
        first = rng.integers(0, 2, 60)
        is_copied = rng.random(60) < truth
        second = np.where(is_copied, first, rng.integers(0, 2, 60))  # kappa of this is `truth`
        table = [[int(a), int(b)] for a, b in zip(first, second, strict=True)]
        found = agreement_rows(ratings(table), LABELS)[0].cohen
        hits += found.low <= truth <= found.high
        assert study or found.low < found.value < found.high
    assert 0.88 * 150 <= hits <= 0.99 * 150


def test_prompts_are_resampled_whole():
    """Ten copies of a prompt's records say no more than one: the interval stays as wide."""
    table = [[0, 0], [0, 1], [1, 1], [1, 0], [0, 0], [1, 1], [0, 0], [1, 1]]
    alone = agreement_rows(ratings(table), LABELS)[0].percent
    copied = [
        Rating(f"{r.item}-{copy}", r.cluster, r.rater, r.label)
        for copy in range(10)
        for r in ratings(table)
    ]
    whole = agreement_rows(copied, LABELS)[0].percent
    apart = agreement_rows(
        [Rating(r.item, r.item, r.rater, r.label) for r in copied], LABELS
    )[0].percent  # fmt: skip
    assert (whole.low, whole.high) == pytest.approx((alone.low, alone.high))
    assert apart.high - apart.low < 0.5 * (alone.high - alone.low)


def test_rows_for_everybody_each_two_and_topics():
    table = [[0, 0, 1], [1, 1, 1], [2, 0, -1], [0, -1, -1]]
    rows = agreement_rows(
        [Rating(r.item, r.cluster, r.rater, r.label, f"topic-{int(r.item[-1]) % 2}")
         for r in ratings(table)],
        LABELS,
    )  # fmt: skip
    assert [(r.scope, r.name, r.items, r.verdicts) for r in rows] == [
        ("all", "Everybody", 3, 8),
        ("people", "rater-0, rater-1", 3, 6),
        ("people", "rater-0, rater-2", 2, 4),
        ("people", "rater-1, rater-2", 2, 4),
        ("topic", "topic-0", 2, 5),
        ("topic", "topic-1", 1, 3),
    ]
    assert rows[1].cohen is not None
    assert rows[0].cohen is None


def test_one_side_may_be_several():
    """Half of the others agree with her: half a point, whatever their number."""
    mine = [Rating("i", "p", "ann", "accept"), Rating("j", "q", "ann", "reject")]
    theirs = [
        Rating("i", "p", "bob", "accept"), Rating("i", "p", "cem", "reject"),
        Rating("j", "q", "bob", "reject"), Rating("k", "r", "bob", "reject"),
    ]  # fmt: skip
    found = between(mine, theirs, LABELS)
    assert (found.n, found.percent.value) == (2, 0.75)
