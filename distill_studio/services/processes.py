"""Child processes that outlive the app: start, recognise after a restart, stop.

A child is known by its pid and start together, so that a reused pid is never mistaken for it. The
start is counted from the boot where the system tells: in epoch seconds it moves with the clock.
Children get a session of their own: a Ctrl-C or the end of the app does not reach them.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import Field

from distill_studio.core.errors import Unavailable
from distill_studio.core.process_mark import is_running, start_mark
from distill_studio.core.records import Record


class Child(Record):
    """A process, recognisable after a restart of the app."""

    pid: int = Field(description="Process id.")
    started: float = Field(description="Start time, epoch seconds.")
    mark: str = Field(
        default="", description="Its start by the boot, see `start_mark`; '' = not known."
    )


_ours: dict[int, subprocess.Popen[bytes]] = {}  # of this very process, to be reaped
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
    return _seen(process.pid) or Child(pid=process.pid, started=time.time())


def running(pid: int) -> Child | None:
    """The process that has this pid now; None for none."""
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    return _seen(pid)


def is_alive(child: Child) -> bool:
    """True while that very process runs."""
    with _guard:
        own = _ours.get(child.pid)
        if own is not None and own.poll() is not None:
            del _ours[child.pid]
    return is_running(child.pid, child.started, child.mark)


def interrupt(child: Child) -> None:
    """Ask a child to finish its update, save and leave."""
    _send(child, signal.SIGTERM)


def stop(child: Child, grace_s: float) -> bool:
    """Ask a child to leave, wait, then kill it and all below it; True when it left by itself.

    A launcher's workers have sessions of their own, which a signal to its group does not reach.
    """
    interrupt(child)
    if _wait(child, grace_s):
        return True
    below = _below(child)
    _send(child, signal.SIGKILL)
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _wait(child, 10.0)
    return False


def stop_group(child: Child, grace_s: float) -> None:
    """Stop a child, and whatever of its group outlives it (a server's engine processes)."""
    if not is_alive(child) or os.getpgid(child.pid) != child.pid:
        return  # gone, or not the head of a group: nothing here that is surely its own
    stop(child, grace_s)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing was left


def _send(child: Child, number: signal.Signals) -> None:
    if not is_alive(child):
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


def _seen(pid: int) -> Child | None:
    try:
        return Child(pid=pid, started=psutil.Process(pid).create_time(), mark=start_mark(pid))
    except psutil.NoSuchProcess:
        return None


def _below(child: Child) -> list[psutil.Process]:
    if not is_alive(child):
        return []
    try:
        return list(psutil.Process(child.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []
