"""Instances of an instruction, as Self-Instruct makes them: read them, and tell which are sound.

An instance is an input and its output (arXiv 2212.10560, section 2.2). Start from `read_kind`,
`read_labels` and `read_inputs` for replies, and `sound` for what is kept.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from distill_studio.core.lenient_json import Unreadable
from distill_studio.generate.asides import as_request
from distill_studio.generate.text_lists import is_nothing, read_list, read_parts

SAME_INPUT = "same_input"  # keys of eliminate.RULES
REPEATED = "repeated"
REPEATS_INPUT = "repeats_input"
FEWEST_LABELS = 2
_INPUT = "Input"
_LABEL_WORDS = 10  # a longer line is no class label

_VERDICT = re.compile(r"\A\W*(?:(?:answer|classification)\W+)?(yes|no)\b", re.IGNORECASE)
_LAST = re.compile(
    r"^\W*(?:(?:so|final|the)\W+)*(?:answer\W+(?:is\W+)?)?(yes|no)\W*\Z", re.I | re.M
)
_PHRASE = re.compile(r"\b(?:is|it's)\s+(not\s+|no\s+)?(?:an?\s+)?classification\b", re.IGNORECASE)
_AFTER_LABEL = re.compile(r"\s*:(?:\s|\Z)|\s[-–—]\s")  # what explains a label


@dataclass(frozen=True)
class Instance:
    """An input of an instruction, '' where it needs none, and the output."""

    instruction: str
    input: str
    output: str

    @property
    def prompt(self) -> str:
        """What is asked."""
        return joined(self.instruction, self.input)


def joined(instruction: str, given: str) -> str:
    """The instruction, then what it works on."""
    return f"{instruction}\n\n{given}" if given else instruction


def read_kind(text: str) -> bool | None:
    """Whether a reply says yes, classification; None where it says neither, or both."""
    said = {
        match[1].lower() == "yes" for match in (_VERDICT.match(text), _LAST.search(text)) if match
    }
    said |= {not match[1] for match in _PHRASE.finditer(text)}
    return said.pop() if len(said) == 1 else None


def read_labels(text: str, *, is_cut: bool = False) -> list[str]:
    """The class labels that a reply lists, each once, without explanations. May be too few.

    Raises:
        Unreadable: There is no list.
    """
    found: dict[str, str] = {}
    for item in read_list(text, is_cut=is_cut):
        label = _AFTER_LABEL.split(item.replace("**", ""))[0].strip(" \t\n.,;\"“”'`*")
        if label and len(label.split()) <= _LABEL_WORDS:
            found.setdefault(key_of(label), label)
    return list(found.values())


def read_inputs(text: str, *, is_cut: bool = False) -> list[str]:
    """The inputs that a reply gives, each once; one empty one where the task needs none.

    Raises:
        Unreadable: It gives none, and does not say that none is needed.
    """
    try:
        given = [block[_INPUT] for block in read_parts(text, (_INPUT,))]
    except Unreadable:
        given = [""] if is_nothing(text) else read_list(text)
    if is_cut:  # the last one is not whole
        given = given[:-1]
    if not given:
        raise Unreadable("The reply was cut off in its first input.", "Allow longer answers.")
    found: dict[str, str] = {}
    for each in filter(None, given):
        found.setdefault(key_of(each), each)
    return list(found.values()) or [""]


def read_input(text: str) -> str:
    """The one input that a reply gives, without what models put around it; '' where it has none."""
    try:
        bare = read_parts(text, (_INPUT,))[0][_INPUT]
    except Unreadable:
        bare = text
    found = as_request(bare)
    return "" if is_nothing(found) else found


def sound(instances: Sequence[Instance]) -> list[str]:
    """For each instance the rule that speaks against it; '' where none does.

    Of those that are equal in all, the first is kept. Those with one input and several outputs
    all go: nobody knows which is right.
    """
    outputs: dict[str, set[str]] = {}
    for each in instances:
        outputs.setdefault(key_of(each.prompt), set()).add(key_of(each.output))
    seen: set[str] = set()
    rules = []
    for each in instances:
        key = key_of(each.prompt)
        if key_of(each.output) in (key_of(each.input or each.instruction), key):
            rules.append(REPEATS_INPUT)
        elif len(outputs[key]) > 1:
            rules.append(SAME_INPUT)
        else:
            rules.append(REPEATED if key in seen else "")
            seen.add(key)
    return rules


def key_of(text: str) -> str:
    """The same for texts that differ in spaces and capitals alone."""
    return " ".join(text.split()).casefold()
