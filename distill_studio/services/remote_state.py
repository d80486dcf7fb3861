"""How a run on another machine stands: `remote.json` in the run's folder. Holds no secret.

`wanted` is what a person asked for last; a start, a resume and a stop write it, nothing else does.
The job that watches brings the world in line with it, after a restart as before: it orders a Job
for no attempt that nobody asked for, and forgets no stop.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from distill_studio.core.records import Record
from distill_studio.distill.events import EVENTS_FILE, last_final, read_events
from distill_studio.hub.jobs import JOBS_PAGE, OVER

REMOTE_FILE = "remote.json"
REMOTE_KIND = "train_remote"  # of its job
Where = Literal["job", "machine"]
_STOPPED: Literal["stopped"] = "stopped"
_QUEUE_S = 7 * 24 * 3600.0  # that a Job may have to wait for its machine, at most
_writing = threading.Lock()  # who asks and who watches write the same file


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
    earlier_minutes: int = Field(default=0, description="Paid for in the attempts before.")
    parts: int = Field(default=0, description="Of the events, that are here.")
    begins_at: int = Field(default=0, description="Where this attempt's events begin, bytes.")
    events_bytes: int = Field(default=0, description="Length of events.jsonl with these parts.")
    is_over: bool = Field(default=False, description="This attempt has ended.")
    misses: int = Field(default=0, description="How often its model did not arrive well.")
    unseen: int = Field(default=0, description="How often its repository was not seen.")
    is_lost: bool = Field(default=False, description="Its model cannot come: only training anew.")
    is_taken: bool = Field(default=False, description="Its model is here.")
    wanted: int | Literal["stopped"] = Field(
        default=1, description="By a person: this attempt, or its end."
    )
    wanted_at: float = Field(default_factory=time.time, description="When; seconds since 1970.")
    before: RemoteRun | None = Field(default=None, description="The attempt before, as it ended.")
    is_ordered: bool = Field(default=False, description="A Job was ordered, be it in vain.")

    @model_validator(mode="before")
    @classmethod
    def _of_former_versions(cls, given: Any) -> Any:  # noqa: ANN401
        """They wrote down no wish: what they had begun was asked for."""
        if isinstance(given, dict) and "wanted" not in given:
            ordered = {"is_ordered": bool(given.get("hub_job"))}
            return ordered | {"wanted": given.get("attempt", 1)} | given
        return given

    @property
    def is_stopped(self) -> bool:
        """Somebody asked for its end."""
        return self.wanted == _STOPPED

    @property
    def is_begun(self) -> bool:
        """Something was begun there whose end was not taken in: a Job, or a machine of one's own.

        Whoever cannot see it waits: it trains, or has made a model.
        """
        is_sent = self.commit if self.kind == "machine" else self.is_ordered or self.hub_job
        return bool(is_sent) and not self.is_over

    @property
    def may_run(self) -> bool:
        """A Job may be there and cost money: it was ordered, and no end of it is known."""
        if self.kind != "job" or not self.is_begun:
            return False
        is_known = self.stage in {one.value for one in OVER}
        return not is_known and time.time() < self.wanted_at + self.timeout_s + _QUEUE_S

    @property
    def where(self) -> str:
        """Where to look at its Job; the list of all where it is not known which."""
        return self.url if self.hub_job else JOBS_PAGE

    @property
    def usd(self) -> float:
        """Cost so far, all attempts."""
        return self.earlier_usd + self.attempt_usd

    @property
    def paid_minutes(self) -> int:
        """Begun minutes so far, all attempts."""
        return self.earlier_minutes + math.ceil(self.running_s / 60)

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
                "earlier_minutes": self.paid_minutes,
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
                "unseen": 0,
                "is_lost": False,
                "is_taken": False,
                "is_ordered": False,
                "before": self.model_copy(update={"before": None}),
                "wanted": self.attempt + 1,
                "wanted_at": time.time(),
            }
        )


def load(folder: Path) -> RemoteRun | None:
    """Of the run in `folder`; None where it trains here."""
    file = folder / REMOTE_FILE
    return RemoteRun.model_validate_json(file.read_bytes()) if file.exists() else None


def may_run(folder: Path) -> bool:
    """Whether a Job of the run in `folder` may run and cost money."""
    state = load(folder)
    return state is not None and state.may_run


def is_paid_again(folder: Path) -> bool:
    """Whether a resume of the run in `folder` orders a Job.

    Else it follows the one that there is, or fetches what that one made.
    """
    state = load(folder)
    if state is None or state.kind != "job":
        return False
    return not state.hub_job or _begins_anew(state, folder)


def _begins_anew(state: RemoteRun, folder: Path) -> bool:
    if not state.is_over:
        return False
    final = last_final(read_events(folder / EVENTS_FILE, state.begins_at)[0])
    return final is None or final.kind != "done" or state.is_lost


def ask_again(folder: Path, changed: Mapping[str, Any]) -> RemoteRun:
    """A person wants the run to go on; returns how it then stands.

    What runs is followed again, what was made is fetched; else it begins anew.

    Args:
        folder: Of the run.
        changed: Machine, price and limit; of an attempt that was not ordered yet.
    """

    def asked(state: RemoteRun) -> RemoteRun:
        if _begins_anew(state, folder):
            return state.again().model_copy(update=changed)
        update: dict[str, Any] = {"wanted": state.attempt, "is_over": False}
        if not (state.is_ordered or state.hub_job):
            update |= {"wanted_at": time.time(), **changed}
            update |= {"commit": ""} if changed else {}  # the package is for a kind of machine
        return state.model_copy(update=update)

    return _write(folder, asked)


def go_back(folder: Path) -> RemoteRun:
    """The attempt before has made a model after all: its end is taken in, nothing is ordered."""

    def before(state: RemoteRun) -> RemoteRun:
        assert state.before is not None  # who asks has seen its model
        wanted = state.wanted if state.is_stopped else state.before.attempt
        return state.before.model_copy(update={"is_over": False, "wanted": wanted})

    return _write(folder, before)


def ask_stop(folder: Path) -> RemoteRun:
    """A person wants the run to end; it is remembered until the Hub has said so."""
    return change(folder, wanted=_STOPPED)


def change(folder: Path, **fields: Any) -> RemoteRun:  # noqa: ANN401  (fields of RemoteRun)
    """Write some fields; returns how it then stands, with what others wrote meanwhile."""
    return _write(folder, lambda state: RemoteRun(**(state.model_dump() | fields)))


def _write(folder: Path, made: Callable[[RemoteRun], RemoteRun]) -> RemoteRun:
    with _writing:
        state = RemoteRun.model_validate_json((folder / REMOTE_FILE).read_bytes())
        changed = made(state)
        return state if changed == state else save(folder, changed)


def save(folder: Path, state: RemoteRun) -> RemoteRun:
    """Write it, whole or not at all; returns it."""
    unfinished = folder / f".{REMOTE_FILE}.part"
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(state.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / REMOTE_FILE)
    return state
