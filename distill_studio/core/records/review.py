"""One reviewer's decision about one pair; append-only, stored once per (user, client id)."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from distill_studio.core.records.base import Record, utc_now


class DecisionKind(StrEnum):
    """What was decided. `undo` takes back an earlier decision; `skip` changes nothing."""

    ACCEPT = "accept"
    EDIT = "edit"
    REJECT = "reject"
    SKIP = "skip"
    UNDO = "undo"


class Decision(Record):
    """Accept, edit (accept with a changed answer), reject, skip or undo."""

    id: str = Field(min_length=8, max_length=64, description="Made by the client (a UUID).")
    pair_id: str = Field(description="The pair decided on.")
    kind: DecisionKind = Field(description="What was decided.")
    answer: str | None = Field(default=None, max_length=1_000_000, description="The edited answer.")
    reason: str = Field(default="", max_length=2000, description="Why it was rejected.")
    note: str = Field(default="", max_length=20_000, description="Free note.")
    undoes: str | None = Field(default=None, description="For `undo`: the decision's id.")
    made_at: datetime = Field(default_factory=utc_now, description="Client's clock, UTC.")
