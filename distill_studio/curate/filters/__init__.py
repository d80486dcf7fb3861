"""All filters by the tag of their settings. A new filter: a file, a line in each list here."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from distill_studio.curate.filters.base import (
    Answer,
    Drop,
    Filter,
    FilterConfig,
    Limit,
    Measured,
    judge,
)
from distill_studio.curate.filters.contaminated import CONTAMINATED, ContaminatedConfig
from distill_studio.curate.filters.length import LENGTH, LengthConfig
from distill_studio.curate.filters.refusal import REFUSAL, RefusalConfig
from distill_studio.curate.filters.repetition import REPETITION, RepetitionConfig
from distill_studio.curate.filters.well_formed import WELL_FORMED, WellFormedConfig

AnyFilter = Annotated[
    ContaminatedConfig | WellFormedConfig | LengthConfig | RepetitionConfig | RefusalConfig,
    Field(discriminator="kind"),
]

FILTERS: dict[str, Filter] = {
    "contaminated": CONTAMINATED,
    "well_formed": WELL_FORMED,
    "length": LENGTH,
    "repetition": REPETITION,
    "refusal": REFUSAL,
}

__all__ = [
    "FILTERS",
    "Answer",
    "AnyFilter",
    "ContaminatedConfig",
    "Drop",
    "Filter",
    "FilterConfig",
    "LengthConfig",
    "Limit",
    "Measured",
    "RefusalConfig",
    "RepetitionConfig",
    "WellFormedConfig",
    "default_filters",
    "first_drop",
    "judge",
    "measure_all",
    "measures_version",
]


def default_filters() -> list[AnyFilter]:
    """The settings a new workspace begins with."""
    return [
        ContaminatedConfig(),
        WellFormedConfig(),
        LengthConfig(),
        RepetitionConfig(),
        RefusalConfig(),
    ]


def measures_version() -> str:
    """Changes when a filter is added or measures differently; old scores are then made anew.

    Filters of version 0 measure nothing themselves and do not count.
    """
    return " ".join(f"{kind}:{f.version}" for kind, f in FILTERS.items() if f.version)


def measure_all(answer: Answer) -> dict[str, Measured]:
    """Every score of every filter, whatever is switched on."""
    found: dict[str, Measured] = {}
    for filter_ in FILTERS.values():
        found.update(filter_.measure(answer))
    return found


def first_drop(filters: Sequence[FilterConfig], measured: Mapping[str, Measured]) -> Drop | None:
    """The drop of the first filter, in the order given, that does not keep the row."""
    return next((drop for config in filters if (drop := judge(config, measured))), None)
