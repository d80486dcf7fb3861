from fractions import Fraction

import pytest

from distill_studio.verify import exact, numeric


@pytest.mark.parametrize(
    ("answer", "reference", "is_right"),
    [
        ("#### 18", "18", True),
        ("#### $1,000", "1000", True),
        ("#### 1000.00", "1,000", True),
        ("It costs $18.50.", "18.5", True),
        ("The answer is 3 * 6 = 18 eggs", "18", True),
        ("The answer is **-4**", "-4", True),
        ("The answer is −4", "-4", True),
        ("16 - 3 - 4 = 9, and 9-2=7", "7", True),
        ("16-3", "3", True),  # a minus between numbers is no sign
        (r"\boxed{\frac{1}{2}}", "0.5", True),
        (r"\boxed{10{,}000}", "10000", True),
        ("2 1/2 cups", "2.5", True),
        ("1/3", "0.3333333333", True),
        ("0.33", "1/3", False),
        ("#### 18 dollars in 7 days", "18", True),
        ("#### 7", "18", False),
        ("nothing at all", "18", False),
        ("#### none, but 18 before", "18", True),
        ("1/0", "1", False),
        ("x2", "2", False),
        ("9" * 5000, "9", False),
        ("1e999", "1", False),
    ],
)
def test_final_numbers(answer, reference, is_right):
    assert numeric.verify(answer, reference).ok is is_right


def test_a_verdict_says_what_it_read():
    verdict = numeric.verify("#### 7", "so\n#### 1,800")
    assert (verdict.extracted, verdict.reason) == ("7", "another number than 1800")
    assert not numeric.verify("7", "no number").ok


def test_only_a_text_that_is_a_number_is_one():
    assert numeric.whole_number("$1,234.50") == Fraction("1234.5")
    assert numeric.whole_number("50%") == 50
    assert numeric.whole_number("3 apples") is None
    assert numeric.whole_number("(1, 2)") is None
    assert numeric.whole_number("x+1") is None
    assert numeric.show(Fraction(1, 3)) == "1/3"


@pytest.mark.parametrize(
    ("answer", "reference", "is_right"),
    [
        ("The answer is: (B).", "B", True),
        ("  PARIS!", "Paris", True),
        ("The capital is Paris", "Paris", False),
        ("Ｐａｒｉｓ", "paris", True),
        ("+", "-", False),
        ("", "x", False),
        ("x", "", False),
        ("...", "?", False),
    ],
)
def test_exact_answers(answer, reference, is_right):
    assert exact.verify(answer, reference).ok is is_right
