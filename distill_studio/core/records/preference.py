"""Votes between two candidates, and the preferences that follow from them."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now


class Outcome(StrEnum):
    """What the voter saw as better. `undo` takes an earlier vote back; `skip` says nothing."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    BOTH_BAD = "both_bad"
    SKIP = "skip"
    UNDO = "undo"


class Vote(Record):
    """One blind vote on one comparison; append-only, stored once per (user, client id)."""

    id: str = Field(min_length=8, max_length=64, description="Made by the client (a UUID).")
    task_id: str = Field(description="The comparison shown: which pair stood on which side.")
    outcome: Outcome = Field(description="Which side won.")
    strength: int | None = Field(default=None, ge=1, le=3, description="How clearly, 1 to 3.")
    reason: str = Field(default="", max_length=2000, description="Why, optional.")
    undoes: str | None = Field(default=None, description="For `undo`: the vote's id.")
    made_at: datetime = Field(default_factory=utc_now, description="Client's clock, UTC.")


class Preference(Record):
    """Two candidates of one seed and who won; a row for DPO when `outcome` is `win`."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    seed_id: str = Field(description="The prompt both answer.")
    chosen_pair_id: str = Field(description="The better pair (the left one for tie / both bad).")
    rejected_pair_id: str = Field(description="The other pair.")
    outcome: str = Field(default="win", description="win, tie or both_bad.")
    strength: int | None = Field(default=None, description="1 to 3, when given.")
    user: str = Field(default="", description="Who voted.")
    source: str = Field(description="person, arena, judge, rule or import.")
    vote_id: str = Field(default="", description="The vote it follows from.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")
