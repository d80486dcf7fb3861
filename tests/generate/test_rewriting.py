"""WizardLM's rules, on words by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.generate.eliminate import RULES
from distill_studio.generate.rewriting import (
    read_equal,
    rule_against_answer,
    rule_against_rewrite,
    without_heading,
)

BEFORE = "Name a bird."


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Name a bird that cannot fly, and say why.", ""),
        ("name  a bird", "no_gain"),
        ("", "empty"),
        ("Name a bird. #Rewritten Prompt#: Name two.", "copies_prompt"),
        ("The given prompt asks for a bird.", "copies_prompt"),
        ("The instruction below is harder.", "copies_prompt"),
        ("Rewrite the above instructions.", "copies_prompt"),
        ("Here it is, just as it was!", "only_stop_words"),
        ("?!", "only_stop_words"),
        ("鳥を二羽挙げて", ""),
        ("2 + 3 = ?", ""),
    ],
)
def test_rewrites(text: str, rule: str) -> None:
    assert rule_against_rewrite(text, BEFORE) == rule
    assert rule in ("", *RULES)


def test_a_seed_may_speak_of_prompts_itself() -> None:
    before = "Improve the given prompt: Draw a cat."
    assert rule_against_rewrite("Improve the given prompt in two ways: Draw a cat.", before) == ""


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("The emu.", ""),
        ("I'm sorry, but I cannot do that.", "sorry"),
        ("Sorry " + "word " * 78, "sorry"),
        ("Sorry " + "word " * 79, ""),
        ("It is what it is...", "only_stop_words"),
        ("No.", ""),
        (" \n", "empty"),
    ],
)
def test_answers(answer: str, rule: str) -> None:
    assert rule_against_answer(answer) == rule


@pytest.mark.parametrize(
    ("text", "is_equal"),
    [
        ("Equal", True),
        ("**Equal**", True),
        ("Equal: both ask for a different bird.", True),
        ("The two instructions are equivalent.", True),
        ("They do not differ.", True),
        ("Not equal", False),
        ("Different. The second is not the same.", False),
        ("They are not exactly the same.", False),
        ("These instructions differ in depth.", False),
        ("Equal or Different", None),
        ("They are equal in depth but differ in breadth.", None),
        ("A bird.", None),
        ("", None),
    ],
)
def test_verdicts(text: str, is_equal: bool | None) -> None:
    assert read_equal(text) is is_equal


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Name a bird.", "Name a bird."),
        ("**New instruction:** Name a bird.", "Name a bird."),
        ("### Rewritten Prompt:\nName a bird.", "Name a bird."),
        ('Sure! Here is the rewritten instruction:\n\n"Name a bird."', "Name a bird."),
        ("“Name a bird.”", "Name a bird."),
        ("Here is a list: 1, 2. Sort it.", "Here is a list: 1, 2. Sort it."),
        ('"Bird" and "cat": which flies?', '"Bird" and "cat": which flies?'),
    ],
)
def test_headings_go(text: str, bare: str) -> None:
    assert without_heading(text) == bare


@given(st.text(), st.text())
def test_any_text_has_a_verdict(text: str, before: str) -> None:
    bare = without_heading(text)
    assert bare == bare.strip()
    assert rule_against_rewrite(bare, before) in ("", *RULES)
    assert rule_against_answer(text) in ("", *RULES)
    assert read_equal(text) in (True, False, None)
