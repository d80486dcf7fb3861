"""A note of a person about a run."""

from datetime import datetime

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now


class RunNote(Record):
    """What somebody noted of a run, and when."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    run_id: str = Field(description="Of the run.")
    user: str = Field(description="Who.")
    text: str = Field(min_length=1, max_length=4000, description="In their words.")
    in_card: bool = Field(default=False, description="It also stands in the model's card.")
    made_at: datetime = Field(default_factory=utc_now, description="UTC.")
