"""Votes between two candidates, and the preferences that follow from them."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field, model_validator

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now

FEWEST_RANKED, MOST_RANKED = 3, 9  # answers in one ranking; at most one for each digit key


class Outcome(StrEnum):
    """What the voter saw as better. `undo` takes an earlier vote back; `skip` says nothing.

    Of three or more answers: `rank`, `both_bad` (all of them are), `skip` and `undo`.
    """

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    BOTH_BAD = "both_bad"
    RANK = "rank"
    SKIP = "skip"
    UNDO = "undo"


# What the first model (the chosen one) and the other get of each outcome of a preference.
OUTCOME_POINTS = {"win": (1.0, 0.0), "tie": (0.5, 0.5), "both_bad": (0.5, 0.5)}


class Vote(Record):
    """One blind vote on one comparison; append-only, stored once per (user, client id).

    A ranking is one vote too: it says of every two of its answers which is better.
    """

    id: str = Field(min_length=8, max_length=64, description="Made by the client (a UUID).")
    task_id: str = Field(description="The comparison shown: which pair stood on which side.")
    outcome: Outcome = Field(description="Which side won.")
    ranks: tuple[int, ...] = Field(
        default=(),
        max_length=MOST_RANKED,
        description="For `rank`: of each answer in the order shown, 1 the best; equal for a tie.",
    )
    strength: int | None = Field(default=None, ge=1, le=3, description="How clearly, 1 to 3.")
    reason: str = Field(default="", max_length=2000, description="Why, optional.")
    undoes: str | None = Field(default=None, description="For `undo`: the vote's id.")
    made_at: datetime = Field(default_factory=utc_now, description="Client's clock, UTC.")
    receipt: str = Field(
        default="",
        max_length=4000,
        description="Of an earlier answer about this vote, when it is sent again.",
    )

    @model_validator(mode="after")
    def _ranks_belong_to_a_ranking(self) -> "Vote":
        if (self.outcome is Outcome.RANK) != bool(self.ranks):
            raise ValueError("ranks go with the outcome 'rank', and only with it")
        if any(not 1 <= rank <= MOST_RANKED for rank in self.ranks):
            raise ValueError(f"a rank is a number from 1, the best, to {MOST_RANKED}")
        return self


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
    is_final: bool = Field(default=False, description="An adjudicator's, where voters tied.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")
