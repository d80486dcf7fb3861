"""Bradley-Terry against choix, statsmodels and scipy; what has no estimate is told."""

from dataclasses import replace

import choix
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from distill_studio.agreement.bradley_terry import ANCHOR, SCALE, Meeting, _is_joined, fit, rank


def plain_fit(meetings: list[Meeting], models: list[str]) -> np.ndarray:
    """Ratings in points by scipy, written as METHODS of the field write it."""
    half = {"win": 1.0, "tie": 0.5, "both_bad": 0.5}

    def loss(ratings: np.ndarray) -> float:
        total = 0.0
        for m in meetings:
            gap = (ratings[models.index(m.first)] - ratings[models.index(m.second)]) / 400
            chance = 1 / (1 + 10**-gap)
            total -= half[m.outcome] * np.log(chance) + (1 - half[m.outcome]) * np.log(1 - chance)
        return total

    found = minimize(loss, np.zeros(len(models)), method="BFGS", options={"gtol": 1e-7})
    return found.x - found.x[0]


def simulated(n: int, strengths: dict[str, float], seed: int) -> list[Meeting]:
    rng = np.random.default_rng(seed)
    names = list(strengths)
    made = []
    for k in range(n):
        a, b = rng.choice(names, 2, replace=False)
        chance = 1 / (1 + 10 ** ((strengths[b] - strengths[a]) / 400))
        draw = rng.random()
        if draw < 0.15:
            made.append(Meeting(f"p{k}", a, b, "tie"))
        else:
            is_win = rng.random() < chance
            made.append(Meeting(f"p{k}", a, b) if is_win else Meeting(f"p{k}", b, a))
    return made


def test_strengths_equal_a_plain_optimisation():
    meetings = simulated(300, {"a": 1000, "b": 1100, "c": 900, "d": 1250}, seed=3)
    found = rank(meetings, anchor="a")
    reference = plain_fit(meetings, ["a", "b", "c", "d"])
    ratings = {s.model: s.rating for s in found.strengths}
    assert [ratings[m] - ANCHOR for m in "abcd"] == pytest.approx(list(reference), abs=0.05)
    assert [s.model for s in found.strengths] == ["d", "b", "a", "c"]
    assert next(s for s in found.strengths if s.model == "a").rating == ANCHOR


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_strengths_equal_choix(wins):
    ring = [(0, 1), (1, 2), (2, 3), (3, 0)]  # else a model may be infinitely better than the others
    games = ring + [(a, b) for a, b in wins if a != b]
    table = np.zeros((4, 4))
    for a, b in games:
        table[a, b] += 1
    found = fit(table[None])[0]
    reference = choix.opt_pairwise(4, games, alpha=0.0)
    assert found - found.mean() == pytest.approx(reference - reference.mean(), abs=1e-3)


def test_a_tie_is_half_a_win_for_each():
    """Two ties say what a win each says."""
    base = [Meeting("p", "a", "b"), Meeting("q", "b", "a"), Meeting("r", "a", "b")]
    tied = rank([*base, Meeting("s", "a", "b", "tie"), Meeting("t", "b", "a", "both_bad")])
    won = rank([*base, Meeting("s", "a", "b"), Meeting("t", "b", "a")])
    assert [s.rating for s in tied.strengths] == pytest.approx([s.rating for s in won.strengths])


def test_intervals_resample_prompts_and_cover_the_truth():
    truth = {"a": 1000.0, "b": 1120.0}
    hits = 0
    for seed in range(60):
        found = rank(simulated(200, truth, seed), anchor="a")
        b = next(s for s in found.strengths if s.model == "b")
        # ties (15%) shrink the gap that the fit aims at
        chance = 0.15 / 2 + 0.85 / (1 + 10 ** (-120 / 400))
        aimed = ANCHOR + SCALE * np.log(chance / (1 - chance))
        hits += b.low <= aimed <= b.high
    assert 50 <= hits <= 60
    one = rank(simulated(200, truth, 1), anchor="a")
    clustered = rank(
        [
            Meeting(f"{m.prompt}"[:2], m.first, m.second, m.outcome)
            for m in simulated(200, truth, 1)
        ],
        anchor="a",
    )
    assert clustered.prompts < one.prompts
    assert clustered.strengths[0].rating == pytest.approx(one.strengths[0].rating)
    assert clustered.strengths != one.strengths


