"""A request of a generation that got no answer so far; retried, never an answer."""

from datetime import datetime

from pydantic import Field

from distill_studio.core.records.base import Record, utc_now


class Failure(Record):
    """Why one request failed when it was last tried."""

    job_id: str = Field(description="The generation.")
    seed_id: str = Field(description="The prompt asked.")
    step: str = Field(default="answer", description="Recipe step.")
    sample: int = Field(default=0, ge=0, description="Number among the samples of the seed.")
    teacher: str = Field(default="", description="Name of the teacher asked.")
    code: str = Field(description="Of the TeacherError, or one of RECIPE_CODES.")
    reason: str = Field(description="In the user's words.")
    text: str = Field(default="", description="What the teacher wrote, where a reply came.")
    attempts: int = Field(default=0, ge=0, description="How often a reply came and was no use.")
    created_at: datetime = Field(default_factory=utc_now, description="Of the last try, UTC.")
