"""How a run on another machine stands: `remote.json` in the run's folder. Holds no secret."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from distill_studio.core.records import Record

REMOTE_FILE = "remote.json"
REMOTE_KIND = "train_remote"  # of its job
Where = Literal["job", "machine"]


class RemoteRun(Record):
    """Where a run trains, what it costs, and how much of what it said is here."""

    kind: Where = Field(description="A Hugging Face Job, or any machine with a command.")
    flavor: str = Field(default="", description="Of a Job: the machine.")
    gpus: int = Field(default=0, description="Of that machine; 0 = none, or not said.")
    usd_per_minute: float = Field(default=0.0, description="Its price when it was ordered.")
    timeout_s: int = Field(default=0, description="After which the Hub ends it.")
    image: str = Field(default="", description="Docker image of the Job.")
    repo: str = Field(default="", description="Private repository that it travels by.")
    commit: str = Field(default="", description="Of the package; '' = not sent yet.")
    namespace: str = Field(default="", description="Who pays.")
    hub_job: str = Field(default="", description="Id of the Job; '' = not started yet.")
    url: str = Field(default="", description="Its page.")
    attempt: int = Field(default=1, ge=1, description="Each start counts.")
    stage: str = Field(default="", description="As the Hub says.")
    running_s: float = Field(default=0.0, description="Seconds that this attempt has run.")
    attempt_usd: float = Field(default=0.0, description="Cost of this attempt so far.")
    earlier_usd: float = Field(default=0.0, description="Cost of the attempts before.")
    parts: int = Field(default=0, description="Of the events, that are here.")
    begins_at: int = Field(default=0, description="Where this attempt's events begin, bytes.")
    events_bytes: int = Field(default=0, description="Length of events.jsonl with these parts.")
    is_over: bool = Field(default=False, description="This attempt has ended.")
    misses: int = Field(default=0, description="How often its model did not arrive well.")
    is_lost: bool = Field(default=False, description="Its model cannot come: only training anew.")

    @property
    def usd(self) -> float:
        """Cost so far, all attempts."""
        return self.earlier_usd + self.attempt_usd

    def ran(self, seconds: float) -> RemoteRun:
        """After so many seconds of this attempt; each begun minute is paid."""
        paid = math.ceil(seconds / 60) * self.usd_per_minute
        return self.model_copy(update={"running_s": seconds, "attempt_usd": paid})

    def again(self) -> RemoteRun:
        """The next attempt, which begins from the first update."""
        return self.model_copy(
            update={
                "attempt": self.attempt + 1,
                "earlier_usd": self.usd,
                "begins_at": self.events_bytes,
                "commit": "",
                "hub_job": "",
                "url": "",
                "stage": "",
                "running_s": 0.0,
                "attempt_usd": 0.0,
                "parts": 0,
                "is_over": False,
                "misses": 0,
                "is_lost": False,
            }
        )


def load(folder: Path) -> RemoteRun | None:
    """Of the run in `folder`; None where it trains here."""
    file = folder / REMOTE_FILE
    return RemoteRun.model_validate_json(file.read_bytes()) if file.exists() else None


def save(folder: Path, state: RemoteRun) -> RemoteRun:
    """Write it, whole or not at all; returns it."""
    unfinished = folder / f".{REMOTE_FILE}.part"
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(state.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / REMOTE_FILE)
    return state
