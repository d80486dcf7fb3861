"""The job behind a run: starts or adopts the worker process and follows its events to the end.

After a restart of the app the handler runs again: it finds the child by pid and start time (from
the store, else from the run's `process.json`) and goes on watching, or finds it gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_studio.core.errors import Cancelled, NotFound, Unavailable
from distill_studio.core.records import Run, RunState
from distill_studio.core.records.base import utc_now
from distill_studio.distill.command import (
    CONFIG_FILE,
    LOG_FILE,
    PROCESS_FILE,
    SHUTDOWN_ENV,
    worker_argv,
    working_folder,
)
from distill_studio.distill.config import RunConfig, load_config
from distill_studio.distill.events import EVENTS_FILE, last_final, read_events
from distill_studio.distill.failures import DISK_FULL, is_disk_full
from distill_studio.distill.server_checks import KEY_VARIABLE
from distill_studio.services import processes
from distill_studio.services.jobs import JobContext, JobsService
from distill_studio.services.processes import Child
from distill_studio.services.run_worker import is_locked, living_worker, stored_child
from distill_studio.store import runs as table
from distill_studio.store.database import Database

STOP_GRACE_S = 180.0  # at least; a stop waits for the update and the checkpoint
_POLL_S = 0.4
_STORE_EVERY_S = 2.0
_CHILD_ENV = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    **SHUTDOWN_ENV,
}


@dataclass
class _Watched:
    """A child being followed."""

    child: Child
    offset: int  # read so far, in bytes of events.jsonl
    begins_at: int  # where this attempt's events begin
    asked_to_stop_at: float | None = None
    longest_update_s: float = 0.0  # of the run, also before this attempt
    last_eval_s: float = 0.0

    def note_times(self, events: list[Any]) -> None:
        """Take note of how long updates and held-out figures take."""
        for event in events:
            if event.kind == "step":
                self.longest_update_s = max(self.longest_update_s, event.seconds)
            elif event.kind == "eval":
                self.last_eval_s = event.seconds

    @property
    def grace_s(self) -> float:
        """How long a stop waits before the child is killed, seconds."""
        return max(STOP_GRACE_S, 3 * self.longest_update_s + self.last_eval_s)


class TrainingJobs:
    """Handler of jobs of kind `train`, whose parameter is the run's name.

    Args:
        db: The store.
        runs_folder: Of all runs.
        jobs: Says whether the app closes.
        key_of: The key of a run's teacher; it reaches the worker by its environment alone.
    """

    def __init__(
        self,
        db: Database,
        runs_folder: Path,
        jobs: JobsService,
        key_of: Callable[[RunConfig], str] = lambda _: "",
    ) -> None:
        self._db = db
        self._key_of = key_of
        self._folder = runs_folder
        self._jobs = jobs

    def run(self, context: JobContext) -> dict[str, Any]:
        """Train to the end; returns the final figures.

        Raises:
            Cancelled: Stopped on request (the run can resume), or the app closes.
            Unavailable: The training failed, or its process vanished.
        """
        name = str(context.params["run"])
        run = table.get(self._db, name)
        if run is None:
            raise NotFound(f"There is no run '{name}' any more.")
        if run.state is RunState.DONE:
            return run.metrics
        child = self._found(run, context)
        events = self._folder / name / EVENTS_FILE
        if child is None and run.state is RunState.RUNNING:  # it ended while the app was away
            return self._conclude(run, begins_at=0, was_stopped=False)
        begins_at = 0
        if child is None:
            begins_at = events.stat().st_size if events.exists() else 0
            child = self._start(name)
            context.log(f"Started the worker, process {child.pid}.")
        else:
            context.log(f"Found the worker again, process {child.pid}.")
        self._store_child(name, child, context)
        watched = _Watched(child, begins_at, begins_at)
        watched.note_times(read_events(events)[0])
        self._follow(name, watched, context)
        return self._conclude(run, watched.begins_at, watched.asked_to_stop_at is not None)

    def _start(self, name: str) -> Child:
        folder = self._folder / name
        key = self._key_of(load_config(folder / CONFIG_FILE))
        env = _CHILD_ENV | ({KEY_VARIABLE: key} if key else {})
        env |= self._jobs.workspace.teachers.reach.environment()
        (folder / PROCESS_FILE).unlink(missing_ok=True)
        return processes.start(
            worker_argv(folder), cwd=working_folder(), log=folder / LOG_FILE, env=env
        )

    def _store_child(self, name: str, child: Child, context: JobContext) -> None:
        table.update(
            self._db,
            name,
            state=RunState.RUNNING,
            pid=child.pid,
            pid_started=child.started,
            error="",
            ended_at=None,
            job_id=context.job.id,
        )

    def _found(self, run: Run, context: JobContext) -> Child | None:
        """The run's worker; waits while one trains that cannot be named, for two would clash."""
        folder = self._folder / run.name
        child = living_worker(folder, stored_child(run))
        while child is None and is_locked(folder):  # it begins just now, or is on another host
            if context.cancel.wait(_POLL_S):
                raise Cancelled("A worker that is not of this machine trains on.")
            child = living_worker(folder, stored_child(run))
        return child

    def _follow(self, name: str, watched: _Watched, context: JobContext) -> None:
        """Until the child is gone and its last event is read."""
        last_write = 0.0
        seen: dict[str, Any] = {}
        while True:
            is_alive = processes.is_alive(watched.child)
            new, watched.offset = read_events(self._folder / name / EVENTS_FILE, watched.offset)
            watched.note_times(new)
            for event in new:
                report_event(event, seen, context)
            if new and time.monotonic() - last_write > _STORE_EVERY_S:
                last_write = time.monotonic()
                table.update(self._db, name, metrics=seen)
            if not is_alive:
                other = living_worker(self._folder / name)  # the command was typed meanwhile
                if other is None and not is_locked(self._folder / name):
                    return
                watched.child = other or watched.child
            self._heed_cancel(watched, context)

    def _heed_cancel(self, watched: _Watched, context: JobContext) -> None:
        if not context.cancel.is_cancelled:
            context.cancel.wait(_POLL_S)
            return
        if self._jobs.is_shutting_down:
            raise Cancelled("The app closes; the training goes on by itself.")
        if watched.asked_to_stop_at is None:
            watched.asked_to_stop_at = time.monotonic()
            processes.interrupt(watched.child)
            context.progress(context.job.done, context.job.total, "Stopping after this update.")
        elif time.monotonic() - watched.asked_to_stop_at > watched.grace_s:
            processes.stop(watched.child, grace_s=0.0)
        time.sleep(_POLL_S)

    def _conclude(self, run: Run, begins_at: int, was_stopped: bool) -> dict[str, Any]:
        """Store how the newest attempt ended, and tell the job."""
        events, _ = read_events(self._folder / run.name / EVENTS_FILE, begins_at)
        final = last_final(events)
        if final is None:
            return self._without_last_word(run, was_stopped)
        if final.kind == "done":
            self._end(run.name, RunState.DONE, metrics=final.metrics)
            return final.metrics
        if final.kind == "stopped":
            self._end(run.name, RunState.STOPPED)
            raise Cancelled("Stopped on request.")
        error = f"{final.message} {final.hint}".strip()
        self._end(run.name, RunState.FAILED, error=error)
        raise Unavailable(final.message, final.hint)

    def _without_last_word(self, run: Run, was_stopped: bool) -> dict[str, Any]:
        if was_stopped:
            self._end(run.name, RunState.STOPPED)
            raise Cancelled("It did not stop by itself and was ended.")
        message = "The training process ended without a last word."
        hint = "It was killed, or memory ran out. Resume it: it goes on from the last checkpoint."
        if is_disk_full(self._folder):
            message, hint = DISK_FULL, "Free some space, then resume."
        self._end(run.name, RunState.LOST, error=f"{message} {hint}")
        raise Unavailable(message, hint)

    def _end(self, name: str, state: RunState, **fields: Any) -> None:  # noqa: ANN401
        table.update(self._db, name, state=state, ended_at=utc_now(), **fields)


def report_event(event: Any, seen: dict[str, Any], context: JobContext) -> None:  # noqa: ANN401
    """An event as progress of the job and as figures of the run."""
    if event.kind == "note":
        context.progress(int(seen.get("step", 0)), seen.get("total"), event.message)
    elif event.kind == "started":
        seen |= {"total": event.total, "step": event.resumed_from}
        context.progress(event.resumed_from, event.total, "Measuring the held-out loss.")
    elif event.kind == "step":
        seen |= {
            "step": event.step,
            "total": event.total,
            "loss": event.loss,
            "tokens_per_s": event.tokens_per_s,
        }
        context.progress(event.step, event.total, f"loss {event.loss:.3f}")
    elif event.kind == "eval":
        seen["loss_before" if event.step == 0 else "loss_after"] = event.loss
