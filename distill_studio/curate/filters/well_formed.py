"""Answers with broken form: empty, or with something that is opened and never closed."""

import re
from typing import Literal

from distill_studio.core.json_extent import find_extent
from distill_studio.curate.filters.base import (
    Answer,
    Filter,
    FilterConfig,
    Group,
    Limit,
    Measured,
    faults,
    setting,
)

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_CODE = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1|\Z)|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_THINK = re.compile(r"<(/?)(think|thinking|reasoning)>", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\\(begin|end)\s?\{([A-Za-z*]{1,30})\}")
_DISPLAY = re.compile(r"^\s*\$\$", re.MULTILINE)
_JSON_START = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\d\]-])")
_FAULTS = {
    "form.empty": ("drop_empty", "empty answer"),
    "form.unclosed_code": ("drop_unclosed_code", "a code block is never closed"),
    "form.unclosed_thinking": ("drop_unclosed_thinking", "{note} is never closed"),
    "form.unclosed_latex": ("drop_unclosed_latex", "{note} is never closed"),
    "form.unclosed_json": ("drop_unclosed_json", "starts as JSON that is never closed"),
}


class WellFormedConfig(FilterConfig):
    """Which faults of form drop a row."""

    kind: Literal["well_formed"] = "well_formed"
    drop_empty: bool = setting(True, "Drop empty answers")
    drop_unclosed_code: bool = setting(True, "Drop unclosed code blocks")
    drop_unclosed_thinking: bool = setting(True, "Drop unclosed <think>")
    drop_unclosed_latex: bool = setting(True, "Drop unclosed LaTeX")
    drop_unclosed_json: bool = setting(True, "Drop unclosed JSON")

    def limits(self) -> tuple[Limit, ...]:
        """A limit of zero on each chosen fault."""
        return tuple(
            Limit(measure, maximum=0.0 if getattr(self, switch) else None, why_high=why)
            for measure, (switch, why) in _FAULTS.items()
        )


def measure(answer: Answer) -> dict[str, Measured]:
    """1 for each fault that the text has; those it has not are left out."""
    text = answer.text
    return faults({
        "form.empty": not text.strip(),
        "form.unclosed_code": has_unclosed_fence(text),
        "form.unclosed_thinking": unclosed_thinking(text),
        "form.unclosed_latex": unclosed_latex(text),
        "form.unclosed_json": has_unclosed_json(text),
    })


def has_unclosed_fence(text: str) -> bool:
    """True when a fenced block is open at the end (CommonMark 4.5: closed by as many signs)."""
    opened = ""
    for match in _FENCE.finditer(text):
        fence, rest = match.groups()
        if not opened:
            if "`" not in rest or fence[0] == "~":
                opened = fence
        elif fence[0] == opened[0] and len(fence) >= len(opened) and not rest.strip():
            opened = ""
    return bool(opened)


def unclosed_thinking(text: str) -> str:
    """The tag of a chain of thought that never ends, outside code; '' when there is none."""
    if "<" not in text:
        return ""
    opened = ""
    for match in _THINK.finditer(_CODE.sub(" ", text)):
        opened = "" if match[1] else f"<{match[2].lower()}>"
    return opened


def unclosed_latex(text: str) -> str:
    r"""What is opened and not closed of `\begin`, `\[` and `$$`, outside code; '' when nothing."""
    if "\\" not in text and "$$" not in text:
        return ""
    prose = _CODE.sub(" ", text)
    opened: list[str] = []
    for match in _ENVIRONMENT.finditer(prose):
        if match[1] == "begin":
            opened.append(match[2])
        elif match[2] in opened:
            opened.remove(match[2])
    if opened:
        return f"\\begin{{{opened[-1]}}}"
    if len(re.findall(r"(?<!\\)\\\[", prose)) > prose.count("\\]"):
        return "\\["
    return "$$" if prose.count("$$") % 2 and _DISPLAY.search(prose) else ""


def has_unclosed_json(text: str) -> bool:
    """True for a text that starts as a JSON object or list, and breaks off."""
    start = _JSON_START.match(text)
    if start is None:
        return False
    return find_extent(text, len(text) - len(text.lstrip())).is_cut


WELL_FORMED = Filter(
    WellFormedConfig,
    "Broken form",
    "Empty answers, and code, LaTeX, JSON or thoughts that are never closed.",
    2,
    measure,
    Group.FORM,
)
