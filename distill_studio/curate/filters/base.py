"""What a filter is: a pure measure of an answer, and limits on what it measured.

Measuring is done once per text and stored; a config only sets limits, so that moving a limit
never reads the text again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import Field

from distill_studio.core.records import Record


@dataclass(frozen=True)
class Answer:
    """What filters look at."""

    text: str
    finish_reason: str = ""
    prompt: str = ""


@dataclass(frozen=True)
class Measured:
    """One score of one text; `note` says what was found, for the reason shown to people."""

    score: float
    note: str = ""


@dataclass(frozen=True)
class Limit:
    """A measure may lie from `minimum` to `maximum`, both included.

    `why_low` and `why_high` are the reasons in words, with {score}, {limit} and {note}.
    """

    measure: str
    minimum: float | None = None
    maximum: float | None = None
    why_low: str = "{score:g} is less than {limit:g}"
    why_high: str = "{score:g} is more than {limit:g}"

    def reason(self, score: float, note: str) -> str:
        """Why a score outside this limit drops the row; '' when it lies inside."""
        if self.minimum is not None and score < self.minimum:
            return self.why_low.format(score=score, limit=self.minimum, note=note)
        if self.maximum is not None and score > self.maximum:
            return self.why_high.format(score=score, limit=self.maximum, note=note)
        return ""


@dataclass(frozen=True)
class Drop:
    """Why a row goes."""

    filter: str
    measure: str
    score: float
    reason: str


class FilterConfig(Record):
    """Base of all filter settings. `kind` is the tag that chooses the filter."""

    kind: str
    is_on: bool = Field(default=True, description="Whether the filter drops anything.")

    def limits(self) -> tuple[Limit, ...]:
        """The limits these settings put on the filter's measures."""
        raise NotImplementedError


@dataclass(frozen=True)
class Filter:
    """One filter: its settings, its measure and the version of the measure."""

    config: type[FilterConfig]
    label: str
    about: str
    version: int
    measure: Callable[[Answer], Mapping[str, Measured]]


def judge(config: FilterConfig, measured: Mapping[str, Measured]) -> Drop | None:
    """None to keep the row, else the first limit that it breaks."""
    if not config.is_on:
        return None
    for limit in config.limits():
        found = measured.get(limit.measure)
        reason = limit.reason(found.score, found.note) if found else ""
        if found and reason:
            return Drop(config.kind, limit.measure, found.score, reason)
    return None
