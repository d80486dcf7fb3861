"""Each rule against a new instruction, and what it lets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.generate.eliminate import (
    RULES,
    Eliminated,
    in_words,
    rule_against,
    without_marks,
)

SHOWN = ["Name a fish that flies.", "Why is the sky blue?"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Name birds", "too_short"),
        ("", "too_short"),
        ("word " * 151, "too_long"),
        ("word " * 150, ""),
        ("name a FISH that flies", "copy"),
        ("Describe this picture in words.", "needs_media"),
        ("Draw a cat on a mat.", "needs_media"),
        ("Write a program that sorts numbers.", "write_a_program"),
        ("Write a program-like poem", "write_a_program"),
        ("-> name three birds", "punctuation_start"),
        ("Назови трёх птиц", "other_script"),
        ("Élever des abeilles, comment ?", ""),
        ("Classify these three words:", "misses_input"),
        ("Summarize the following text.", "misses_input"),
        ("Rewrite this sentence in passive voice.", "misses_input"),
        ("Summarize the following text: Bees live in hives.", ""),
        ("Add the following two numbers, 4 and 5.", ""),
        ("Rewrite this sentence: 'Bees made honey.'", ""),
        ("What lives below the sea?", ""),
        ("Explain how a photon differs from an electron.", ""),
    ],
)
def test_rules(text: str, rule: str) -> None:
    assert rule_against(text, SHOWN) == rule
    assert rule in ("", *RULES)


def test_other_scripts_are_fine_where_the_people_use_them() -> None:
    assert rule_against("Назови трёх птиц", ["Почему небо синее?", *SHOWN]) == ""


@given(st.text())
def test_any_text_has_a_verdict(text: str) -> None:
    assert rule_against(text, SHOWN) in ("", *RULES)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("**Explain** why.", "Explain why."),
        ("**Instruction:** Name a bird.", "Name a bird."),
        ("Task: Name a bird.", "Name a bird."),
        ("2 * 3 * 4 is what?", "2 * 3 * 4 is what?"),
        ("__init__ does what?", "__init__ does what?"),
        ("* starred", "* starred"),
    ],
)
def test_marks_go(text: str, bare: str) -> None:
    assert without_marks(text) == bare


def test_counts_in_words() -> None:
    found = [Eliminated(1, "copy", "a"), Eliminated(2, "cut_off", "b"), Eliminated(3, "copy", "c")]
    assert in_words(found) == "2 copied from the instructions shown, 1 cut off"
    assert in_words(found[:2]) == in_words(found[1::-1])
    near = Eliminated(1, "too_like", "a" * 999, "b", 0.8181).as_params()
    assert near == {"place": 1, "rule": "too_like", "text": "a" * 300, "like": "b", "score": 0.818}
