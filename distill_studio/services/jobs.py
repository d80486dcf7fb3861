"""Jobs: long work on worker threads, kept in the store so that it survives reload and restart.

A service registers a handler per kind; anyone submits; the UI only polls. On shutdown a running
job is left as it stands and starts again with the next start of the app, so handlers must do
only what is still missing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import (
    Cancelled,
    Conflict,
    InvalidInput,
    NotFound,
    StudioError,
    Unavailable,
)
from distill_studio.core.progress import CancelToken
from distill_studio.core.records import Job, JobState
from distill_studio.core.records.base import utc_now
from distill_studio.services.base import Service
from distill_studio.services.lanes import Lane
from distill_studio.store import jobs as table
from distill_studio.store.database import Row

logger = logging.getLogger(__name__)

LANE_WORKERS: dict[Lane, int] = {"compute": 1, "io": 8, "flow": 4, "watch": 64}
_WRITE_EVERY_S = 0.25


class NeedsKey(StudioError):
    """A handler raises this when a teacher's key was given for the session and is gone.

    Args:
        user_message: What is missing.
        hint: What to do.
        teacher: Whose key it is; the job goes on when that key is given.
    """

    code = "needs_key"

    def __init__(self, user_message: str, hint: str = "", teacher: str = "") -> None:
        super().__init__(user_message, hint)
        self.teacher = teacher


@dataclass
class JobContext:
    """What a handler gets: its input, and how to report and to notice a stop."""

    job: Job
    actor: Actor
    cancel: CancelToken
    _service: JobsService
    _last_write: float = field(default=0.0)
    _untold: dict[str, Any] = field(default_factory=dict)  # reported, not written yet

    @property
    def params(self) -> dict[str, Any]:
        """Input of the handler, as submitted."""
        return self.job.params

    def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        """Report progress; written to the store at most four times a second, and at the end."""
        self._untold = {"done": done, "total": total, "note": note}
        now = time.monotonic()
        if now - self._last_write >= _WRITE_EVERY_S or (total is not None and done >= total):
            self._last_write = now
            table.update(self._service.db, self.job.id, **self.untold())

    def untold(self) -> dict[str, Any]:
        """The progress that was reported last, once: column values; none where it is written."""
        told, self._untold = self._untold, {}
        return told

    def log(self, message: str) -> None:
        """Add a line to the job's log."""
        table.log(self._service.db, self.job.id, message)


Handler = Callable[[JobContext], dict[str, Any]]
_ACTIVE = [JobState.QUEUED, JobState.RUNNING, JobState.NEEDS_KEY]


@dataclass(frozen=True)
class _Kind:
    handler: Handler
    lane: Lane
    least: Role
    stopping: Callable[[Job], None] | None
    resuming: Callable[[Job], None] | None


