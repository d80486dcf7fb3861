"""Child processes that outlive the app: start, recognise after a restart, stop.

A child is known by its pid and start time together, so that a reused pid is never mistaken for
it. Children get a session of their own: a Ctrl-C or the end of the app does not reach them.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from pydantic import Field

from distill_studio.core.errors import Unavailable
from distill_studio.core.records import Record

_START_TOLERANCE_S = 1.0


class Child(Record):
    """A process, recognisable after a restart of the app."""

    pid: int = Field(description="Process id.")
    started: float = Field(description="Start time, epoch seconds.")


_ours: dict[int, subprocess.Popen[bytes]] = {}  # children of this very process, to be reaped
_guard = threading.Lock()


def start(
    argv: Sequence[str], *, cwd: Path, log: Path, env: Mapping[str, str] | None = None
) -> Child:
    """Start a child in a session of its own; both its outputs are appended to `log`.

    Raises:
        Unavailable: The program cannot be started.
    """
    try:
        with log.open("ab") as out:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as err:
        raise Unavailable(f"The worker could not be started: {err}") from err
    with _guard:
        _ours[process.pid] = process
    try:
        started = psutil.Process(process.pid).create_time()
    except psutil.NoSuchProcess:  # it ended at once; it will be seen as gone
        started = time.time()
    return Child(pid=process.pid, started=started)


def is_alive(child: Child) -> bool:
    """True while that very process runs."""
    with _guard:
        process = _ours.get(child.pid)
        if process is not None and process.poll() is not None:
            del _ours[child.pid]
            return False
    return _find(child) is not None


def interrupt(child: Child) -> None:
    """Ask a child to finish its update, save and leave."""
    _send(child, signal.SIGTERM)


def stop(child: Child, grace_s: float) -> bool:
    """Ask a child to leave, wait, then kill its whole group; True when it left by itself."""
    interrupt(child)
    if _wait(child, grace_s):
        return True
    _send(child, signal.SIGKILL)
    _wait(child, 10.0)
    return False


def stop_group(child: Child, grace_s: float) -> None:
    """Stop a child, and whatever of its group outlives it (a server's engine processes)."""
    if _find(child) is None or os.getpgid(child.pid) != child.pid:
        return  # gone, or not the head of a group: nothing here that is surely its own
    stop(child, grace_s)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing was left


def _send(child: Child, number: signal.Signals) -> None:
    if _find(child) is None:
        return
    try:
        if os.getpgid(child.pid) == child.pid:
            os.killpg(child.pid, number)
        else:  # typed in a shell: the group is not the child's own
            os.kill(child.pid, number)
    except ProcessLookupError:
        return  # it left in the meantime, which is what was wanted


def _wait(child: Child, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_alive(child):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True


def _find(child: Child) -> psutil.Process | None:
    try:
        process = psutil.Process(child.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        is_same = abs(process.create_time() - child.started) < _START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return None
    return process if is_same else None
