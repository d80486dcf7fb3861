"""Rows that a person set aside by hand: an area of the map, a topic, or what a selection left out.

Each such step is a stored list of rows that never changes; the settings name the lists in force.
So undo, which goes back to the settings before, takes a list back, and applying again keeps it.
Lists count last, after near-duplicates were grouped: a row takes along those that it stands for.
"""

from collections.abc import Sequence
from typing import Literal

from distill_studio.curate.filters.base import (
    Filter,
    FilterConfig,
    Group,
    Limit,
    measures_nothing,
    setting,
)

MEASURE = "set_aside"


class SetAsideConfig(FilterConfig):
    """Which lists are in force."""

    kind: Literal["set_aside"] = "set_aside"
    is_on: bool = setting(True, "Use this filter", is_hidden=True)
    lists: tuple[int, ...] = setting((), "Lists in force", "Their numbers.", is_hidden=True)

    def limits(self) -> tuple[Limit, ...]:
        """No row may stand in one of the lists."""
        return tuple(Limit(f"{MEASURE}.{n}", maximum=0.0, why_high="{note}") for n in self.lists)


def in_force(filters: Sequence[FilterConfig]) -> tuple[int, ...]:
    """Numbers of the lists that these settings put in force."""
    return next((c.lists for c in filters if isinstance(c, SetAsideConfig) and c.is_on), ())


SET_ASIDE = Filter(
    SetAsideConfig,
    "Set aside",
    "Rows that a person set aside on the map or by topic, or that a selection did not take.",
    0,
    measures_nothing,
    Group.PROOF,
)
