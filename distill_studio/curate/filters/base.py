"""What a filter is: a pure measure of an answer, and limits on what it measured.

Measuring is done once per text and stored; a config only sets limits, so that moving a limit
never reads the text again.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import Field

from distill_studio.core.records import Record


@dataclass(frozen=True)
class Answer:
    """What filters look at."""

    text: str
    finish_reason: str = ""
    prompt: str = ""
    context: str = ""  # every turn before the answer, the system's too, and the reasoning
    provenance: Mapping[str, Any] = field(default_factory=dict)  # what the recipe noted, if as made


@dataclass(frozen=True)
class Measured:
    """One score of one text; `note` says what was found, for the reason shown to people."""

    score: float
    note: str = ""


@dataclass(frozen=True)
class Limit:
    """A measure may lie from `minimum` to `maximum`, both included, with a note among `notes`.

    A row without the measure breaks no limit. `why_low`, `why_high` and `why_note` are the reasons
    in words, with {score}, {limit} and {note}.
    """

    measure: str
    minimum: float | None = None
    maximum: float | None = None
    why_low: str = "{score:g} is less than {limit:g}"
    why_high: str = "{score:g} is more than {limit:g}"
    notes: tuple[str, ...] | None = None
    why_note: str = "{note}"

    def reason(self, score: float, note: str) -> str:
        """Why a score outside this limit drops the row; '' when it lies inside."""
        if self.notes is not None and note not in self.notes:
            return self.why_note.format(score=score, note=note)
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

    kind: str = ""
    is_on: bool = Field(default=True, title="Use this filter")

    @property
    def only_warns(self) -> bool:
        """True for settings that count and show rows, but drop none."""
        return False

    @abstractmethod
    def limits(self) -> tuple[Limit, ...]:
        """The limits these settings put on the filter's measures."""


class Group(StrEnum):
    """The headings under which filters stand."""

    FORM = "Form"
    CONTENT = "Content"
    PROOF = "Proof and scores"


@dataclass(frozen=True)
class Filter:
    """One filter: its settings, its measure and the version of the measure.

    `measure` leaves out what it did not find: a row without a measure breaks no limit, and a
    million rows without a fault take no room. Version 0 measures nothing itself: the store takes
    the scores from elsewhere.
    """

    config: type[FilterConfig]
    label: str
    about: str
    version: int
    measure: Callable[[Answer], Mapping[str, Measured]]
    group: Group = Group.CONTENT

    @property
    def kind(self) -> str:
        """The tag of its settings."""
        return str(self.config.model_fields["kind"].default)


def measures_nothing(answer: Answer) -> dict[str, Measured]:
    """The measure of a filter whose scores come from elsewhere in the store."""
    del answer
    return {}


def faults(found: Mapping[str, object]) -> dict[str, Measured]:
    """A score of 1 for each fault that was found, with its note where that is a text."""
    return {
        name: Measured(1.0, fault if isinstance(fault, str) else "")
        for name, fault in found.items()
        if fault
    }


def setting(default: object, label: str, info: str = "", **rest: Any) -> Any:  # noqa: ANN401
    """A field of a filter's settings: what it is called on the form, and a word on it.

    `choices` names the values of a choice in words, `step` is that of a slider, `is_hidden` keeps
    it off the form; the rest (ge, le) goes to pydantic.
    """
    extra: dict[str, Any] = {k: rest.pop(k) for k in ("choices", "step", "is_hidden") if k in rest}
    return Field(default=default, title=label, description=info, json_schema_extra=extra, **rest)


def judge(config: FilterConfig, measured: Mapping[str, Measured]) -> Drop | None:
    """None to keep the row, else the first limit that it breaks."""
    if not config.is_on or config.only_warns:
        return None
    for limit in config.limits():
        score = measured.get(limit.measure)
        reason = limit.reason(score.score, score.note) if score else ""
        if score and reason:
            return Drop(config.kind, limit.measure, score.score, reason)
    return None
