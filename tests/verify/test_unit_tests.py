"""Code in answers, run in the real sandbox."""

import pytest

from distill_studio.sandbox.isolation import isolation
from distill_studio.verify import TIMED_OUT
from distill_studio.verify.unit_tests import extract_code, verify

needs_sandbox = pytest.mark.skipif(
    isolation().kind is None, reason=f"no sandbox on this machine: {isolation().detail}"
)
ADD = "```python\ndef add(a, b):\n    return a + b\n```"

CASE = (
    "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_add(self):\n        self.assertEqual(add(1, 2), {})\n"
)
HELPED = """```python
def double(n): return _twice(n)
def test_me(n): return n
def _twice(n): return 2 * n
```"""


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Sure.\n```python\nx = 1\n```\nand\n```py\ny = 2\n```", "x = 1\n\ny = 2\n"),
        ("```\nx = 1\n```\n```bash\nls\n```", "x = 1\n"),
        ("```bash\nls\n```", ""),
        ("def f():\n    return 1", "def f():\n    return 1\n"),
        ("No code here.", ""),
        ("```python\nx = 1", ""),
        ("<think>```python\nx = 0\n```</think>~~~python\nx = 1\n~~~", "x = 1\n"),
    ],
)
def test_the_code_of_an_answer(answer, code):
    assert extract_code(answer) == code


@needs_sandbox
@pytest.mark.parametrize(
    ("answer", "tests", "is_right", "reason"),
    [
        (ADD, "assert add(1, 2) == 3", True, "all tests passed"),
        (ADD, "def test_add():\n    assert add(1, 2) == 3", True, "all tests passed"),
        (ADD, "def test_add():\n    assert add(1, 2) == 4", False, "AssertionError"),
        (ADD, "def check(candidate):\n    assert candidate(1, 2) == 3", True, "passed"),
        (ADD, "def check(candidate):\n    assert candidate(1, 2) == 4", False, "failed"),
        (ADD, "assert sub(1, 2) == 3", False, "NameError"),
        (ADD, " ", False, "no tests"),
        (ADD, "add(1, 2)", False, "check nothing"),
        (ADD, CASE.format(3), True, "passed"),
        (ADD, CASE.format(4), False, "AssertionError"),
        (HELPED, "def check(f):\n    assert f(2) == 4\ncheck(double)", True, "passed"),
        (HELPED, "from solution import double\nassert double(2) == 4", True, "passed"),
        ("```python\ndef add(a, b) return\n```", "assert 1", False, "SyntaxError"),
        ("```python\nexit(0)\n```", "assert 1 == 2", False, "before its tests ended"),
        ("```python\nimport os; os._exit(0)\n```", "assert 1 == 2", False, "before its tests"),
        ("I cannot.", "assert 1", False, "no code"),
    ],
)
def test_code_is_tested(answer, tests, is_right, reason):
    verdict = verify(answer, tests)
    assert verdict.ok is is_right
    assert reason in verdict.reason


@needs_sandbox
@pytest.mark.slow
def test_code_that_never_ends_is_cut_off():
    assert verify("```python\nwhile True: pass\n```", "assert 1", timeout_s=1).reason == TIMED_OUT
