"""Exercises out of a teacher's reply, and which of them cannot be done by themselves.

Start from `read_exercises`, then `wrong_with`.
"""

import re
from collections.abc import Sequence

from distill_studio.core.lenient_json import Unreadable
from distill_studio.generate.asides import as_request, copied_share, is_assistants, is_like_one
from distill_studio.generate.eliminate import RULES, rule_against
from distill_studio.generate.text_lists import read_list

_MOST_COPIED = 0.5  # of an exercise's words, out of the section
_LIKE_EXAMPLE = 0.7  # ROUGE-L from which an exercise is an example with other numbers
_NUMBERS = re.compile(r"\A(?:\s*\d{1,3}[.)]\s+)+")
_SOLUTION = re.compile(
    r"(?:\A|\n|(?<=[.?!])\s)[#*_\s]*(?:solution|answer|hint)s?\b[*_]*\s*[:：].*", re.I | re.DOTALL
)
_NEEDS_SECTION = re.compile(
    r"\b(?:section|chapter|textbook|passage|excerpt)\b|\b(?:the|this) (?:text|paragraph)\b"
    r"|\b(?:above|previous|earlier|given) (?:text|example|paragraph)\b",
    re.IGNORECASE,
)


def read_exercises(text: str, count: int, *, is_cut: bool = False) -> dict[int, str]:
    """The first `count` exercises by their place in a reply, without solutions that came along.

    A single one may stand without a number.

    Raises:
        Unreadable: There is no list.
    """
    try:
        items = read_list(text, is_cut=is_cut)
    except Unreadable:
        if count > 1 or is_cut or not text.strip():
            raise
        items = [text]
    bare = [as_request(_NUMBERS.sub("", item)) for item in items[:count]]
    cleaned = [as_request(_SOLUTION.sub("", item)) for item in bare]
    return dict(enumerate(cleaned, start=1))


def wrong_with(exercise: str, section: str, shown: Sequence[str]) -> str:
    """Why an exercise is of no use; '' where it is.

    Args:
        exercise: Its text.
        section: What it was made from; whoever does it does not see that.
        shown: Exercises that the teacher saw as examples.
    """
    rule = rule_against(exercise) if exercise else "too_short"
    if rule:
        return RULES[rule]
    if is_assistants(exercise):
        return "no exercise, but what an assistant says"
    if _NEEDS_SECTION.search(exercise):
        return "needs the section that it is about"
    if copied_share(exercise, section) > _MOST_COPIED:
        return "copied from the section"
    return "too like an example" if is_like_one(exercise, shown, _LIKE_EXAMPLE) else ""
