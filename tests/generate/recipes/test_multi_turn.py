"""Conversations: turns alternate, a played user asks on, what is of no use ends them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from distill_studio.core.protocols import ChatReply, SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.asides import read_shots
from distill_studio.generate.effects import Draft, Dropped, Unit
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.base import Example
from tests.generate.play import ORIGIN, Played, Said, play, reply, world

RECIPE = RECIPES["multi_turn"]
TEXTS = {text.name: text.text for text in RECIPE.prompts.texts}
SHOT = read_shots(TEXTS["shots"])[0][1][0]
SAID: dict[str, Said] = {
    "answer/1": "Drops grow heavy and fall.",
    "user/2": "User: And what is snow?",
    "answer/2": "Water that froze in the cloud.",
    "user/3": "Is hail the same?",
    "answer/3": "No, hail is made of layers of ice.",
}


def unit(*turns: str, system: str = "") -> Unit:
    roles = ("user", "assistant", "user")
    before = (Message(role="system", content=system),) if system else ()
    texts = turns or ("Why does it rain?",)
    spoken = (Message(role=r, content=t) for r, t in zip(roles, texts, strict=False))
    return Unit(Seed(messages=(*before, *spoken), topic="weather"), 0, "T")


def settings(turns: int = 3, **fields: Any) -> Settings:
    return Settings(SamplingParams(top_logprobs=2), texts=TEXTS, options={"turns": turns}, **fields)


def talk(replies: dict[str, Said], of: Unit | None = None, **fields: Any) -> tuple[Draft, Played]:
    asking, chosen = of or unit(), settings(**fields)
    here = world(asking, chosen, SAID | replies)
    ended = play(RECIPE, asking, chosen, {}, here)
    [draft] = ended.result.drafts
    return draft, here


def test_a_conversation_of_three_exchanges_is_one_pair_on_a_prompt_of_its_own() -> None:
    asking = unit()
    draft, here = talk({}, asking, judge="J")
    assert [(ask.step, ask.teacher) for ask in here.asked] == [
        ("answer/1", ""),
        ("user/2", "J"),
        ("answer/2", ""),
        ("user/3", "J"),
        ("answer/3", ""),
    ]
    assert [(m.role, m.content) for m in draft.messages] == [
        ("user", "Why does it rain?"),
        ("assistant", "Drops grow heavy and fall."),
        ("user", "And what is snow?"),
        ("assistant", "Water that froze in the cloud."),
        ("user", "Is hail the same?"),
    ]
    assert here.asked[-1].messages == draft.messages
    assert draft.params == {"turns": 3, "turns_asked": 3, "user_by": "J"}
    assert draft.seed is not None
    assert (draft.seed.messages, draft.seed.topic) == (draft.messages, "weather")
    [pair] = to_rows(play(RECIPE, asking, settings(), SAID), ORIGIN).pairs
    assert (pair.answer, pair.params["from_seed"], pair.topic) == (
        SAID["answer/3"],
        asking.seed.id,
        "weather",
    )


def test_the_played_user_sees_the_conversation_and_not_the_system_prompt() -> None:
    draft, here = talk({}, unit(system="Secret orders."), turns=2)
    told, *shots, asked = here.asked[1].messages
    assert "[END]" in told.content
    assert [m.role for m in shots] == ["user", "assistant"] * 3
    assert "User: Why does it rain?\n\nAssistant: Drops grow heavy and fall." in asked.content
    assert "Secret orders." not in "".join(m.content for m in here.asked[1].messages)
    assert here.asked[1].sampling == SamplingParams()
    assert draft.messages[0].content == "Secret orders."
    assert draft.seed is not None
    assert draft.seed.messages == draft.messages


def test_a_system_prompt_of_the_generation_is_in_the_pair_and_not_in_the_new_prompt() -> None:
    draft, _ = talk({}, system_prompt="Be brief.")
    assert draft.seed is not None
    assert draft.messages[0].content == "Be brief."
    assert draft.seed.messages == draft.messages[1:]


def test_examples_are_shown_with_each_answer_and_never_trained_on() -> None:
    shown = (Example("p", "other", "1 + 1?", "2"),)
    draft, here = talk({}, examples=shown)
    answers = [ask for ask in here.asked if ask.step.startswith("answer")]
    assert all(ask.messages[0].content == "1 + 1?" for ask in answers)
    assert all("1 + 1" not in message.content for message in draft.messages)


def test_a_seed_that_is_a_conversation_goes_on() -> None:
    draft, _ = talk({}, unit("Hi", "Hello.", "Why does it rain?"), turns=2)
    assert [m.role for m in draft.messages] == ["user", "assistant"] * 2 + ["user"]


@pytest.mark.parametrize(
    ("replies", "turns", "ended"),
    [
        ({"user/2": "[END]"}, 1, "the user had nothing left to ask"),
        ({"user/2": ""}, 1, "the next turn was empty"),
        ({"user/2": SHOT}, 1, "the next turn was that of an example"),
        ({"user/2": "Why does it rain?"}, 1, "the next turn repeated an earlier one"),
        ({"user/3": "Assistant: No."}, 2, "the next turn spoke as the assistant"),
        ({"user/3": reply("Is hail", finish_reason="length")}, 2, "the next turn was cut off"),
        ({"answer/2": reply("Wat", finish_reason="length")}, 2, "the answer was cut off"),
        ({"answer/1": reply("Dro", finish_reason="length")}, 1, "the answer was cut off"),
        ({"answer/2": SAID["answer/1"]}, 1, "the teacher repeated an answer"),
    ],
)
def test_what_is_of_no_use_ends_a_conversation_and_what_was_before_stays(
    replies: dict[str, Said], turns: int, ended: str
) -> None:
    asking = unit()
    draft, _ = talk(replies, asking)
    assert (draft.params["turns"], draft.params["ended"]) == (turns, ended)
    assert len(draft.messages) == 2 * turns - 1
    assert (draft.seed is None) == (turns == 1)
    if ended.startswith("the next turn"):
        said = replies.get("user/2", replies.get("user/3"))
        assert draft.params["unused"] == (said.text if isinstance(said, ChatReply) else said)


@pytest.mark.parametrize("step", ["user/2", "answer/2"])
def test_a_teacher_that_fails_ends_the_unit_there_and_what_was_before_stays(step: str) -> None:
    failed = reply("", error_code="unreachable", error="No route.")
    here = world(unit(), settings(), SAID | {step: failed})
    ended = play(RECIPE, unit(), settings(), {}, here)
    assert isinstance(ended.result, Dropped)
    assert (ended.result.step, ended.result.code) == (step, "unreachable")
    assert "answer/1" in here.kept
    assert ended.forgotten == (step,)


def test_an_empty_answer_is_a_failure() -> None:
    ended = play(RECIPE, unit(), settings(), SAID | {"answer/2": " "})
    assert isinstance(ended.result, Dropped)
    assert (ended.result.step, ended.result.code) == ("answer/2", "empty_answer")


@effort(deadline=None, max_examples=50)
@given(
    said=st.lists(st.text(), min_size=3, max_size=3),
    answers=st.lists(st.text(min_size=1).filter(str.strip), min_size=4, max_size=4),
    turns=st.integers(2, 4),
)
def test_whatever_is_said_turns_alternate_and_the_user_is_last(
    said: list[str], answers: list[str], turns: int
) -> None:
    replies: dict[str, Said] = {f"user/{i}": text for i, text in enumerate(said, start=2)}
    replies |= {f"answer/{i}": text for i, text in enumerate(answers, start=1)}
    draft, _ = talk(replies, turns=turns)
    roles = [message.role for message in draft.messages]
    assert roles == (["user", "assistant"] * turns)[: len(roles)]
    assert roles[-1] == "user"
    assert len(roles) == 2 * draft.params["turns"] - 1
    users = [m.content for m in draft.messages if m.role == "user"]
    assert len(users) == len(set(users))
    assert draft.params["turns"] <= turns
    assert ("ended" in draft.params) == (draft.params["turns"] < turns)
