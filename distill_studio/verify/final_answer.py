"""Where in a reply its final answer stands. Start from `final_answer`."""

import re
from typing import NamedTuple

# "#### 18" or "#### $1,000 a year", but no Markdown heading like "#### Step 2" or "#### 2. Total".
_HASHES = re.compile(
    r"^[^\S\n]*####[^\S\n]*([-+−$€£\\]*\d[\d,]*(?:\.\d+)?[%$]?(?:[^\S\n]+\w+){0,3}\.?)[^\S\n]*$",
    re.M,
)
_LAST_HASHES = re.compile(r"(?:^|\n)[^\S\n]*####[^\S\n]*([^\s#].*)\Z")
_BRACES = re.compile(r"\\[{}]|\\f?boxed\s*\{|\\fbox\s*\{|[{}]")  # escaped ones are signs
_BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$.,]+)")
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
    r"""The marked final answer of a reply, after its reasoning.

    Marks, first one found: `#### x` (as the last line, or a number), the last `\boxed{x}`,
    "the answer is x".
    Without a mark the whole text (after its reasoning) comes back with an empty mark.
    """
    said = after_reasoning(text)
    if hashes := _LAST_HASHES.findall(said) or _HASHES.findall(said):
        return Final(hashes[-1].strip(), "####")
    if boxed := _last_boxed(said):
        return Final(boxed, "\\boxed")
    if phrases := _SAYS.findall(said):
        return Final(_first_sentence(phrases[-1]), "the answer is")
    return Final(said, "")


def _first_sentence(line: str) -> str:
    return _SENTENCE_END.split(line, maxsplit=1)[0].strip().strip("*").strip()


def _last_boxed(text: str) -> str:
    """The content of the last complete box; '' when there is none. One pass over the text."""
    open_braces: list[int] = []  # where the content of a box starts, or -1 for another brace
    last_start, last_end = -1, -1
    for match in _BRACES.finditer(text):
        if match[0].endswith("{") and len(match[0]) != 2:
            open_braces.append(match.end() if match[0].startswith("\\") else -1)
        elif match[0] == "}" and open_braces and (start := open_braces.pop()) > last_start:
            last_start, last_end = start, match.start()
    for match in _BARE_BOX.finditer(text):
        if match.start(1) > last_start:
            last_start, last_end = match.span(1)
    return text[last_start:last_end].strip() if last_start >= 0 else ""
