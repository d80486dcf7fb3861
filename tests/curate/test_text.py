"""Normal forms, hashes, diffs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.core.records import Message
from distill_studio.core.words import words
from distill_studio.curate.diff import word_diff
from distill_studio.curate.text import conversation_text, normalise, text_hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is  2+2?", "what is 2+2"),
        ("Hello, World!", "hello world"),
        ("“Quoted”", '"quoted"'),
        ("ｆｕｌｌ width", "full width"),
        ("a\n\nb", "a b"),
        ("Wow!! Really?!", "wow. really"),
        ("See it, then: go!", "see it then go"),
        ("你好！", "你好"),
        ("ＡＢ，c", "ab, c"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_same_in_normal_form(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.5", "15"),
        ("x > 3", "x < 3"),
        ("-5", "5"),
        ("1+1", "1-1"),
        ("???", "!!!"),
        ("a", "b"),
        ("2⁵", "25"),
        ("x²", "x2"),
        ("½", "1/2"),
        ("not (a or b)", "(not a) or b"),
        ("(1,5)", "(1.5)"),
        ("1,000", "1 000"),
        (".5", "5"),
        ("10:30", "10 30"),
        ("What is 5!?", "What is 5?"),
        ("n!!", "n!"),
        ("2n!", "2n"),
        ("(n-1)!", "(n-1)"),
        ("a != b", "a = b"),
        ("if !ok", "if ok"),
    ],
)
def test_different_in_normal_form(one, other):
    assert normalise(one) != normalise(other)


@given(st.text(alphabet="aB1.,:!?() ²\n=５！", max_size=12))
def test_a_normal_form_stays_as_it_is(text):
    assert normalise(normalise(text)) == normalise(text)


def test_only_text_has_a_hash():
    assert text_hash(" \n") == ""
    assert len(text_hash("x")) == 32


def test_the_system_prompt_does_not_count():
    messages = [
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Yes?"),
        Message(role="user", content="Bye"),
    ]
    assert conversation_text(messages) == "Hi\n\nYes?\n\nBye"


def test_each_chinese_sign_is_a_token():
    assert words("你好 world") == ["你", "好", "world"]


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_diff_gives_both_texts_back(left, right):
    pieces = word_diff(left, right)
    assert "".join(p.text for p in pieces if p.where != "right") == left
    assert "".join(p.text for p in pieces if p.where != "left") == right


def test_a_diff_marks_the_changed_word():
    assert [tuple(p) for p in word_diff("the red car", "the blue car")] == [
        ("both", "the "),
        ("left", "red"),
        ("right", "blue"),
        ("both", " car"),
    ]
