"""How several people share the labelling of a workspace."""

from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from distill_studio.core.records.base import Record


class Assignment(Record):
    """Which prompts are one person's."""

    user: str = Field(min_length=1, max_length=200, description="User name.")
    topics: tuple[str, ...] = Field(default=(), description="Only these topics; none = all.")
    share_percent: int = Field(
        default=100,
        ge=0,
        le=100,
        description="Only this share of the prompts, by a fixed lot; several people's shares"
        " do not overlap while they add up to 100 or less.",
    )


class LabellingSettings(Record):
    """What an owner sets for a workspace. The defaults are those of one person alone."""

    overlap: int = Field(default=1, ge=1, le=9, description="Votes that a record needs.")
    lease_minutes: int = Field(
        default=15, ge=2, le=240, description="How long a handed-out record waits for its person."
    )
    sees_others: Literal["after", "always"] = Field(
        default="after",
        description="Reviewers see others' decisions on a record: after their own, or always.",
    )
    adjudicators: tuple[str, ...] = Field(
        default=(), description="Reviewers who may settle ties, besides the owners."
    )
    assignments: tuple[Assignment, ...] = Field(
        default=(), description="Who is not named gets everything."
    )

    @model_validator(mode="after")
    def _each_once(self) -> "LabellingSettings":
        names = [a.user.casefold() for a in self.assignments]
        if len(set(names)) < len(names):
            raise ValueError("each person has one assignment")
        return self


class Portion(Record):
    """What one person may be handed: the settings as the store needs them."""

    user: str = Field(description="User name.")
    overlap: int = Field(default=1, description="Votes that a record needs.")
    topics: tuple[str, ...] = Field(default=(), description="Only these; none = all.")
    from_percent: int = Field(default=0, description="Begin of the share of the lot, 0 to 99.")
    share_percent: int = Field(default=100, description="Its width.")


class Guidelines(Record):
    """What labellers should go by, one version."""

    version: int = Field(default=0, description="Counts from 1; 0 = none written.")
    text: str = Field(default="", description="Markdown.")
    user: str = Field(default="", description="Who wrote it.")
    changed_at: datetime | None = Field(default=None, description="UTC.")


def portion(settings: LabellingSettings, user: str) -> Portion:
    """The part of a workspace that one person may be handed.

    Shares follow each other round the hundred parts of the lot, in the order of the assignments, so
    they are disjoint while their sum is 100 or less.
    """
    begin = 0
    for assignment in settings.assignments:
        if assignment.user.casefold() == user.casefold():
            return Portion(
                user=user,
                overlap=settings.overlap,
                topics=assignment.topics,
                from_percent=begin,
                share_percent=assignment.share_percent,
            )
        begin = (begin + assignment.share_percent) % 100
    return Portion(user=user, overlap=settings.overlap)
