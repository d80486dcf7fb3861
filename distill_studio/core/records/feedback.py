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
    """One step back from a suite to the data."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    trial_id: str = Field(description="Where the student lost.")
    suite_id: str = Field(description="The trial's suite.")
    student: str = Field(description="Id of the student's card.")
    kind: FeedbackKind = Field(description="preferences or seeds.")
    numbers: tuple[int, ...] = Field(description="Prompts of the suite.")
    job_id: str = Field(default="", description="Of the job that makes the seeds.")
    user: str = Field(default="", description="Who asked for it.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")
