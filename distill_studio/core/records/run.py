"""A run: one training, in a folder `<workspace>/runs/<name>/` of its own."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now


class RunState(StrEnum):
    """Where a run stands. `lost`: its process vanished; it can resume from a checkpoint."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


class Run(Record):
    """One training of one student."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    name: str = Field(min_length=1, max_length=100, description="Folder name; unique.")
    method: str = Field(description="sft, dpo, kto, logit or on_policy.")
    snapshot_id: str = Field(description="What it trained on.")
    config: dict[str, Any] = Field(default_factory=dict, description="Copy of run.json.")
    state: RunState = Field(default=RunState.QUEUED, description="Where it stands.")
    job_id: str = Field(default="", description="The job that watches it.")
    pid: int | None = Field(default=None, description="Of the child process.")
    pid_started: float | None = Field(default=None, description="Its start time, epoch seconds.")
    metrics: dict[str, Any] = Field(default_factory=dict, description="Final figures.")
    error: str = Field(default="", description="Why it failed.")
    user: str = Field(default="", description="Who started it.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")
    ended_at: datetime | None = Field(default=None, description="UTC.")
