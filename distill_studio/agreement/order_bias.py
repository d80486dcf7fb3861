"""Does a judge lean to the place that an answer stands in? Start from `order_lean`.

A judge reads each two answers twice, in both orders. Where its two verdicts disagree, it preferred
a place rather than an answer. Without a lean such a verdict goes to the answer shown first as
often as to the other: an exact sign test (McNemar's, of the two orders), counted by prompt, since
verdicts on one prompt hang together.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import scipy
from pydantic import Field

from distill_studio.core.estimate import Estimate, share
from distill_studio.core.records.base import Record

Place = Literal["A", "B", "tie"]
ALPHA = 0.01  # strict, since people look again and again; a fair judge is named once in a hundred
_POINTS = {"A": 1, "B": -1, "tie": 0}


@dataclass(frozen=True, slots=True)
class BothOrders:
    """One couple read in both orders: the place (A was shown first) preferred in each."""

    prompt: str
    forward: Place
    swapped: Place

    @property
    def lean(self) -> int:
        """Above 0: to the answer shown first; below: to the second; 0: the same verdict twice."""
        return _POINTS[self.forward] + _POINTS[self.swapped]


class OrderLean(Record):
    """How steady a judge is when the order is turned round, and where it leans if it is not."""

    n: int = Field(description="Couples read in both orders.")
    consistent: Estimate = Field(description="Share with the same verdict in both orders.")
    first: int = Field(description="Inconsistent verdicts for the answer shown first.")
    second: int = Field(description="Inconsistent verdicts for the answer shown second.")
    p_value: float | None = Field(description="Exact, two-sided, by prompt; None: all consistent.")
    side: Literal["", "first", "second"] = Field(description="Where it leans; '': not shown.")
    words: str = Field(description="The same in words.")


def order_lean(readings: Iterable[BothOrders]) -> OrderLean:
    """The steadiness and lean of one judge."""
    known = list(readings)
    by_prompt: dict[str, int] = defaultdict(int)
    for one in known:
        by_prompt[one.prompt] += one.lean > 0
        by_prompt[one.prompt] -= one.lean < 0
    first = sum(one.lean > 0 for one in known)
    second = sum(one.lean < 0 for one in known)
    ahead, behind = (sum(sign * n > 0 for n in by_prompt.values()) for sign in (1, -1))
    tried = ahead + behind
    p_value = float(scipy.stats.binomtest(ahead, tried).pvalue) if tried else None
    is_biased = p_value is not None and p_value < ALPHA
    side: Literal["", "first", "second"] = ""
    if is_biased:
        side = "first" if ahead > behind else "second"
    return OrderLean(
        n=len(known),
        consistent=share(len(known) - first - second, len(known)),
        first=first,
        second=second,
        p_value=p_value,
        side=side,
        words=_words(len(known), first, second, p_value, side, could_tell=_least(tried) < ALPHA),
    )


def _least(tried: int) -> float:
    """The smallest p value that so many prompts can give."""
    return float(2 * 0.5**tried)


def _words(
    n: int, first: int, second: int, p_value: float | None, side: str, *, could_tell: bool
) -> str:
    total = first + second
    if not n:
        return "It has not read any two answers in both orders."
    if not total:
        return "The same verdict in both orders each time: no lean to a place."
    if side:
        count = first if side == "first" else second
        return (
            f"Leans to the answer shown {side}: {count} of its {total} inconsistent verdicts went"
            f" there, where chance gives half ({_p(p_value)}). They count as ties, so no model"
            " gains by it, but the fewer verdicts are left, the less it says."
        )
    split = f"{first} of {total} inconsistent verdicts went to the answer shown first"
    if not could_tell:
        return f"Too few inconsistent verdicts to tell a lean: {split}."
    return f"No lean to a place shown: {split} ({_p(p_value)})."


def _p(p_value: float | None) -> str:
    value = 1.0 if p_value is None else p_value
    return (
        "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}" if value < 0.01 else f"p = {value:.2f}"
    )
