"""Questions besides the answer: sampling, and requests out of messy replies."""

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.asides import (
    as_request,
    copied_share,
    copies,
    is_assistants,
    plain,
    read_shots,
    steady,
)
from distill_studio.generate.effects import Unit

EIGHT = "one two three four five six seven eight"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("What is rain?", "What is rain?"),
        ("User: What is rain?", "What is rain?"),
        ("**User:** What is rain?", "What is rain?"),
        ("User's next message: What is rain?", "What is rain?"),
        ("The user's question: What is rain?", "What is rain?"),
        ("### Instruction:\nWhat is rain?", "What is rain?"),
        ("Exercise 1: What is rain?", "What is rain?"),
        ('"What is rain?"', "What is rain?"),
        ("**What is rain?**", "What is rain?"),
        ("```\nWhat is rain?\n```", "What is rain?"),
        ("Sure! Here is the next message:\n\nUser: What is rain?", "What is rain?"),
        ("Here's a follow-up question:\n“What is rain?”", "What is rain?"),
        ("Follow-up: What is rain?", "What is rain?"),
        ('He said "no" and "yes"', 'He said "no" and "yes"'),
        ("Here is my list:", "Here is my list:"),
        ("Question:", ""),
        ("What is a user: a person?", "What is a user: a person?"),
        ("Users: who are they?", "Users: who are they?"),
        ("", ""),
    ],
)
def test_a_request_out_of_a_reply(said: str, meant: str) -> None:
    assert as_request(said) == meant


@effort(deadline=None, max_examples=50)
@given(st.text())
def test_a_request_is_part_of_the_reply(said: str) -> None:
    assert as_request(said) in said


def test_copies_are_eight_words_in_a_row_whatever_stands_between_them() -> None:
    assert copies(f"I say: {EIGHT.upper()}.", f"zero, {EIGHT}, nine")
    assert not copies("one two three four five six seven", EIGHT)
    assert not copies(EIGHT, EIGHT, [f"the task says {EIGHT}"])
    assert copied_share(f"a b c d {EIGHT}", EIGHT) == pytest.approx(8 / 12)
    assert copied_share("", EIGHT) == 0.0
    assert copied_share("a b", "a b c", 2) == 1.0


def test_a_judgement_is_greedy_until_it_could_not_be_used() -> None:
    chosen = SamplingParams(temperature=0.2, top_logprobs=5, stop=("\n",), max_tokens=9)
    seed = Seed(messages=(Message(role="user", content="Q"),))
    assert plain(chosen) == SamplingParams(temperature=0.2, max_tokens=9)
    assert steady(Unit(seed, 0, "T"), chosen).temperature == 0.0
    assert steady(Unit(seed, 0, "T", attempt=1), chosen).temperature == 0.7


def test_examples_are_read_out_of_one_text() -> None:
    text = "User: a\n\nAssistant: b\n>> c\n>>d\n---\nno reply\n-----\nx >> y\n>> z\n----\n>> g\n>>"
    assert read_shots(text) == [("User: a\n\nAssistant: b", ("c", "d")), ("x >> y", ("z",))]
    assert read_shots("") == []


def test_what_only_an_assistant_says() -> None:
    assert is_assistants("I'm ready to help. What would you like to do next?")
    assert not is_assistants("I'm ready to go. What would a pirate say?")
