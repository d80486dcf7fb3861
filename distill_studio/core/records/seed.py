"""A seed: a prompt (one message or a conversation so far) that a teacher will answer."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.ids import messages_hash, new_id
from distill_studio.core.records.base import Record, utc_now

ChatRole = Literal["system", "user", "assistant"]


class Message(Record):
    """One turn of a conversation."""

    role: ChatRole = Field(description="Who speaks.")
    content: str = Field(description="What is said.")


class Seed(Record):
    """A prompt source."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    messages: tuple[Message, ...] = Field(
        min_length=1, description="Conversation so far; ends with a user turn."
    )
    topic: str = Field(default="", description="Topic label, empty when unknown.")
    source: str = Field(default="", description="Where it came from: file name, recipe, person.")
    reference: str | None = Field(default=None, description="A known right answer, if any.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Other columns of the source.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")

    @property
    def content_hash(self) -> str:
        """Hash of the messages; equal seeds are stored once."""
        return messages_hash(self.messages)

    @property
    def prompt(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")