def test_strengths_with_ties_equal_a_generalised_linear_model():
    """Statsmodels' binomial GLM on the differences; a tie is an outcome of one half."""
    meetings = simulated(400, {"a": 1000, "b": 1080, "c": 870, "d": 1200}, seed=8)
    models = ["b", "c", "d"]  # a is the anchor
    design = np.array([[(m.first == x) - (m.second == x) for x in models] for m in meetings])
    outcome = np.array([1.0 if m.outcome == "win" else 0.5 for m in meetings])
    assert 30 < (outcome == 0.5).sum() < 90
    family = sm.families.Binomial()
    reference = sm.GLM(outcome, design.astype(float), family=family).fit(tol=1e-12)
    found = {s.model: s.rating for s in rank(meetings, anchor="a").strengths}
    assert [found[x] - ANCHOR for x in models] == pytest.approx(list(SCALE * reference.params))


MODELS = ("a", "b", "c")
STRENGTHS = np.array([0.0, 0.6, -0.4])  # logits
TIES, PULL, VOTES = 0.6, 0.9, 2  # Davidson's nu; spread over prompts; votes a couple and prompt
COUPLES = ((0, 1), (0, 2), (1, 2))


def chances(strengths: np.ndarray) -> np.ndarray:
    """`[..., couple, 3]`: the first wins, tie, the second wins (Davidson 1970)."""
    one, other = (np.exp(strengths[..., [c[k] for c in COUPLES]]) for k in (0, 1))
    weights = np.stack([one, TIES * np.sqrt(one * other), other], axis=-1)
    return weights / weights.sum(axis=-1, keepdims=True)


def clustered(prompts: int, rng: np.random.Generator) -> list[Meeting]:
    """Votes on prompts, each of which suits some models more than others."""
    found = chances(STRENGTHS + PULL * rng.normal(size=(prompts, len(MODELS))))
    made = []
    drawn = rng.random((prompts, len(COUPLES), VOTES))
    fell = (drawn[..., None] > found.cumsum(axis=-1)[:, :, None, :-1]).sum(axis=-1)
    for (prompt, couple, _), said in np.ndenumerate(fell):
        first, second = (MODELS[k] for k in COUPLES[couple])
        if said == 2:
            first, second = second, first
        made.append(Meeting(f"p{prompt}", first, second, "tie" if said == 1 else "win"))
    return made


def aimed_at() -> np.ndarray:
    """The strengths of an endless number of prompts, by scipy; ties half as in the fit."""
    rng = np.random.default_rng(0)
    found = chances(STRENGTHS + PULL * rng.normal(size=(400_000, len(MODELS)))).mean(axis=0)
    points = found[:, 0] + found[:, 1] / 2

    def loss(others: np.ndarray) -> float:
        strengths = np.array([0.0, *others])
        gaps = np.array([strengths[a] - strengths[b] for a, b in COUPLES])
        return float(
            (np.log1p(np.exp(-gaps)) * points + np.log1p(np.exp(gaps)) * (1 - points)).sum()
        )

    return minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9}).x


