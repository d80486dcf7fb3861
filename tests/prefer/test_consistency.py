"""A voter's agreement with themselves."""

from distill_studio.core.records import Outcome
from distill_studio.prefer.consistency import consistency

LEFT, RIGHT, TIE = Outcome.LEFT, Outcome.RIGHT, Outcome.TIE


def test_the_same_answer_is_on_the_other_side() -> None:
    twice = [(LEFT, RIGHT), (RIGHT, LEFT), (TIE, TIE), (LEFT, LEFT), (LEFT, TIE)]
    found = consistency(twice, left_wins=3, right_wins=1)
    assert (found.repeats, found.same, found.same_side) == (5, 3, 1)
    assert found.share == 0.6
    assert found.left_share == 0.75


def test_nothing_known_yet() -> None:
    found = consistency([], 0, 0)
    assert found.share is None
    assert found.left_share is None
