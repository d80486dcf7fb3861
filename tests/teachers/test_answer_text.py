"""Pieces of text are certain, whole and join to the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.teachers.answer_text import AnswerText, split_reasoning


def decode_bytes(ids) -> str:
    """A byte-level tokenizer: token = byte."""
    return bytes(ids).decode("utf-8", errors="replace")


def run(text: str, stops=()) -> tuple[list[str], AnswerText]:
    answer = AnswerText(decode_bytes, stops)
    pieces = []
    for byte in text.encode():
        pieces.append(answer.push(byte))
        if answer.is_stopped:
            break
    pieces.append(answer.finish())
    return pieces, answer


@given(st.text(alphabet=st.characters(exclude_characters="\ufffd", exclude_categories=["Cs"])))
def test_pieces_join_to_the_text(text):
    pieces, answer = run(text)
    assert "".join(pieces) == text == answer.text
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_of_four_bytes_comes_whole():
    pieces, _ = run("a😀b")
    assert [p for p in pieces if p] == ["a", "😀", "b"]


def test_half_a_character_at_the_end_is_not_lost_silently():
    answer = AnswerText(decode_bytes)
    pieces = [answer.push(b) for b in "é".encode()[:1]] + [answer.finish()]
    assert "".join(pieces) == "\ufffd"


@given(st.text("abE N", max_size=30), st.lists(st.text("abE", min_size=1, max_size=3), max_size=3))
def test_the_answer_ends_before_the_first_stop(text, stops):
    pieces, answer = run(text, stops)
    ends = [text.find(s) for s in stops if s in text]
    if not ends:
        assert "".join(pieces) == text
    else:
        assert answer.is_stopped
        # the stop that is complete first wins, as tokens arrive
        first_complete = min(text.find(s) + len(s) for s in stops if s in text)
        complete = [s for s in stops if text[:first_complete].endswith(s)]
        assert "".join(pieces) == text[: first_complete - max(map(len, complete))]


def test_the_beginning_of_a_stop_is_held_back():
    answer = AnswerText(decode_bytes, ["\nUser:"])
    pieces = [answer.push(b) for b in b"hi\nUs"]
    assert "".join(pieces) == "hi"
    assert answer.push(ord("e")) == ""
    assert answer.push(ord("d")) == "\nUsed"


@pytest.mark.parametrize(
    ("answer", "is_open", "expected"),
    [
        ("plain", False, ("", "plain")),
        ("<think>\na b\n</think>\n\nyes", False, ("a b", "yes")),
        ("a b</think>yes", True, ("a b", "yes")),
        ("still thinking", True, ("still thinking", "")),
        ("<think>cut off", False, ("cut off", "")),
        ("say </think> in text", False, ("", "say </think> in text")),
        ("<think></think>x", False, ("", "x")),
    ],
)
def test_split_reasoning(answer, is_open, expected):
    assert split_reasoning(answer, is_open=is_open) == expected
