"""Children are known by pid and start time, and stopped for good."""

import sys
from pathlib import Path

import pytest

from distill_studio.core.errors import Unavailable
from distill_studio.services import processes
from distill_studio.services.processes import Child


def start(tmp_path: Path, code: str) -> Child:
    argv = [sys.executable, "-c", code]
    return processes.start(argv, cwd=tmp_path, log=tmp_path / "log")


def test_a_child_has_its_own_session_and_log(tmp_path: Path) -> None:
    import os
    import time

    child = start(tmp_path, "import time; print('hello', flush=True); time.sleep(60)")
    assert processes.is_alive(child)
    assert os.getsid(child.pid) == child.pid
    deadline = time.monotonic() + 20
    while not (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "log").read_text() == "hello\n"
    assert processes.stop(child, grace_s=10)
    assert not processes.is_alive(child)


def test_a_deaf_child_is_killed(tmp_path: Path) -> None:
    import time

    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    child = start(tmp_path, f"{code}; time.sleep(60)")
    deadline = time.monotonic() + 20
    while not (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes.stop(child, grace_s=0.3)
    assert not processes.is_alive(child)


def test_another_start_time_is_another_process(tmp_path: Path) -> None:
    child = start(tmp_path, "import time; time.sleep(60)")
    try:
        stranger = Child(pid=child.pid, started=child.started - 100)
        assert not processes.is_alive(stranger)
        processes.interrupt(stranger)
        assert processes.is_alive(child)
    finally:
        processes.stop(child, grace_s=5)


def test_a_child_that_ended_is_not_alive(tmp_path: Path) -> None:
    child = start(tmp_path, "pass")
    assert processes.stop(child, grace_s=20)
    processes.interrupt(child)  # nothing to do, nothing raised
    assert not processes.is_alive(child)


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="could not be started"):
        processes.start(["/no/such/program"], cwd=tmp_path, log=tmp_path / "log")
