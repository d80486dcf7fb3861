"""Judges that lean to a place are named, fair ones are not; the test is McNemar's."""

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from distill_studio.agreement.order_bias import ALPHA, BothOrders, order_lean

JUDGES = 1000


def readings(
    rng: np.random.Generator,
    prompts: int,
    *,
    bias: float = 0.0,
    by_prompt: float = 0.0,
    couples: int = 1,
    ties: float = 0.1,
) -> list[BothOrders]:
    """A noisy judge reads couples of unlike quality in both orders.

    Args:
        rng: Random numbers.
        prompts: How many.
        bias: Logits that the answer shown first gets for its place.
        by_prompt: Spread of a lean that is another for each prompt, and none on average.
        couples: Of each prompt.
        ties: How often it says so.
    """
    made = []
    for prompt in range(prompts):
        pull = bias + by_prompt * rng.normal()
        for _ in range(couples):
            gap = rng.normal()
            said = []
            for sign in (1, -1):  # the first answer stands in place A, then in B
                if rng.random() < ties:
                    said.append("tie")
                else:
                    is_a = rng.random() < 1 / (1 + np.exp(-(sign * gap + pull)))
                    said.append("A" if is_a else "B")
            made.append(BothOrders(f"p{prompt}", *said))
    return made


def test_the_test_is_mcnemars():
    rng = np.random.default_rng(1)
    for bias in (0.0, 0.4, -0.8):
        made = readings(rng, 120, bias=bias, ties=0.0)
        wins = np.zeros((2, 2))  # did the first answer win, shown first; and shown second
        for one in made:
            wins[int(one.forward == "A"), int(one.swapped == "B")] += 1
        found = order_lean(made)
        assert found.p_value == pytest.approx(mcnemar(wins, exact=True).pvalue)
        assert (found.first, found.second) == (wins[1, 0], wins[0, 1])
        assert found.consistent.value == pytest.approx(np.trace(wins) / wins.sum())


def test_a_biased_judge_is_named_and_a_fair_one_is_not():
    rng = np.random.default_rng(2)
    fair = [order_lean(readings(rng, 100)) for _ in range(JUDGES)]
    named = sum(bool(one.side) for one in fair)
    assert named / JUDGES <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / JUDGES)
    for bias, side in ((1.2, "first"), (-1.2, "second")):
        found = [order_lean(readings(rng, 100, bias=bias)) for _ in range(200)]
        assert sum(one.side == side for one in found) >= 0.95 * len(found)
        assert not any(one.side not in ("", side) for one in found)


def test_verdicts_of_one_prompt_are_not_so_many_opinions():
    """A judge whose lean depends on the prompt leans nowhere; by verdict it would seem to."""
    rng = np.random.default_rng(3)
    named = naive = 0
    for _ in range(JUDGES):
        found = order_lean(readings(rng, 30, by_prompt=2.0, couples=6))
        named += bool(found.side)
        naive += binomtest(found.first, found.first + found.second).pvalue < ALPHA
    assert named / JUDGES <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / JUDGES)
    assert naive / JUDGES > 4 * ALPHA


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([], "has not read any"),
        ([("A", "B"), ("tie", "tie")], "no lean to a place"),
        ([("A", "A")] * 3, "Too few inconsistent verdicts"),
        ([("A", "A")] * 12, "Leans to the answer shown first: 12 of its 12 inconsistent"),
        ([("B", "tie")] * 12, "Leans to the answer shown second: 12 of its 12"),
        ([("A", "A"), ("B", "B")] * 10, "No lean to a place shown: 10 of 20"),
    ],
)
def test_it_is_said_in_words(said, words):
    found = order_lean(BothOrders(f"p{n}", *one) for n, one in enumerate(said))
    assert words in found.words
    assert bool(found.side) == found.words.startswith("Leans")
    assert found.n == len(said)
