"""A job: long work in the web process that survives a page reload and a restart."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now


class JobState(StrEnum):
    """Where a job stands. `needs_key` waits for a teacher's key after a restart."""

    QUEUED = "queued"
    RUNNING = "running"
    NEEDS_KEY = "needs_key"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """True while it will still do something by itself."""
        return self in (JobState.QUEUED, JobState.RUNNING)


class Job(Record):
    """One piece of long work."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    kind: str = Field(description="Which handler runs it: generate, embed, train, demo, ...")
    title: str = Field(default="", description="One line for lists.")
    state: JobState = Field(default=JobState.QUEUED, description="Where it stands.")
    user: str = Field(description="Who started it.")
    params: dict[str, Any] = Field(default_factory=dict, description="Input of the handler.")
    result: dict[str, Any] = Field(default_factory=dict, description="Output of the handler.")
    done: int = Field(default=0, description="Steps done.")
    total: int | None = Field(default=None, description="Steps in all, when known.")
    note: str = Field(default="", description="What it does right now.")
    error: str = Field(default="", description="Why it failed, in the user's words.")
    waits_for: str = Field(default="", description="The teacher whose key it needs.")
    cancel_requested: bool = Field(default=False, description="Somebody asked it to stop.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")
    started_at: datetime | None = Field(default=None, description="UTC.")
    ended_at: datetime | None = Field(default=None, description="UTC.")
