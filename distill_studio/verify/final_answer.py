"""Where in a reply its final answer stands. Start from `final_answer`."""

import re
from typing import NamedTuple

_HASHES = re.compile(r"^[^\S\n]*####[^\S\n]*(\S.*)$", re.MULTILINE)
_BOXES = ("\\boxed{", "\\fbox{", "\\boxed ")
_SAYS = re.compile(r"\banswer\b(?:\s+is\b|\s*[:=])[\s:*]*([^\n]+)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"


class Final(NamedTuple):
    """A final answer and the mark by which it was found ('' when nothing marks one)."""

    text: str
    mark: str


def after_reasoning(text: str) -> str:
    """What follows the last `</think>`; '' when the reasoning was opened and never closed."""
    head, closed, tail = text.rpartition(_THINK_CLOSE)
    if closed:
        return "" if _THINK_OPEN in tail else tail.strip()
    return "" if _THINK_OPEN in head + tail else text.strip()


def final_answer(text: str) -> Final:
    r"""The marked final answer: `#### x`, else the last `\boxed{x}`, else "the answer is x".

    Without a mark the whole text (after its reasoning) comes back with an empty mark.
    """
    said = after_reasoning(text)
    if hashes := _HASHES.findall(said):
        return Final(hashes[-1].strip(), "####")
    if boxed := _last_boxed(said):
        return Final(boxed, "\\boxed")
    if phrases := _SAYS.findall(said):
        return Final(_first_sentence(phrases[-1]), "the answer is")
    return Final(said, "")


def _first_sentence(line: str) -> str:
    return _SENTENCE_END.split(line, maxsplit=1)[0].strip().strip("*").strip()


def _last_boxed(text: str) -> str:
    """The content of the last complete box; '' when there is none."""
    ends = len(text)
    while ends > 0:
        start, opening = max((text.rfind(box, 0, ends), box) for box in _BOXES)
        if start < 0:
            return ""
        inside = start + len(opening)
        if opening.endswith(" "):
            return text[inside:].split(maxsplit=1)[0].rstrip(".,$") if text[inside:].split() else ""
        if content := _balanced(text, inside):
            return content.strip()
        ends = start
    return ""


def _balanced(text: str, start: int) -> str:
    """From `start` to the brace that closes the one before it; '' when it is not closed."""
    depth = 1
    for i in range(start, len(text)):
        if text[i] == "{" and text[i - 1] != "\\":
            depth += 1
        elif text[i] == "}" and text[i - 1] != "\\":
            depth -= 1
            if depth == 0:
                return text[start:i]
    return ""
