"""The job behind a run: starts or adopts the worker process and follows its events to the end.

After a restart of the app the handler runs again: it finds the child by pid and start time (from
the store, else from the run's `process.json`) and goes on watching, or finds it gone.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_studio.core.errors import Cancelled, NotFound, Unavailable
from distill_studio.core.records import Run, RunState
from distill_studio.core.records.base import utc_now
from distill_studio.distill.command import LOG_FILE, PROCESS_FILE, worker_argv, working_folder
from distill_studio.distill.events import EVENTS_FILE, last_final, read_events
from distill_studio.services import processes
from distill_studio.services.jobs import JobContext, JobsService
from distill_studio.services.processes import Child
from distill_studio.store import runs as table
from distill_studio.store.database import Database

STOP_GRACE_S = 180.0  # a stop waits for the update and the checkpoint
_POLL_S = 0.4
_STORE_EVERY_S = 2.0
_CHILD_ENV = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass
class _Watched:
    """A child being followed."""

    child: Child
    offset: int  # read so far, in bytes of events.jsonl
    begins_at: int  # where this attempt's events begin
    asked_to_stop_at: float | None = None


class TrainingJobs:
    """Handler of jobs of kind `train`, whose parameter is the run's name."""

    def __init__(self, db: Database, runs_folder: Path, jobs: JobsService) -> None:
        self._db = db
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
        child = self._living_child(run)
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
        self._follow(name, watched, context)
        return self._conclude(run, watched.begins_at, watched.asked_to_stop_at is not None)

    def _start(self, name: str) -> Child:
        folder = self._folder / name
        (folder / PROCESS_FILE).unlink(missing_ok=True)
        return processes.start(
            worker_argv(folder), cwd=working_folder(), log=folder / LOG_FILE, env=_CHILD_ENV
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

    def _living_child(self, run: Run) -> Child | None:
        candidates = [self._from_file(run.name)]
        if run.pid is not None and run.pid_started is not None:
            candidates.append(Child(pid=run.pid, started=run.pid_started))
        return next((c for c in candidates if c and processes.is_alive(c)), None)

    def _from_file(self, name: str) -> Child | None:
        path = self._folder / name / PROCESS_FILE
        try:
            return Child(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None  # not written yet, or cut short by a kill: the store's pid is used

    def _follow(self, name: str, watched: _Watched, context: JobContext) -> None:
        """Until the child is gone and its last event is read."""
        last_write = 0.0
        seen: dict[str, Any] = {}
        while True:
            is_alive = processes.is_alive(watched.child)
            new, watched.offset = read_events(self._folder / name / EVENTS_FILE, watched.offset)
            for event in new:
                _report(event, seen, context)
            if new and time.monotonic() - last_write > _STORE_EVERY_S:
                last_write = time.monotonic()
                table.update(self._db, name, metrics=seen)
            if not is_alive:
                other = self._from_file(name)  # somebody typed the command meanwhile
                if other is None or other == watched.child or not processes.is_alive(other):
                    return
                watched.child = other
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
        elif time.monotonic() - watched.asked_to_stop_at > STOP_GRACE_S:
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
        self._end(run.name, RunState.LOST, error=f"{message} {hint}")
        raise Unavailable(message, hint)

    def _end(self, name: str, state: RunState, **fields: Any) -> None:  # noqa: ANN401
        table.update(self._db, name, state=state, ended_at=utc_now(), **fields)


def _report(event: Any, seen: dict[str, Any], context: JobContext) -> None:  # noqa: ANN401
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
