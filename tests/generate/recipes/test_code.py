"""Code whose tests really run: kept, mended, or dropped with the error."""

from typing import Any

import pytest

from distill_studio.core.records import Seed
from distill_studio.generate.effects import Dropped, Made, Unit
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.base import user
from tests.generate.play import Played, Said, play, world

CODE = RECIPES["code"]
TASK = "Write a function add(a, b) that returns the sum of two numbers."
RIGHT = """To add two numbers, the function returns their sum with the plus operator.

```python
def add(a, b):
    return a + b
```
"""
WRONG = RIGHT.replace("a + b", "a - b")
TESTS = "```python\nassert add(1, 2) == 3\nassert add(-1, 1) == 0\n```"


def run(
    replies: dict[str, Said], tests: str = "", system: str = "", **options: Any
) -> tuple[Any, Played]:
    seed = Seed(messages=user(TASK), extra={"tests": tests} if tests else {})
    unit = Unit(seed, 0, "T")
    settings = Settings(
        system_prompt=system,
        texts={text.name: text.text for text in CODE.prompts.texts},
        options=CODE.prompts.chosen(options),
    )
    here = world(unit, settings, replies)
    return play(CODE, unit, settings, replies, here).result, here


def test_code_that_passes_is_kept_with_its_tests() -> None:
    made, here = run({"answer": RIGHT, "tests": TESTS})
    assert isinstance(made, Made)
    (draft,) = made.drafts
    assert draft.messages == user(TASK)  # the system prompt was the teacher's
    assert draft.params["verified"]["reason"] == "all tests passed"
    assert "assert add(1, 2) == 3" in draft.params["verified"]["tests"]
    assert (draft.params["tests_from"], draft.params["repairs"]) == ("teacher", 0)
    asked = {ask.step: ask for ask in here.asked}
    assert "def add(a, b)" in asked["tests"].messages[-1].content
    assert "return a + b" not in asked["tests"].messages[-1].content
    assert asked["answer"].messages[0].role == "system"


def test_the_seeds_own_tests_are_used_and_none_asked_for() -> None:
    made, here = run({"answer": RIGHT}, tests="assert add(2, 2) == 4")
    assert isinstance(made, Made)
    assert made.drafts[0].params["tests_from"] == "seed"
    assert [ask.step for ask in here.asked] == ["answer"]


def test_code_that_fails_is_shown_its_error_and_mended() -> None:
    made, here = run({"answer": WRONG, "tests": TESTS, "mend/1": RIGHT})
    assert isinstance(made, Made)
    (draft,) = made.drafts
    assert "a + b" in draft.reply.text
    assert draft.params["repairs"] == 1
    sent = here.asked[-1].messages
    assert [m.role for m in sent] == ["user", "assistant", "user"]
    assert "AssertionError" in sent[-1].content


def test_a_mended_answer_may_not_speak_of_what_no_reader_has_seen() -> None:
    back = RIGHT.replace("To add two numbers", "Here is the corrected version: to add two numbers")
    dropped, _ = run({"answer": WRONG, "tests": TESTS, "mend/1": back})
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code) == ("mend/1", "eliminated")
    assert "no reader has seen" in dropped.reason
    made, _ = run({"answer": back, "tests": TESTS})  # said unasked, it is the answer's own
    assert isinstance(made, Made)


def test_tests_that_bring_their_own_solution_test_the_teachers() -> None:
    own = "```python\ndef add(a, b):\n    return a + b\n\nassert add(1, 2) == 3\n```"
    dropped, _ = run({"answer": WRONG, "tests": own}, repairs=0)
    assert isinstance(dropped, Dropped)
    assert dropped.code == "not_verified"
    made, _ = run({"answer": RIGHT, "tests": own})
    assert isinstance(made, Made)
    assert "def add" not in made.drafts[0].params["verified"]["tests"]
    dropped, _ = run({"answer": RIGHT, "tests": "```python\nassert add(1, 2 == 3\n```"})
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code) == ("tests", "unreadable")


def test_code_that_stays_wrong_is_dropped_with_the_error_and_asked_anew() -> None:
    dropped, _ = run({"answer": WRONG, "tests": TESTS}, repairs=0)
    assert isinstance(dropped, Dropped)
    assert (dropped.step, dropped.code) == ("answer", "not_verified")
    assert "AssertionError" in dropped.reason
    assert "a - b" in dropped.text


@pytest.mark.parametrize(
    ("replies", "options", "step", "said"),
    [
        ({"answer": "Just add them."}, {}, "answer", "no function"),
        ({"answer": RIGHT, "tests": "It is fine."}, {}, "tests", "no tests"),
        ({"answer": RIGHT, "tests": "```python\nprint(add(1, 2))\n```"}, {}, "tests", "no tests"),
        (
            {"answer": "```python\ndef add(a, b):\n    return a + b\n```", "tests": TESTS},
            {},
            "answer",
            "no explanation",
        ),
    ],
)
def test_what_cannot_be_used_says_why(
    replies: dict[str, Said], options: dict[str, Any], step: str, said: str
) -> None:
    dropped, _ = run(replies, **options)
    assert isinstance(dropped, Dropped)
    assert dropped.step == step
    assert said in dropped.reason


def test_bare_code_may_be_kept() -> None:
    bare = "```python\ndef add(a, b):\n    return a + b\n```"
    made, _ = run({"answer": bare, "tests": TESTS}, explanation="not needed")
    assert isinstance(made, Made)


def test_a_system_prompt_of_the_user_takes_the_place_and_is_trained_on() -> None:
    made, here = run({"answer": RIGHT, "tests": TESTS}, system="Be terse.")
    assert isinstance(made, Made)
    assert here.asked[0].messages[0].content == "Be terse."
    assert made.drafts[0].messages[0].content == "Be terse."
