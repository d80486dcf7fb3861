"""One reviewer's decision about one pair; append-only, stored once per (user, client id)."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from distill_studio.core.records.base import Record, utc_now

Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


class DecisionKind(StrEnum):
    """What was decided.

    `undo` takes back an earlier decision (or undo); `skip` changes nothing; `note` says a note and
    tags, in place of the person's earlier ones, and leaves the status alone.
    """

    ACCEPT = "accept"
    EDIT = "edit"
    REJECT = "reject"
    SKIP = "skip"
    NOTE = "note"
    UNDO = "undo"


class Decision(Record):
    """Accept, edit (accept with a changed answer), reject, skip or undo."""

    id: str = Field(min_length=8, max_length=64, description="Made by the client (a UUID).")
    pair_id: str = Field(description="The pair decided on.")
    kind: DecisionKind = Field(description="What was decided.")
    answer: str | None = Field(default=None, max_length=1_000_000, description="The edited answer.")
    reason: str = Field(default="", max_length=2000, description="Why it was rejected.")
    note: str = Field(default="", max_length=20_000, description="Free note.")
    tags: tuple[Tag, ...] = Field(default=(), max_length=20, description="For `note`: its tags.")
    undoes: str | None = Field(default=None, description="For `undo`: the decision's id.")
    is_final: bool = Field(
        default=False, description="An adjudicator's word, where several people vote on a record."
    )
    made_at: datetime = Field(default_factory=utc_now, description="Client's clock, UTC.")
