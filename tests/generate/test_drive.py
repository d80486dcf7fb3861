"""A unit on its way: effects out, results in, blame where a reply was no use."""

import asyncio

import pytest

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Message, Seed
from distill_studio.generate.drive import Drive, Ended
from distill_studio.generate.effects import (
    ELIMINATED,
    Ask,
    Draft,
    Draw,
    Dropped,
    Made,
    Nearest,
    Novel,
    Steps,
    Unit,
    unreadable,
)
from distill_studio.generate.recipes import Settings
from distill_studio.generate.recipes.base import user
from tests.generate.play import Played, Said, reply, world

SEED = Seed(messages=(Message(role="user", content="Seed"),))


def plan_then_answers(blame: str = "") -> Steps:
    """Draws examples, plans, answers two side by side, judges them."""
    shown = yield Draw(people=1, own=0, step="shown")
    plan = yield Ask("plan", user(f"Plan after {shown}"))
    if plan.text == "bad":
        raise unreadable("plan", plan, "no plan")
    nearest: Nearest = yield Novel(plan.text, 0.7)
    if not nearest.is_new:
        raise Dropped("plan", ELIMINATED, f"too like: {nearest.text}", plan.text)
    first, second = yield (
        Ask("answer/1", user("one")),
        Ask("answer/2", user("two"), may_fail=True),
    )
    verdict = yield Ask("judge", user(f"{first.text} or {second.text}"))
    if blame and verdict.text == "poor":
        raise Dropped(blame, ELIMINATED, "poor", first.text)
    return Made((Draft(first, user("one")),))


def drive(
    replies: dict[str, Said], stored: dict[str, ChatReply] | None = None, blame: str = ""
) -> tuple[Ended, Played]:
    unit = Unit(SEED, 0, "T", stored=stored or {})
    here = world(unit, Settings(), replies, people=("A river runs through it",))
    run = Drive(unit, plan_then_answers(blame), here, here.keep)
    return asyncio.run(run.run()), here


GOOD: dict[str, Said] = {"plan": "A new plan", "answer/1": "a", "answer/2": "b", "judge": "fine"}


def test_replies_are_kept_in_order_and_the_result_comes_back() -> None:
    ended, here = drive(GOOD)
    assert isinstance(ended.result, Made)
    assert ended.result.drafts[0].reply.text == "a"
    assert here.kept == ["plan", "answer/1", "answer/2", "judge"]
    assert "A river runs" in here.asked[0].messages[0].content
    assert here.asked[-1].messages[0].content == "a or b"


def test_stored_replies_are_not_asked_again() -> None:
    stored = {"plan": reply("An old plan"), "answer/2": reply("old b")}
    ended, here = drive({"answer/1": "a", "judge": "fine"}, stored)
    assert isinstance(ended.result, Made)
    assert [ask.step for ask in here.asked] == ["answer/1", "judge"]
    assert here.kept == ["answer/1", "judge"]
    assert here.asked[-1].messages[0].content == "a or old b"


def test_an_unreadable_reply_is_not_kept() -> None:
    ended, _ = drive(GOOD | {"plan": "bad"})
    assert isinstance(ended.result, Dropped)
    assert (ended.result.step, ended.result.text) == ("plan", "bad")
    assert "no plan" in ended.result.reason
    assert ended.forgotten == ("plan",)


def test_what_led_to_a_poor_result_is_asked_again_and_the_rest_kept() -> None:
    ended, here = drive(GOOD | {"judge": "poor"}, blame="answer/2")
    assert isinstance(ended.result, Dropped)
    assert here.kept == ["plan", "answer/1", "answer/2", "judge"]
    assert ended.forgotten == ("answer/2", "judge")  # not its sibling


def test_a_reply_that_failed_ends_the_unit_and_keeps_what_came_with_it() -> None:
    failed = ChatReply(key="k", error_code="unreachable", error="No route.")
    ended, here = drive(GOOD | {"answer/1": failed})
    assert isinstance(ended.result, Dropped)
    assert (ended.result.code, ended.result.step) == ("unreachable", "answer/1")
    assert here.kept == ["plan", "answer/2"]  # paid for, and not asked again
    assert ended.forgotten == ("answer/1",)
    ended, here = drive(GOOD | {"answer/2": failed})
    assert isinstance(ended.result, Made)  # this one may fail
    assert here.kept == ["plan", "answer/1", "judge"]


def test_a_recipe_that_stumbles_over_a_reply_ends_its_unit_alone() -> None:
    def stumbles() -> Steps:
        yield Ask("plan", user("Plan"))
        raise RecursionError("too deep")

    unit = Unit(SEED, 0, "T")
    here = world(unit, Settings(), {"plan": "1+1+1"})
    ended = asyncio.run(Drive(unit, stumbles(), here, here.keep).run())
    assert isinstance(ended.result, Dropped)
    assert (ended.result.code, ended.forgotten) == ("broken", ("plan",))
    assert "too deep" in ended.result.reason


def test_the_teacher_to_blame_is_named() -> None:
    def two_teachers() -> Steps:
        yield (Ask("a", user("x"), teacher="A"), Ask("b", user("x"), teacher="B"))
        return Made()

    unit = Unit(SEED, 0, "A")
    failed = ChatReply(key="k", error_code="unreachable", error="No route.")
    here = world(unit, Settings(), {"a": "fine", "b": failed})
    ended = asyncio.run(Drive(unit, two_teachers(), here, here.keep).run())
    assert ended.teacher == "B"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"finish_reason": "length", "reasoning": "Hm"}, "longer answers"),
        ({"finish_reason": "content_filter"}, "content filter"),
        ({}, "empty answer"),
    ],
)
def test_an_empty_reply_says_why(fields: dict[str, str], said: str) -> None:
    ended, _ = drive(GOOD | {"plan": reply(" \n", **fields)})
    assert isinstance(ended.result, Dropped)
    assert ended.result.code == "empty_answer"
    assert said in ended.result.reason


def test_a_prompt_like_another_is_eliminated() -> None:
    ended, here = drive(GOOD | {"plan": "a river runs through"})
    assert isinstance(ended.result, Dropped)
    assert "A river runs through it" in ended.result.reason
    assert [ask.step for ask in here.asked] == ["plan"]
