"""95% (+- 2) of a thousand simulated intervals hold the truth: win rates and ratios.

Prompts differ (each suits some models more), votes on one hang together, some are ties.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from distill_studio.agreement.bradley_terry import Meeting
from distill_studio.agreement.length_control import fit, length_controlled
from distill_studio.core.estimate import Estimate
from distill_studio.evaluate.paired import recovered, retained
from distill_studio.evaluate.wins import clustered_interval

ROUNDS = 1000
PROMPTS = 120
EASE = 0.8  # spread of the prompts, in probits
SAMPLES = 2  # answers to a prompt
pytestmark = pytest.mark.slow


def held(draw: Callable[[np.random.Generator], Estimate], truth: float, seed: int) -> int:
    """How many of the rounds' intervals contain the truth; the few without ends do."""
    rng = np.random.default_rng(seed)
    count = endless = 0
    for _ in range(ROUNDS):
        found = draw(rng)
        low = -np.inf if found.low is None else found.low
        high = np.inf if found.high is None else found.high
        count += low <= truth <= high
        endless += found.low is None
    assert endless < ROUNDS / 4, endless
    return count


def drawn(rate: float, ease: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 or 1 with this chance over all prompts, more often 1 on the easy ones."""
    line = norm.ppf(rate) * np.sqrt(1 + EASE**2)
    return (rng.normal(size=ease.shape) + ease < line).astype(float)


@pytest.mark.parametrize("prompts", [30, PROMPTS])
@pytest.mark.parametrize("rate", [0.5, 0.75, 0.93])
def test_win_rates(prompts: int, rate: float) -> None:
    ties = 0.15

    def draw(rng: np.random.Generator) -> Estimate:
        prompt = np.repeat(np.arange(prompts), rng.integers(1, 5, size=prompts))
        scores = drawn(rate, EASE * rng.normal(size=prompts)[prompt], rng)
        scores[rng.random(len(scores)) < ties] = 0.5
        low, high = clustered_interval([(f"{p}", s) for p, s in zip(prompt, scores, strict=True)])
        return Estimate(low=low, high=high)

    count = held(draw, ties / 2 + (1 - ties) * rate, seed=1)
    assert 930 <= count <= 970, count


def lengths_and_wins(
    prompt: np.ndarray, strength: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How much longer the first answer is, and what it got: length pulls, prompts differ."""
    many = int(prompt.max()) + 1
    gaps = np.rint(rng.normal(40, 100, len(prompt)) + 40 * rng.normal(size=many)[prompt])
    logit = strength + 1.2 * np.tanh(gaps / 120) + rng.normal(size=many)[prompt]
    scores = (rng.random(len(prompt)) < 1 / (1 + np.exp(-logit))).astype(float)
    scores[rng.random(len(prompt)) < 0.15] = 0.5
    return gaps, scores


@pytest.mark.parametrize("strength", [0.0, 1.5])
def test_win_rates_at_equal_length(strength: float) -> None:
    gaps, scores = lengths_and_wins(np.arange(400_000), strength, np.random.default_rng(0))
    aimed = fit(np.tanh(gaps / gaps.std()), scores, np.ones((1, len(gaps))))[0, 0]
    prompt = np.repeat(np.arange(PROMPTS), 2)

    def draw(rng: np.random.Generator) -> Estimate:
        meetings, lengths = [], []
        for p, gap, score in zip(prompt, *lengths_and_wins(prompt, strength, rng), strict=True):
            sides = ("a", "b") if score else ("b", "a")
            meetings.append(Meeting(f"{p}", *sides, "tie" if score == 0.5 else "win"))
            sizes = (1000 + int(gap), 1000)
            lengths.append(sizes if score else sizes[::-1])
        return length_controlled(meetings, lengths, anchor="b")[0].rate

    count = held(draw, 1 / (1 + np.exp(-aimed)), seed=2)
    assert 930 <= count <= 970, count


def answers(rates: tuple[float, ...], rng: np.random.Generator) -> list[np.ndarray]:
    """Scores of several models on the same prompts, two samples each."""
    ease = np.repeat(EASE * rng.normal(size=PROMPTS), SAMPLES)
    return [drawn(rate, ease, rng) for rate in rates]


CLUSTERS = [f"{q:03d}" for q in range(PROMPTS) for _ in range(SAMPLES)]


@pytest.mark.parametrize(("student", "base", "teacher"), [(0.5, 0.3, 0.7), (0.52, 0.45, 0.58)])
def test_the_gap_that_was_closed(student: float, base: float, teacher: float) -> None:
    """The second gap is weak: with so few prompts it is often not shown, and has no ends."""

    def draw(rng: np.random.Generator) -> Estimate:
        s, b, t = answers((student, base, teacher), rng)
        return recovered(CLUSTERS, s, b, t)

    count = held(draw, (student - base) / (teacher - base), seed=3)
    assert 930 <= count <= 970, count


@pytest.mark.parametrize(("student", "teacher"), [(0.5, 0.7), (0.34, 0.42)])
def test_quality_retained_above_chance(student: float, teacher: float) -> None:
    chance = 0.25

    def draw(rng: np.random.Generator) -> Estimate:
        s, t = answers((student, teacher), rng)
        return retained(CLUSTERS, s, t, chance)

    count = held(draw, (student - chance) / (teacher - chance), seed=4)
    assert 930 <= count <= 970, count
