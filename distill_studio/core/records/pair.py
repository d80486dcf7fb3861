"""A pair: a conversation ending in a teacher's answer, with its whole provenance.

Several pairs of one seed are candidates of each other.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from distill_studio.core.ids import messages_hash, new_id
from distill_studio.core.records.base import Record, utc_now
from distill_studio.core.records.seed import Message


class PairStatus(StrEnum):
    """What people decided; follows from the decisions."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Curation(StrEnum):
    """What the curate stage says; never a delete."""

    KEPT = "kept"
    FILTERED = "filtered"
    DUPLICATE = "duplicate"


class Pair(Record):
    """One prompt (or conversation) and one answer."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    seed_id: str = Field(description="The seed it answers; candidates share it.")
    messages: tuple[Message, ...] = Field(
        min_length=1, description="The conversation before the answer; ends with a user turn."
    )
    answer: str = Field(description="The teacher's answer, as written.")
    reasoning: str = Field(default="", description="Chain of thought, kept apart from the answer.")
    topic: str = Field(default="", description="Topic label, copied from the seed.")
    source: str = Field(
        default="", description="Where its prompt came from: file name, typed, generated."
    )
    teacher: str = Field(default="", description="Name of the teacher, or of the imported model.")
    model: str = Field(default="", description="Model id the teacher used.")
    recipe: str = Field(default="", description="Recipe that made it; 'import' for files.")
    recipe_version: str = Field(default="", description="Version of the recipe's prompts.")
    params: dict[str, Any] = Field(default_factory=dict, description="Sampling settings.")
    job_id: str = Field(default="", description="Job that made it.")
    step: str = Field(default="answer", description="Recipe step.")
    sample: int = Field(default=0, ge=0, description="Number among the samples of one request.")
    finish_reason: str = Field(default="", description="stop, length, ...; empty when unknown.")
    prompt_tokens: int | None = Field(default=None, description="Tokens read.")
    completion_tokens: int | None = Field(default=None, description="Tokens written.")
    latency_ms: float | None = Field(default=None, description="From request to reply.")
    judge_score: float | None = Field(default=None, description="Higher is better; a hint only.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")

    # Current state, kept in step with decisions and curation by the store.
    status: PairStatus = Field(default=PairStatus.PENDING, description="From the decisions.")
    edited_answer: str | None = Field(default=None, description="A person's edit, if any.")
    reject_reason: str = Field(default="", description="Why it was rejected.")
    decided_by: str = Field(default="", description="User of the decision in force.")
    decided_at: datetime | None = Field(default=None, description="When it was decided, UTC.")
    curation: Curation = Field(default=Curation.KEPT, description="From the curate stage.")
    curation_reason: str = Field(default="", description="Filter, score or lost-to id, in words.")

    @property
    def content_hash(self) -> str:
        """Hash of conversation and answer as the teacher wrote it."""
        return messages_hash((*self.messages, Message(role="assistant", content=self.answer)))

    @property
    def prompt(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def final_answer(self) -> str:
        """The edit where there is one, else the teacher's answer."""
        return self.answer if self.edited_answer is None else self.edited_answer
