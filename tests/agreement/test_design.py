"""The active order: informative couples first, and what it gains over chance."""

import itertools
import random

import numpy as np
import pytest

from distill_studio.agreement.bradley_terry import Meeting, covariance, fit, points
from distill_studio.agreement.design import Couple, Tally, most_informative


def couples(names: list[tuple[str, str]], each: int = 1) -> list[Couple]:
    made = [(a, b, f"{a}{b}{n}") for a, b in names for n in range(each)]
    return [Couple(f"{key}-1", f"{key}-2", a, b) for a, b, key in made]


def kinds(chosen: list[Couple]) -> list[tuple[str, str]]:
    return [(c.first, c.second) for c in chosen]


def test_the_least_known_models_come_first():
    votes = [Tally("a", "b", n=30), Tally("b", "a", n=30), Tally("c", "c", n=9)]
    found = most_informative(couples([("a", "b"), ("a", "c"), ("a", "a")]), votes, 3)
    assert kinds(found) == [("a", "c"), ("a", "b"), ("a", "a")]


def test_close_models_come_before_decided_ones():
    votes = [Tally("best", "worst", n=40), Tally("best", "good", "tie", n=40)]
    found = most_informative(couples([("best", "worst"), ("best", "good")]), votes, 1)
    assert kinds(found) == [("best", "good")]


def test_a_batch_spreads_and_takes_each_answer_once():
    pairs = list(itertools.combinations("abcd", 2))
    batch = kinds(most_informative(couples(pairs, each=10), [], 12))
    assert {batch.count(kind) for kind in set(batch)} == {2}  # all alike: each as often
    shared = [Couple("1", "2", "a", "b"), Couple("1", "3", "a", "c")]
    assert len(most_informative(shared, [], 5)) == 1
    assert most_informative([], [], 5) == []


def test_what_is_asked_already_is_not_asked_again():
    pool = couples([("a", "b"), ("c", "d")], each=3)
    assert kinds(most_informative(pool, [], 1, asked=[("a", "b")])) == [("c", "d")]
    assert kinds(most_informative(pool, [], 1, asked=[("d", "c")])) == [("a", "b")]


def test_each_step_is_the_largest_fall_of_the_log_determinant():
    """The rank-one updates against the determinant worked out anew for every choice."""
    rng = np.random.default_rng(3)
    names = "abcde"
    pairs = list(itertools.combinations(names, 2))
    votes = [Tally(*rng.permutation(kind), n=int(rng.integers(1, 9))) for kind in pairs[::2]]
    chosen = kinds(most_informative(couples(pairs, each=20), votes, 15))
    wins = np.zeros((5, 5))
    for vote in votes:
        wins[names.index(vote.first), names.index(vote.second)] += vote.n
    beside_average = np.pad(wins, (0, 1), constant_values=0.5)
    beside_average[5, 5] = 0
    theta = fit(beside_average[None])[0][:5]
    for kind in chosen:
        after = {}
        for a, b in pairs:
            more = wins.copy()
            more[names.index(a), names.index(b)] += 1
            after[a, b] = np.linalg.slogdet(covariance(more, theta, 1.0))[1]
        assert after[kind] == pytest.approx(min(after.values()), abs=1e-9)
        wins[names.index(kind[0]), names.index(kind[1])] += 1


def test_the_active_order_beats_chance_for_the_same_number_of_votes():
    """Six models, some of them unknown: the same votes tell more of all strengths."""
    names = [f"m{k}" for k in range(6)]
    truth = dict(zip(names, (0.0, 0.3, 0.6, 0.9, 3.0, -3.0), strict=True))
    rng = np.random.default_rng(5)

    def outcome(couple: Couple) -> Tally:
        chance = 1 / (1 + np.exp(truth[couple.second] - truth[couple.first]))
        a, b = couple.first, couple.second
        return Tally(a, b) if rng.random() < chance else Tally(b, a)

    start = [outcome(c) for c in couples([("m0", "m1"), ("m0", "m2"), ("m1", "m2")], each=20)]

    def left(chosen: list[Couple]) -> float:
        votes = start + [outcome(c) for c in chosen]
        met = [Meeting(str(n), v.first, v.second) for n, v in enumerate(votes)]
        wins = points(met, names).sum(axis=0).reshape(6, 6)
        return float(np.linalg.slogdet(covariance(wins, fit((wins + 0.1)[None])[0], 1.0))[1])

    pool = couples(list(itertools.combinations(names, 2)), each=30)
    active = np.mean([left(most_informative(pool, start, 60)) for _ in range(5)])
    chance = np.mean([left(random.Random(n).sample(pool, 60)) for n in range(5)])
    assert active < chance - 0.1
