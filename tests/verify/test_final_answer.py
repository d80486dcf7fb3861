import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.verify.final_answer import after_reasoning, final_answer


@pytest.mark.parametrize(
    ("text", "answer", "mark"),
    [
        ("so 3 * 6 = 18\n#### 18", "18", "####"),
        ("#### 1\nno, wait\n#### 2", "2", "####"),
        ("#### Step 2\nso\n#### 2. Total\nThe answer is 18", "18", "the answer is"),
        ("#### 18\nQuestion: next one", "18", "####"),
        ("#### $1,000 a year.\nDone", "$1,000 a year.", "####"),
        ("#### Step 1\nx\n#### Paris", "Paris", "####"),
        ("#### 16 - 3\nis 13", "#### 16 - 3\nis 13", ""),
        (r"thus \boxed{\frac{1}{2}}.", r"\frac{1}{2}", "\\boxed"),
        (r"\boxed{1} and \boxed{2", "1", "\\boxed"),  # the last complete one
        (r"\boxed{\text{a \} b}}", r"\text{a \} b}", "\\boxed"),
        (r"is \boxed 7.", "7", "\\boxed"),
        ("The answer is 3.5 apples. Bye.", "3.5 apples", "the answer is"),
        ("**Answer:** (B)", "(B)", "the answer is"),
        ("I say 5", "I say 5", ""),
        ("<think>#### 3</think> the answer: 4", "4", "the answer is"),
        ("<think>#### 3", "", ""),
        ("", "", ""),
    ],
)
def test_where_the_answer_stands(text, answer, mark):
    assert final_answer(text) == (answer, mark)


def test_only_what_follows_the_reasoning_counts():
    assert after_reasoning("<think>a</think> b") == "b"
    assert after_reasoning("a</think>b") == "b"  # servers drop the opening tag
    assert after_reasoning("a <think> b") == ""


@given(st.text(alphabet="\\boxed{}#<>think/ 1$", max_size=80))
def test_any_text_is_read(text):
    final_answer(text)


def test_a_long_hostile_text_takes_no_time():
    started = time.monotonic()
    for text in ("\\boxed{" * 50_000, "{" * 100_000, "#### " * 20_000, "answer is " * 20_000):
        final_answer(text)
    assert time.monotonic() - started < 15  # were it quadratic, minutes