@pytest.mark.slow
def test_intervals_cover_with_ties_and_votes_that_hang_together_by_prompt():
    """95% (+- 2) of 1,000 simulations hold the truth; taking each vote for itself would not do."""
    truth = dict(zip("bc", ANCHOR + SCALE * aimed_at(), strict=True))
    rng = np.random.default_rng(11)
    held, held_apart, apart = dict.fromkeys("bc", 0), 0, 200
    for number in range(1000):
        meetings = clustered(150, rng)
        found = {s.model: s for s in rank(meetings, anchor="a").strengths}
        for model, value in truth.items():
            held[model] += found[model].low <= value <= found[model].high
        if number < apart:
            alone = [replace(m, prompt=f"v{n}") for n, m in enumerate(meetings)]
            b = next(s for s in rank(alone, anchor="a").strengths if s.model == "b")
            held_apart += b.low <= truth["b"] <= b.high
    assert all(930 <= count <= 970 for count in held.values()), held
    assert held_apart / apart < 0.93


def test_what_has_no_finite_estimate_is_told():
    meetings = [
        *(Meeting(f"p{k}", "best", "a") for k in range(5)),
        *(Meeting(f"q{k}", "a", "b") for k in range(3)),
        Meeting("q9", "b", "a"),
        *(Meeting(f"r{k}", "b", "worst") for k in range(5)),
        Meeting("s", "x", "y"),
        Meeting("t", "y", "x"),
    ]
    found = {s.model: s for s in rank(meetings, anchor="a").strengths}
    assert found["best"].rating is None
    assert found["best"].why.startswith("Won everything")
    assert found["worst"].why.startswith("Lost everything")
    assert found["x"].why.startswith("Never compared")
    assert found["b"].rating == pytest.approx(ANCHOR - SCALE * np.log(3), abs=0.01)
    assert (found["b"].low is None) == ("open" in found["b"].why)
    assert next(iter(found)) == "best"


def test_few_upsets_leave_an_end_open():
    meetings = [Meeting(f"p{k}", "a", "b") for k in range(20)] + [Meeting("q", "b", "a")]
    a = next(s for s in rank(meetings, anchor="b").strengths if s.model == "a")
    assert a.rating == pytest.approx(ANCHOR + SCALE * np.log(20), abs=0.01)
    assert a.low is not None
    assert a.high is None  # a third of the resamples holds no upset
    assert "open end" in a.why


def test_a_model_that_few_prompts_join_has_no_interval_but_a_rating():
    """In a third of the resamples `rare` met nobody: what the sums give then is the prior's."""
    meetings = [
        *(Meeting(f"p{k}", *(("a", "b") if k % 3 else ("b", "a"))) for k in range(20)),
        Meeting("once", "rare", "b"),
        Meeting("once", "b", "rare"),
    ]
    found = {s.model: s for s in rank(meetings, anchor="a").strengths}
    rare = found["rare"]
    assert rare.rating == pytest.approx(found["b"].rating)
    assert (rare.low, rare.high) == (None, None)
    assert rare.why == "Too few prompts join it with the anchor: no interval."
    assert None not in (found["b"].low, found["b"].high)


def test_a_strength_is_known_where_a_chain_of_points_joins_it_with_the_anchor():
    tables = np.zeros((2, 3, 3))
    tables[0, 0, 1], tables[0, 1, 0], tables[0, 1, 2] = 30, 5, 1  # a, b, rare: lost to b once
    tables[1, 0, 1], tables[1, 1, 0] = 30, 5  # nobody met rare
    joined = _is_joined(tables > 0, 0)
    assert joined.tolist() == [[True, True, True], [True, True, False]]
    both_beaten = np.zeros((1, 3, 3))
    both_beaten[0, 0, 2] = both_beaten[0, 1, 2] = 1  # of a and b nothing is known
    assert _is_joined(both_beaten > 0, 0).tolist() == [[True, False, True]]


def test_nothing_and_one_prompt():
    assert rank([]).strengths == ()
    assert rank([Meeting("p", "a", "a")]).n == 0
    only = rank([Meeting("p", "a", "b"), Meeting("p", "b", "a")], anchor="a")
    b = next(s for s in only.strengths if s.model == "b")
    assert (b.rating, b.low, b.high) == (pytest.approx(ANCHOR), None, None)
    assert b.why == "One prompt only: no interval."
