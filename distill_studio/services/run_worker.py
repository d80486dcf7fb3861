"""Which process trains a run: the one it noted down or the store knows, else who holds its lock."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from distill_studio.core.records import Run
from distill_studio.distill.command import LOCK_FILE, PROCESS_FILE, WORKER
from distill_studio.services import processes
from distill_studio.services.processes import Child


def stored_child(run: Run) -> Child | None:
    """The process that the store knows of."""
    if run.pid is None or run.pid_started is None:
        return None
    return Child(pid=run.pid, started=run.pid_started)


def living_worker(folder: Path, stored: Child | None = None) -> Child | None:
    """The worker that trains the run in `folder`; None where there is none, or none to be named.

    While the run's lock is held, the noted pid is believed whatever its start seems to be: a clock
    that was set makes the start times of older versions look wrong.

    Args:
        folder: Of the run.
        stored: As the store knows it.
    """
    known = [child for child in (_noted(folder), stored) if child is not None]
    for child in known:
        if processes.is_alive(child):
            return child
    if known and is_locked(folder):
        for child in known:
            found = processes.running(child.pid)
            if found is not None and _is_worker(found):
                return found
    return None


def is_locked(folder: Path) -> bool:
    """True while some process holds the run's lock, be it on another host."""
    if not (folder / LOCK_FILE).exists():
        return False
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _noted(folder: Path) -> Child | None:
    try:
        return Child(**json.loads((folder / PROCESS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None  # not written yet, or cut short by a kill: the store's pid is used


def _is_worker(child: Child) -> bool:
    try:
        return WORKER in psutil.Process(child.pid).cmdline()
    except psutil.Error:
        return False
