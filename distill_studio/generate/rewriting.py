"""Is a rewritten instruction worth keeping? WizardLM's rules (arXiv 2304.12244, section 3.2).

It is not where it adds nothing (a judge says so), where the answer says sorry in fewer than 80
words or has no content, and where it copies words of the prompt that asked for it.
"""

import re

from distill_studio.generate.eliminate import EMPTY, without_marks

LONGEST_APOLOGY = 79  # words
_COPIED = re.compile(
    r"\b(?:given|rewritten|created|new|original|above|first|second) (?:prompt|instruction)s?\b"
    r"|\bthe instructions? (?:below|above)\b|\b10 to 20 words\b"
    r"|\bexpert assistant\b|\bdo not answer it\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:(?:sure|certainly|of course|okay)\b[^\n:]{0,60}[:!,.]\s*)?here(?: is|'s|’s)\b"
    r"[^\n:]{0,60}\b(?:instruction|prompt|version|rewrit\w+)\b[^\n:]{0,60}:\s*",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"^[#*\s]*(?:(?:new|rewritten|created|revised) )?(?:instruction|prompt)\s*:[*\s]*",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"([^"]+)"|“([^“”]+)”', re.DOTALL)
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about above after again also am an and any are as at be because been before"
        " being below between but by can could did do does doing down during each few for"
        " from further had has have having he her here hers him his how i if in into is it"
        " its just me more most my nor now of off on once only or other our out over own"
        " same she should so some such than that the their them then there these they this"
        " those through to too under until up very was we were what when where which while"
        " who whom why will with would you your",
    )
)
_DIFFERENT = re.compile(
    r"\b(?:not (?:\w+ )?(?:equal|the same|equivalent|identical)|unequal|differ(?:ent|s)?)\b",
    re.IGNORECASE,
)
_NO_DIFFERENCE = re.compile(r"\b(?:not|no) (?:\w+ )?differ\w*", re.IGNORECASE)
_EQUAL = re.compile(r"\b(?:equal|the same|equivalent|identical)\b", re.IGNORECASE)
_VERDICT = re.compile(r"\W*((?:not )?equal|different|the same)\b(?!\W*(?:or|/)\b)", re.IGNORECASE)


def without_heading(text: str) -> str:
    """A rewritten instruction without "New instruction:", bold or quotes around it."""
    bare = without_marks(_HEADING.sub("", _OPENING.sub("", text.strip())))
    quoted = _QUOTED.fullmatch(bare)
    return (quoted[1] or quoted[2]).strip() if quoted else bare


def rule_against_rewrite(text: str, before: str) -> str:
    """The rule that speaks against a rewritten instruction; '' where none does."""
    if not text:
        return EMPTY
    if _words(text) == _words(before):
        return "no_gain"
    if _COPIED.search(text) and not _COPIED.search(before):
        return "copies_prompt"
    return "only_stop_words" if _has_no_content(text) else ""


def rule_against_answer(answer: str) -> str:
    """The rule by which an answer shows that its instruction is no good; '' where none does."""
    if not answer.strip():
        return EMPTY
    if "sorry" in answer.lower() and len(answer.split()) <= LONGEST_APOLOGY:
        return "sorry"
    return "only_stop_words" if _has_no_content(answer) else ""


def read_equal(text: str) -> bool | None:
    """Whether a judge calls two instructions equal; None where it says neither, or both."""
    begins = _VERDICT.match(text)
    said = begins[1] if begins else text
    is_different = bool(_DIFFERENT.search(_NO_DIFFERENCE.sub("", said)))
    is_equal = bool(_EQUAL.search(_DIFFERENT.sub("", said)) or _NO_DIFFERENCE.search(said))
    return is_equal if is_different != is_equal else None


def _has_no_content(text: str) -> bool:
    """Only stop words and punctuation; a number, formula or other script is content."""
    words = _words(text)
    return all(word in _STOP_WORDS for word in words)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
