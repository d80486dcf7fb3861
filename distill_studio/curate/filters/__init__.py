"""All filters by the tag of their settings. A new filter: a file, and a line in `_ALL`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from distill_studio.curate.filters.base import (
    Answer,
    Drop,
    Filter,
    FilterConfig,
    Group,
    Limit,
    Measured,
    judge,
)
from distill_studio.curate.filters.contaminated import CONTAMINATED, ContaminatedConfig
from distill_studio.curate.filters.judge_score import JUDGE_SCORE, JudgeScoreConfig
from distill_studio.curate.filters.language import LANGUAGE, LanguageConfig
from distill_studio.curate.filters.length import LENGTH, LengthConfig
from distill_studio.curate.filters.likelihood import LIKELIHOOD, LikelihoodConfig
from distill_studio.curate.filters.privacy import PRIVACY, PrivacyConfig
from distill_studio.curate.filters.reference import REFERENCE, ReferenceConfig
from distill_studio.curate.filters.refusal import REFUSAL, RefusalConfig
from distill_studio.curate.filters.repetition import REPETITION, RepetitionConfig
from distill_studio.curate.filters.set_aside import SET_ASIDE, SetAsideConfig
from distill_studio.curate.filters.verification import VERIFICATION, VerificationConfig
from distill_studio.curate.filters.well_formed import WELL_FORMED, WellFormedConfig

_ALL: tuple[Filter, ...] = (  # the first to drop a row names why
    CONTAMINATED,
    WELL_FORMED,
    LENGTH,
    REPETITION,
    REFUSAL,
    LANGUAGE,
    PRIVACY,
    VERIFICATION,
    JUDGE_SCORE,
    LIKELIHOOD,
    REFERENCE,
    SET_ASIDE,
)

FILTERS: dict[str, Filter] = {filter_.kind: filter_ for filter_ in _ALL}

if TYPE_CHECKING:
    AnyFilter = FilterConfig
else:
    AnyFilter = Annotated[
        Union[tuple(filter_.config for filter_ in _ALL)],  # noqa: UP007  (of a list)
        Field(discriminator="kind"),
    ]

__all__ = [
    "FILTERS",
    "Answer",
    "AnyFilter",
    "ContaminatedConfig",
    "Drop",
    "Filter",
    "FilterConfig",
    "Group",
    "JudgeScoreConfig",
    "LanguageConfig",
    "LengthConfig",
    "LikelihoodConfig",
    "Limit",
    "Measured",
    "PrivacyConfig",
    "ReferenceConfig",
    "RefusalConfig",
    "RepetitionConfig",
    "SetAsideConfig",
    "VerificationConfig",
    "WellFormedConfig",
    "default_filters",
    "first_drop",
    "judge",
    "measure_all",
    "measures_version",
]


def default_filters() -> list[AnyFilter]:
    """The settings a new workspace begins with."""
    return [filter_.config() for filter_ in _ALL]


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
