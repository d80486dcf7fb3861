"""The way back: what was made of prompts that a student lost on a suite."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now


class FeedbackKind(StrEnum):
    """What the lost prompts became."""

    PREFERENCES = "preferences"
    SEEDS = "seeds"


class Feedback(Record):
    """One step back from a suite to the data.

    Only what was sent counts: from `sent_at` on the practice half of the suite is out of all
    results, until the step is undone.
    """

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    trial_id: str = Field(description="Where the student lost.")
    suite_id: str = Field(description="The trial's suite.")
    student: str = Field(description="Id of the student's card.")
    kind: FeedbackKind = Field(description="preferences or seeds.")
    numbers: tuple[int, ...] = Field(description="Prompts of the suite.")
    job_id: str = Field(default="", description="Of the job that makes the seeds.")
    made: tuple[str, ...] = Field(default=(), description="Ids of the preferences it made.")
    user: str = Field(default="", description="Who asked for it.")
    sent_at: datetime | None = Field(
        default=None, description="UTC; when the first of it became data; None: nothing did."
    )
    undone_at: datetime | None = Field(default=None, description="UTC; when it was taken back.")
    undone_by: str = Field(default="", description="By whom.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")

    @property
    def is_live(self) -> bool:
        """Something was sent, and is not taken back."""
        return self.sent_at is not None and self.undone_at is None
