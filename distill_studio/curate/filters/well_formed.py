"""Answers with broken form: empty, or with a code block that is never closed."""

import re
from typing import Literal

from pydantic import Field

from distill_studio.curate.filters.base import Answer, Filter, FilterConfig, Limit, Measured

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


class WellFormedConfig(FilterConfig):
    """Which faults of form drop a row."""

    kind: Literal["well_formed"] = "well_formed"
    drop_empty: bool = Field(default=True, description="Drop answers without any text.")
    drop_unclosed_code: bool = Field(default=True, description="Drop unclosed code blocks.")

    def limits(self) -> tuple[Limit, ...]:
        """A limit of zero on each chosen fault."""
        return (
            Limit("form.empty", maximum=0.0 if self.drop_empty else None, why_high="empty answer"),
            Limit(
                "form.unclosed_code",
                maximum=0.0 if self.drop_unclosed_code else None,
                why_high="a code block is never closed",
            ),
        )


def measure(answer: Answer) -> dict[str, Measured]:
    """1 for each fault that the text has, else 0."""
    return {
        "form.empty": Measured(float(not answer.text.strip())),
        "form.unclosed_code": Measured(float(has_unclosed_fence(answer.text))),
    }


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


WELL_FORMED = Filter(
    WellFormedConfig, "Form", "Empty answers and unclosed code blocks.", 1, measure
)