class JobsService(Service):
    """Submit, watch, cancel and resume jobs of one workspace."""

    word = "jobs"

    def __init__(self, workspace: Any) -> None:  # noqa: ANN401  (see Service)
        super().__init__(workspace)
        self._kinds: dict[str, _Kind] = {}
        self._tokens: dict[str, CancelToken] = {}
        self._lock = threading.Lock()  # of the tokens; taken within a write, never around one
        self._is_shutting_down = False

    # -- for services ---------------------------------------------------------------------

    def register(
        self,
        kind: str,
        handler: Handler,
        lane: Lane = "io",
        *,
        least: Role = Role.REVIEWER,
        stopping: Callable[[Job], None] | None = None,
        resuming: Callable[[Job], None] | None = None,
    ) -> None:
        """Say which function runs jobs of `kind`, in which lane, and what it must hear.

        Who resumes one needs the role `least`. `resuming` is told before, and may refuse.
        `stopping` is told of a stop, whatever the job waits for; its handler then runs, again if
        need be, and ends what it has begun elsewhere: it raises `Cancelled` when that is done.

        `compute` runs one job at a time in the whole app, `io` eight, `flow` (jobs that wait for
        other jobs) four, `watch` (jobs that wait for another machine, for hours) sixty-four.
        """
        self._kinds[kind] = _Kind(handler, lane, least, stopping, resuming)

    def submit(self, actor_: Actor, kind: str, title: str, params: dict[str, Any]) -> Job:
        """Queue a job and return it."""
        if kind not in self._kinds:
            raise InvalidInput(f"There is no job of kind {kind}.")
        job = Job(kind=kind, title=title, user=actor_.user, params=params)
        table.insert(self.db, job)
        self._enqueue(job, actor_)
        return job

    def submit_once(self, actor_: Actor, kind: str, title: str, params: dict[str, Any]) -> Job:
        """The unfinished job that already does just this, else a new one."""
        for job in table.page(self.db, kinds=[kind], states=_ACTIVE, limit=50):
            if job.params == params:
                return self.revive(actor_, job)
        return self.submit(actor_, kind, title, params)

    def ahead(self, job: Job) -> Job | None:
        """What runs here in the lane of a job that waits; None for one that does not wait."""
        kind = self._kinds.get(job.kind)
        if kind is None or job.state is not JobState.QUEUED:
            return None
        alike = [word for word, other in self._kinds.items() if other.lane == kind.lane]
        running = table.page(self.db, kinds=alike, states=[JobState.RUNNING], limit=50)
        return running[-1] if running else None

    def resume_all(self) -> None:
        """Queue again what a former process left unfinished. Called once, at the app's start."""
        for job in reversed(table.page(self.db, states=_ACTIVE, limit=10_000)):
            kind = self._kinds.get(job.kind)
            if job.state is JobState.NEEDS_KEY and (kind is None or kind.stopping is None):
                continue  # it waits for a person; of the others something may run elsewhere
            token = self._enqueue(job, Actor(user=job.user, role=Role.OWNER))
            if job.cancel_requested:
                token.cancel()

    def revive(self, actor_: Actor, job: Job) -> Job:
        """The job; queued again where it is active in name only, its process being dead."""
        with self._lock:
            is_orphan = job.state.is_active and job.id not in self._tokens
        return self.resume(actor_, job.id) if is_orphan else job

    def shut_down(self) -> None:
        """Ask running handlers to leave; their jobs stay queued for the next start."""
        self._is_shutting_down = True
        for token in list(self._tokens.values()):
            token.cancel()

    @property
    def is_shutting_down(self) -> bool:
        """True once the app is about to stop; jobs it leaves go on at the next start."""
        return self._is_shutting_down

    # -- operations -----------------------------------------------------------------------

    def page(
        self, actor: Actor, kinds: list[str] | None = None, limit: int = 50, active: bool = False
    ) -> list[Job]:
        """Jobs, newest first; with `active` only those queued, running or waiting for a key."""
        actor.require(Role.VIEWER)
        states = _ACTIVE if active else []
        return table.page(self.db, kinds=kinds or [], states=states, limit=limit)

    def get(self, actor: Actor, job_id: str) -> Job:
        """One job."""
        actor.require(Role.VIEWER)
        job = table.get(self.db, job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id} in this workspace.")
        return job

    def events(self, actor: Actor, job_id: str, limit: int = 200) -> list[Row]:
        """A job's newest log lines, oldest first."""
        actor.require(Role.VIEWER)
        return table.events(self.db, job_id, limit)

    def cancel(self, actor: Actor, job_id: str) -> Job:
        """Ask a job to stop; what it has made stays."""
        actor.require(Role.REVIEWER)
        kind = self._kinds.get((job := self.get(actor, job_id)).kind)
        is_told = is_waiting = False
        if kind is not None and kind.stopping is not None and job.state in _ACTIVE:
            kind.stopping(job)
            is_told = True
        with self.db.write(), self._lock:
            job = self.get(actor, job_id)
            token = self._tokens.get(job_id)
            if token is not None:
                token.cancel()
            if token is not None and (job.state is JobState.RUNNING or is_told):
                table.update(self.db, job_id, cancel_requested=True)
            elif job.state in _ACTIVE and is_told:
                is_waiting = True
            elif job.state in _ACTIVE:
                self._tokens.pop(job_id, None)  # when its turn comes it is not begun
                table.update(self.db, job_id, state=JobState.CANCELLED, ended_at=utc_now())
        if is_waiting:
            self._enqueue(job, actor, is_again=True)
        return self.get(actor, job_id)

    def resume(self, actor: Actor, job_id: str) -> Job:
        """Run a cancelled, failed or waiting job again; it does only what is missing."""
        actor.require(Role.REVIEWER)
        job = self.get(actor, job_id)
        if job.kind not in self._kinds:
            raise InvalidInput(f"Jobs of kind {job.kind} cannot be resumed.")
        kind = self._kinds[job.kind]
        actor.require(kind.least)
        if kind.resuming is not None:
            kind.resuming(job)
        self._enqueue(job, actor, is_again=True)
        return self.get(actor, job_id)

    def waiting_for(self, teacher: str) -> list[Job]:
        """The jobs that stand still for want of this teacher's key, the oldest first."""
        jobs = table.page(self.db, states=[JobState.NEEDS_KEY], limit=10_000)
        return [job for job in reversed(jobs) if job.waits_for == teacher]

    def wait(self, actor: Actor, job_id: str, timeout_s: float = 600.0) -> Job:
        """Wait until a job no longer runs, at most `timeout_s`; returns it as it then is."""
        actor.require(Role.VIEWER)
        deadline = time.monotonic() + timeout_s
        while (job := self.get(actor, job_id)).state.is_active and time.monotonic() < deadline:
            time.sleep(0.05)
        return job

    # -- inside ---------------------------------------------------------------------------

    def _enqueue(self, job: Job, actor: Actor, *, is_again: bool = False) -> CancelToken:
        """Put a job into its lane; one that a thread has already is refused."""
        token = CancelToken()
        kind = self._kinds.get(job.kind)
        if kind is None:
            table.update(
                self.db, job.id, state=JobState.FAILED, error=f"Unknown kind of job: {job.kind}."
            )
            return token
        with self._lock:
            if job.id in self._tokens:
                raise Conflict("This job is running already, or about to stop.", "Wait a moment.")
            self._tokens[job.id] = token
        if is_again:
            table.update(
                self.db,
                job.id,
                state=JobState.QUEUED,
                error="",
                waits_for="",
                ended_at=None,
                cancel_requested=False,
            )
        try:
            self.workspace.studio.lanes.submit(
                kind.lane, lambda: self._run(kind, job, actor, token)
            )
        except RuntimeError as err:
            self._forget(job.id, token)
            error = f"This machine cannot start a thread for it: {err}"
            table.update(self.db, job.id, state=JobState.FAILED, error=error)
            raise Unavailable(error, "Wait until it has less to do, then resume.") from err
        return token

    def _forget(self, job_id: str, token: CancelToken) -> None:
        """No thread has it any more, however its end was told: it can be stopped and resumed."""
        with self._lock:
            if self._tokens.get(job_id) is token:
                del self._tokens[job_id]

    def _run(self, kind: _Kind, job: Job, actor: Actor, token: CancelToken) -> None:
        try:
            if not self._is_shutting_down and self._begin(job, token):
                self._handle(kind, JobContext(job, actor, token, self))
        finally:
            self._forget(job.id, token)

    def _handle(self, kind: _Kind, context: JobContext) -> None:
        job = context.job
        try:
            result = kind.handler(context)
            self._end(context, JobState.DONE, result=result)
        except Cancelled:
            if not self._is_shutting_down:  # else it stays as it is and resumes at the next start
                self._end(context, JobState.CANCELLED)
        except NeedsKey as err:
            self._end(context, JobState.NEEDS_KEY, error=str(err), waits_for=err.teacher)
        except StudioError as err:
            self._end(context, JobState.FAILED, error=str(err))
        except BaseException as err:  # also an exit or a panic of a library: the thread is ours
            if self._is_shutting_down:
                return
            logger.exception("job %s (%s) failed", job.id, job.kind)
            error = f"Unexpected error: {type(err).__name__}: {err}"
            self._end(context, JobState.FAILED, error=error)

    def _begin(self, job: Job, token: CancelToken) -> bool:
        """False where it was stopped while it waited, be it that it was resumed since.

        So it is where what submitted it was rolled back, and the job with it.
        """
        with self.db.write(), self._lock:
            if self._tokens.get(job.id) is not token:
                return False
            if table.get(self.db, job.id) is None:
                del self._tokens[job.id]
                return False
            table.update(self.db, job.id, state=JobState.RUNNING, started_at=utc_now(), error="")
        return True

    def _end(
        self,
        context: JobContext,
        state: JobState,
        *,
        error: str = "",
        **fields: Any,  # noqa: ANN401  (column values)
    ) -> None:
        """Tell how it ended; who hears of that may resume it at once."""
        job_id = context.job.id
        fields |= context.untold() | {"state": state, "ended_at": utc_now(), "error": error}
        with self.db.write(), self._lock:
            table.update(self.db, job_id, **fields)
            if self._tokens.get(job_id) is context.cancel:
                del self._tokens[job_id]
