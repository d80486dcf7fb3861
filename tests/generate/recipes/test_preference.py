"""Preference candidates: answers of several teachers, a judge, one preference with a margin."""

import json
from typing import Any

import pytest

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Seed
from distill_studio.generate.effects import Dropped, Made, Unit
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.base import user
from tests.generate.play import Said, play, reply, world

PREFERENCE = RECIPES["preference"]
SEED = Seed(messages=user("Name a river."))
UNIT = Unit(SEED, 0, "A")
ANSWERS: dict[str, Said] = {
    "candidate/0": "Rhine",
    "candidate/1": "Seine",
    "candidate/2": "A lake",
    "candidate/3": "No.",
}


def scores(value: float, **other: float) -> str:
    aspects = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    return json.dumps({"reason": "So.", **{a: int(value) for a in aspects}, **other})


def settings(**options: Any) -> Settings:
    chosen = PREFERENCE.prompts.chosen(options)
    return Settings(options=chosen, teachers=("A", "B"), judge="J")


def made(replies: dict[str, Said], **options: Any) -> Made:
    ended = play(PREFERENCE, UNIT, settings(**options), replies)
    assert isinstance(ended.result, Made), ended.result
    return ended.result


def dropped(replies: dict[str, Said], **options: Any) -> Dropped:
    ended = play(PREFERENCE, UNIT, settings(**options), replies)
    assert isinstance(ended.result, Dropped)
    return ended.result


SCORED = ANSWERS | {
    "score/0": scores(5),
    "score/1": scores(4),
    "score/2": scores(2),
    "score/3": scores(1),
}


def test_all_answers_are_kept_and_the_best_is_preferred() -> None:
    result = made(SCORED, rejected="the worst")
    assert [(d.teacher, d.sample, d.judge_score) for d in result.drafts] == [
        ("A", 0, 5.0),
        ("A", 1, 4.0),
        ("B", 2, 2.0),
        ("B", 3, 1.0),
    ]
    (ranked,) = result.ranked
    assert (ranked.chosen, ranked.rejected, ranked.strength, ranked.source) == (0, 3, 3, "judge")
    assert result.drafts[0].params["judged"]["scores"]["honesty"] == 5
    assert result.drafts[0].params["judged"]["judge"] == "J"


def test_the_judge_is_asked_greedily_with_a_schema_and_never_shown_who_wrote() -> None:
    here = world(UNIT, settings(), SCORED)
    play(PREFERENCE, UNIT, settings(), SCORED, here)
    judged = [ask for ask in here.asked if ask.step.startswith("score/")]
    assert len(judged) == 4
    for ask in judged:
        assert ask.teacher == "J"
        assert ask.sampling is not None
        assert ask.sampling.temperature == 0
        assert ask.schema is not None
        assert "Name a river." in ask.messages[-1].content


def test_the_margin_keeps_out_what_is_hardly_told_apart() -> None:
    close = SCORED | {f"score/{n}": scores(4) for n in (1, 2, 3)}
    assert made(close, margin=1.5).ranked == ()
    assert len(made(close, margin=1.5).drafts) == 4
    assert len(made(close, margin=0.5).ranked) == 1
    even = ANSWERS | {f"score/{n}": scores(4) for n in range(4)}
    assert made(even, margin=0).ranked == ()  # no difference at all is no preference


def test_another_at_random_is_the_same_each_time_and_respects_the_margin() -> None:
    chosen = {made(SCORED, margin=2).ranked[0].rejected for _ in range(5)}
    assert len(chosen) == 1
    assert chosen <= {2, 3}


def test_equal_answers_count_once_and_a_single_one_is_no_comparison() -> None:
    same = {f"candidate/{n}": "Rhine" for n in range(4)}
    found = dropped(same)
    assert (found.step, found.code) == ("candidate/0", "eliminated")
    assert "nothing to compare" in found.reason
    two = same | {"candidate/3": "Seine", "score/0": scores(3), "score/3": scores(5)}
    result = made(two)
    assert [d.sample for d in result.drafts] == [0, 3]
    assert (result.ranked[0].chosen, result.ranked[0].rejected) == (1, 0)


def test_what_fails_in_passing_is_asked_again_and_what_lasts_is_left_out() -> None:
    gone = ChatReply(key="k", error_code="unreachable", error="No route.")
    found = dropped(SCORED | {"candidate/2": gone})
    assert (found.step, found.code, found.reason) == ("candidate/2", "unreachable", "No route.")
    long = ChatReply(key="k", error_code="context_too_long", error="Too long.")
    assert len(made(SCORED | {"candidate/2": long, "candidate/3": long}).drafts) == 2
    found = dropped({f"candidate/{n}": long for n in range(4)})
    assert (found.code, found.reason) == ("context_too_long", "Too long.")


@pytest.mark.parametrize("judging", ["scores each answer", "every two in both orders"])
def test_a_judge_that_is_out_is_asked_again(judging: str) -> None:
    gone = ChatReply(key="k", error_code="unreachable", error="No route.")
    steps = ("score/0", "score/1", "compare/0-1/forward", "compare/0-1/swapped")
    replies: dict[str, Said] = {"candidate/0": "Rhine", "candidate/1": "Seine"}
    found = dropped(replies | dict.fromkeys(steps, gone), candidates=1, judging=judging)
    assert found.code == "unreachable"
    assert found.step in steps


def test_nonsense_of_the_judge_scores_nothing() -> None:
    replies = SCORED | {"score/1": "I like it.", "score/2": "I like it.", "score/3": "Well."}
    alone = made(replies)  # people can still compare the answers
    assert (len(alone.drafts), alone.ranked) == (4, ())
    partly = made(SCORED | {"score/3": "I like it."}, rejected="the worst")
    assert partly.drafts[3].judge_score is None
    assert "unreadable" in partly.drafts[3].params["judged"]
    assert partly.ranked[0].rejected == 2


def better(place: str) -> str:
    return json.dumps({"reason": "So.", "better": place})


def compared(verdicts: dict[str, tuple[str, str]]) -> dict[str, Said]:
    said: dict[str, Said] = {}
    for couple, (forward, swapped) in verdicts.items():
        said[f"compare/{couple}/forward"] = better(forward)
        said[f"compare/{couple}/swapped"] = better(swapped)
    return said


def test_pairwise_wins_count_only_where_both_orders_agree() -> None:
    replies = {"candidate/0": "Rhine", "candidate/1": "Seine"}
    options = {"candidates": 1, "judging": "every two in both orders", "margin": 0.3}
    clear = made(replies | compared({"0-1": ("B", "A")}), **options)
    assert [d.judge_score for d in clear.drafts] == [0.0, 1.0]
    assert (clear.ranked[0].chosen, clear.ranked[0].rejected) == (1, 0)
    fickle = made(replies | compared({"0-1": ("A", "A")}), **options)
    assert [d.judge_score for d in fickle.drafts] == [0.5, 0.5]
    assert fickle.ranked == ()
    assert fickle.drafts[0].params["judged"]["compared"][0]["consistent"] is False


def test_an_unreadable_comparison_counts_for_neither() -> None:
    replies: dict[str, Said] = {"candidate/0": "Rhine", "candidate/1": "Seine"}
    replies |= {"compare/0-1/forward": "Hm.", "compare/0-1/swapped": better("A")}
    result = made(replies, candidates=1, judging="every two in both orders")
    assert [d.judge_score for d in result.drafts] == [None, None]
    assert result.ranked == ()


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_answer_is_no_candidate(text: str) -> None:
    assert len(made(SCORED | {"candidate/3": reply(text)}).drafts) == 3
