"""Does one voter lean to a side, or to the longer answer? Shares with intervals, in words.

A lean to a side is a habit: sides are random, so chance is one half. A lean to length may have
good reasons (longer answers may be better here), so it is compared with what the others chose.
"""

from pydantic import Field

from distill_studio.core.estimate import Estimate, share
from distill_studio.core.records.base import Record

_HALF = 0.5


class Lean(Record):
    """How often a voter chose one kind of answer where there was a choice."""

    share: Estimate = Field(description="Share of the decided votes; one half is no lean.")
    warning: str = Field(default="", description="In words, when the interval excludes one half.")
    remark: str = Field(default="", description="The same where the others lean alike.")


def position_lean(left: int, right: int) -> Lean:
    """Of the votes with a winner, how many went to the left side."""
    found = share(left, left + right)
    side = _side(found, "left", "right")
    if not side:
        return Lean(share=found)
    return Lean(
        share=found,
        warning=f"Leans to the {side} side: {_percent(found)} of the wins went left, where chance"
        " gives 50%. Read both answers before you vote; swapped repeats show it too.",
    )


def length_lean(found: Estimate, others: Estimate | None = None) -> Lean:
    """Of the votes for one of two answers of different length, how many went to the longer one.

    Args:
        found: That share. Couples of one prompt, and of one ranking above all, hang together, so
            its interval draws whole prompts.
        others: The same share of the other voters, where there are any.
    """
    kind = _side(found, "longer", "shorter")
    if not kind:
        return Lean(share=found)
    text = f"Prefers the {kind} answer: {_percent(found)} of the wins went to the longer one."
    if others is None or others.value is None:
        text += f" That may be right here; make sure that it is not for being {kind}."
        return Lean(share=found, warning=text)
    text += f" The others: {100 * others.value:.0f}%"
    if _is_apart(found, others):
        return Lean(share=found, warning=f"{text}, which chance does not explain.")
    return Lean(share=found, remark=f"{text}, much the same.")


def _side(found: Estimate, above: str, below: str) -> str:
    """The kind that is chosen more often than chance; '' when one half is inside the interval."""
    if found.low is not None and found.low > _HALF:
        return above
    if found.high is not None and found.high < _HALF:
        return below
    return ""


def _is_apart(one: Estimate, other: Estimate) -> bool:
    """True when the intervals do not meet: a strict test, few false alarms."""
    (low, high), (other_low, other_high) = _ends(one), _ends(other)
    return low > other_high or high < other_low


def _ends(found: Estimate) -> tuple[float, float]:
    return (
        0.0 if found.low is None else found.low,
        1.0 if found.high is None else found.high,
    )


def _percent(found: Estimate) -> str:
    low, high = _ends(found)
    return f"{100 * (found.value or 0):.0f}% ({100 * low:.0f} to {100 * high:.0f}%)"
