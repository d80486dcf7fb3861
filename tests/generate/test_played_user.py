"""What a model says in the user's part: a turn, the end, or nothing of use."""

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from distill_studio.core.records import Message
from distill_studio.generate.played_user import END, Turn, next_turn

ANSWER = "Rain falls when drops in a cloud grow so heavy that the air no longer holds them up."
CONVERSATION = (
    Message(role="user", content="Why does it rain?"),
    Message(role="assistant", content=ANSWER),
)
OVER = "the user had nothing left to ask"
ASSISTANT = "the next turn spoke as the assistant"
LIKE_ANSWER = "the next turn read like an answer"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("And why does it snow?", "And why does it snow?"),
        ("User: And why does it snow?", "And why does it snow?"),
        ("And why does it snow?\nAssistant: Because it is cold.", "And why does it snow?"),
        ("User: And snow?\n\n**User:** And hail?", "And snow?"),
        ("Give me an example of this, please.", "Give me an example of this, please."),
        ("Sure, but what makes the drops grow?", "Sure, but what makes the drops grow?"),
        ("Thanks. And what about hail?", "Thanks. And what about hail?"),
        ("How does the story end?", "How does the story end?"),
    ],
)
def test_a_turn(said: str, text: str) -> None:
    assert next_turn(said, CONVERSATION) == Turn(text)


@pytest.mark.parametrize(
    ("said", "end"),
    [
        (END, OVER),
        ("[end]", OVER),
        ("**END**", OVER),
        ("End.", OVER),
        ("Thanks, that was all! [END]", OVER),
        ("(End of conversation)", OVER),
        ("Thank you!", OVER),
        ("Assistant: It snows when it is cold.", ASSISTANT),
        ("User: Assistant: Cold.", ASSISTANT),
        ("", "the next turn was empty"),
        ("User:", "the next turn was empty"),
        ("...", "the next turn was empty"),
        ("____", "the next turn was empty"),
        ("why does it rain", "the next turn repeated an earlier one"),
        (ANSWER, "the next turn repeated an answer"),
        (f"So, {ANSWER[:70]}", "the next turn repeated an answer"),
        ("As an AI, I cannot ask questions. Do you have one?", LIKE_ANSWER),
        ("You're welcome! Anything else?", LIKE_ANSWER),
        ("I'm here to help with any questions.", LIKE_ANSWER),
        ("This is how to ask the user a question.", "the next turn spoke about the conversation"),
        ("Here are some facts about snow.", LIKE_ANSWER),
        ("Kinds of clouds\n1. cumulus\n2. stratus\n3. cirrus", LIKE_ANSWER),
        ("rain " * 160 + "?", LIKE_ANSWER),
    ],
)
def test_no_turn(said: str, end: str) -> None:
    assert next_turn(said, CONVERSATION) == Turn(end=end)


def test_a_conversation_about_users_may_speak_of_the_user() -> None:
    turns = (Message(role="user", content="How does the user log in?"), CONVERSATION[1])
    assert next_turn("May the user stay logged in?", turns).text


def test_a_turn_that_breaks_off() -> None:
    cut = "the next turn was cut off"
    assert next_turn("And why does", CONVERSATION, is_cut=True) == Turn(end=cut)
    said = "And snow?\nAssistant: It snows when"
    assert next_turn(said, CONVERSATION, is_cut=True) == Turn("And snow?")


@effort(deadline=None, max_examples=50)
@given(st.text())
def test_either_a_turn_or_its_reason_and_never_a_role(said: str) -> None:
    turn = next_turn(said, CONVERSATION)
    assert bool(turn.text) != bool(turn.end)
    assert not turn.text.lower().startswith(("user:", "assistant:"))
    assert "\nassistant:" not in turn.text.lower()
