"""Which new instructions are not worth an answer, and why: rules that need no model.

Start from `rule_against`. The rules are Self-Instruct's (arXiv 2212.10560, section 2.2 and its
code), which Alpaca took over; `misses_input` is ours, for instructions that come with all they
work on. Likeness to other prompts is the effect `Novel`, not a rule of this file.
"""

import re
import string
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

FEWEST_WORDS = 3
MOST_WORDS = 150
_SHOWN = 300  # characters of an eliminated text in the provenance; the reply itself is kept whole

CUT_OFF = "cut_off"
TOO_LIKE = "too_like"
COPY = "copy"
MORE_THAN_ASKED = "more_than_asked"
EMPTY = "empty"
NOT_READ = "not_read"
FEW_LABELS = "few_labels"
RULES = {  # in the words of a reason; some belong to one recipe
    "too_short": f"shorter than {FEWEST_WORDS} words",
    "too_long": f"longer than {MOST_WORDS} words",
    "needs_media": "about images, sounds, graphs or files",
    "write_a_program": 'beginning with "Write a program"',
    "punctuation_start": "beginning with punctuation",
    "other_script": "in another script than the instructions shown",
    "misses_input": "without the text that they are about",
    COPY: "copied from the instructions shown",
    TOO_LIKE: "too like a prompt there is",
    CUT_OFF: "cut off",
    MORE_THAN_ASKED: "more than asked for",
    EMPTY: "empty",
    "no_gain": "without a gain over the instruction before",
    "not_judged": "on which the judge gave no verdict",
    "copies_prompt": "with words of our own prompt",
    "only_stop_words": "of stop words and punctuation alone",
    "sorry": "answered by a short apology",
    "far_too_long": "longer than 500 words",
    "template_left": "broken by marks of the chat template",
    "as_answer": "not a question but an assistant's answer",
    "loops": "caught in a loop",
    NOT_READ: "not to be read",
    FEW_LABELS: "with fewer than two class labels",
    "same_input": "with an input that has other outputs too",
    "repeated": "repeated",
    "repeats_input": "whose output repeats the input",
}

_MEDIA = re.compile(
    r"\b(?:images?|pictures?|photos?|graphs?|files?|maps?|draw|plot|go to|videos?|audio|music"
    r"|flowcharts?|diagrams?)\b",
    re.IGNORECASE,
)
_WORK = r"(?:text|sentences?|paragraphs?|passages?|articles?|e-?mails?|reviews?|table|list|code)"
_POINTS = re.compile(
    rf"\b(?:the following|(?:shown|given|listed) below|the (?:given|above) {_WORK}"
    rf"|(?:a|this) given {_WORK}|this {_WORK})\b",
    re.IGNORECASE,
)
_BOLD = re.compile(r"^(\*{1,3})(?=\S)(.+?)(?<=\S)\1")
_LABEL = re.compile(r"^(?:new )?(?:instruction|task|prompt|question)\s*:\s*", re.IGNORECASE)
_HOLDS = re.compile(r"[:\n\"“”«`(]\s*\S|\d|'\w")


@dataclass(frozen=True)
class Eliminated:
    """An instruction that was not kept."""

    place: int  # of the instruction in the reply, from 1
    rule: str  # key of RULES
    text: str
    like: str = ""  # the prompt it is too like
    score: float | None = None  # how like, 0 to 1

    def as_params(self) -> dict[str, Any]:
        """For the provenance of its siblings."""
        found: dict[str, Any] = {
            "place": self.place,
            "rule": self.rule,
            "text": self.text[:_SHOWN],
        }
        if self.score is not None:
            found |= {"like": self.like[:_SHOWN], "score": round(self.score, 3)}
        return found


def without_marks(text: str) -> str:
    """An instruction without the bold and the label ("Instruction:") that it begins with."""
    return _LABEL.sub("", _BOLD.sub(r"\2", text.strip())).strip()


def rule_against(text: str, shown: Collection[str] = (), *, is_whole: bool = True) -> str:
    """The first rule that speaks against an instruction; '' where none does.

    Args:
        text: The instruction.
        shown: The instructions that the teacher saw.
        is_whole: It has to bring what it works on.
    """
    words = len(text.split())
    if words < FEWEST_WORDS:
        return "too_short"
    if words > MOST_WORDS:
        return "too_long"
    if _plain(text) in {_plain(each) for each in shown}:
        return COPY
    if _MEDIA.search(text):
        return "needs_media"
    if text.casefold().startswith("write a program"):
        return "write_a_program"
    if text[0] in string.punctuation:
        return "punctuation_start"
    if not _is_latin(text) and all(_is_latin(each) for each in shown if each):
        return "other_script"
    return "misses_input" if is_whole and _misses_input(text) else ""


def in_words(eliminated: Sequence[Eliminated]) -> str:
    """How many fell to each rule: '2 too like a prompt there is, 1 cut off'."""
    counts = Counter(each.rule for each in eliminated)
    order = list(RULES)  # the same counts make the same words, so that reasons can be grouped
    found = sorted(counts.items(), key=lambda item: (-item[1], order.index(item[0])))
    return ", ".join(f"{count} {RULES[rule]}" for rule, count in found)


def _misses_input(text: str) -> bool:
    """It speaks of a text, and none is there."""
    if text.rstrip().endswith(":"):
        return True
    points = _POINTS.search(text)
    return points is not None and not _HOLDS.search(text)


def _is_latin(text: str) -> bool:
    """Its first letter is Latin; texts without letters count as such."""
    first = next((c for c in text if c.isalpha()), "a")
    return first < "\u0250"


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().casefold()
