"""Wait for a job with one progress line on stderr; Ctrl+C stops the job."""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from distill_studio.cli.session import Session
from distill_studio.cli.show import clean
from distill_studio.core.errors import Cancelled, InvalidInput, StudioError
from distill_studio.services.remote_state import REMOTE_KIND

_POLL_S = 0.2
_PLAIN_LINE_EVERY_S = 10.0
_STOP_LIMIT_S = 60.0
_INTERRUPTED = 130
_STOPS = "Stopping the job; what it has made stays."
_CANCELS = "Cancelling the Job, or stopping to wait for your machine; nothing of it is kept."
_MAY_RUN = (
    "The Hub has not confirmed it yet: a Job may still run, and cost money. The stop is remembered"
    " and goes on as long as the app runs. Start it, or look at your Jobs on the Hub."
)
Job = Mapping[str, Any]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait for its end.")]


class JobFailed(StudioError):
    """The job ended without its result; the message is the job's own."""

    code = "job_failed"


def finish(session: Session, job: Job, *, detach: bool = False) -> Job:
    """The job when it has ended well; at once with `detach`.

    Raises:
        InvalidInput: `detach` without a running app: the job would end with the command.
        JobFailed: It failed; says why.
        Cancelled: Somebody stopped it.
    """
    if detach:
        return job
    line = _ProgressLine()
    try:
        while job["state"] in ("queued", "running"):
            line.show(job)
            time.sleep(_POLL_S)
            job = session.client.call("jobs_get", job_id=job["id"])
    except KeyboardInterrupt:
        line.end()
        _stop(session, job)
    finally:
        line.end()
    if job["state"] == "cancelled":
        raise Cancelled("The job was stopped.", _go_on(job))
    if job["state"] != "done":
        raise JobFailed(job["error"] or f"The job ended as {job['state']}.", _hint(job))
    return job


def check_detach(session: Session, detach: bool) -> None:
    """Refuse --detach before anything begins when no app runs."""
    if detach and not session.client.is_app:
        raise InvalidInput(
            "--detach needs the running app: without it the job would end with this command.",
            "Start the app first: python -m distill_studio app",
        )


def _hint(job: Job) -> str:
    if job["state"] == "needs_key":
        key = "HF_TOKEN" if job["kind"] == REMOTE_KIND else "the teacher's key"
        return f"Set {key} in the environment, then: jobs resume {job['id']}"
    return f"See its log: jobs show {job['id']}. {_go_on(job)}"


def _go_on(job: Job) -> str:
    if job["kind"] == REMOTE_KIND:  # which may be paid: never by its job
        name = clean(job["params"]["run"], 100)
        return f"Resume the run '{name}' on the Distill page (distill_resume)."
    return f"Go on with: jobs resume {job['id']}"


def _stop(session: Session, job: Job) -> None:
    is_there = job["kind"] == REMOTE_KIND
    print(_CANCELS if is_there else _STOPS, file=sys.stderr)
    session.client.call("jobs_cancel", job_id=job["id"])
    deadline = time.monotonic() + _STOP_LIMIT_S
    while job["state"] in ("queued", "running") and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        job = session.client.call("jobs_get", job_id=job["id"])
    if is_there and job["state"] in ("queued", "running", "needs_key"):
        print(_MAY_RUN, file=sys.stderr)
    raise typer.Exit(_INTERRUPTED)


class _ProgressLine:
    """One line that is redrawn on a terminal; a plain line now and then elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._last = ""
        self._last_at = time.monotonic()  # a quick job says nothing

    def show(self, job: Job) -> None:
        """Draw where the job stands."""
        total = job["total"]
        share = f"{job['done']}/{total}" if total else (str(job["done"]) if job["done"] else "")
        text = clean(f"{job['title'] or job['kind']}  {share}  {job['note'] or job['state']}", 200)
        if text == self._last:
            return
        now = time.monotonic()
        if self._is_terminal:
            print(f"\r\033[2K{text[: _columns()]}", end="", file=sys.stderr, flush=True)
        elif now - self._last_at < _PLAIN_LINE_EVERY_S:
            return
        else:
            print(text, file=sys.stderr, flush=True)
        self._last, self._last_at = text, now

    def end(self) -> None:
        """Leave a clean line."""
        if self._is_terminal and self._last:
            print("\r\033[2K", end="", file=sys.stderr, flush=True)
            self._last = ""


def _columns() -> int:
    return max(20, shutil.get_terminal_size().columns - 1)
