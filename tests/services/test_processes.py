"""Children are known by pid and start time, and stopped for good."""

import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from distill_studio.core.errors import Unavailable
from distill_studio.services import processes
from distill_studio.services.processes import Child


def start(tmp_path: Path, code: str) -> Child:
    argv = [sys.executable, "-c", code]
    return processes.start(argv, cwd=tmp_path, log=tmp_path / "log")


def test_a_child_has_its_own_session_and_log(tmp_path: Path) -> None:
    child = start(tmp_path, "import time; print('hello', flush=True); time.sleep(600)")
    assert processes.is_alive(child)
    assert os.getsid(child.pid) == child.pid
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "log").read_text() == "hello\n"
    assert processes.stop(child, grace_s=60)
    assert not processes.is_alive(child)


def test_a_deaf_child_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    child = start(tmp_path, f"{code}; time.sleep(600)")
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes.stop(child, grace_s=0.3)
    assert not processes.is_alive(child)


def test_another_start_time_is_another_process(tmp_path: Path) -> None:
    child = start(tmp_path, "import time; time.sleep(600)")
    try:
        stranger = Child(pid=child.pid, started=child.started - 100)
        assert not processes.is_alive(stranger)
        processes.interrupt(stranger)
        assert processes.is_alive(child)
    finally:
        processes.stop(child, grace_s=60)


def test_a_child_that_ended_is_not_alive(tmp_path: Path) -> None:
    child = start(tmp_path, "pass")
    assert processes.stop(child, grace_s=60)
    processes.interrupt(child)  # nothing to do, nothing raised
    assert not processes.is_alive(child)


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="could not be started"):
        processes.start(["/no/such/program"], cwd=tmp_path, log=tmp_path / "log")


def test_a_clock_that_is_set_loses_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psutil counts from the boot time, which the kernel moves with the clock."""
    child = start(tmp_path, "import time; time.sleep(600)")
    told = psutil.Process.create_time
    try:
        with monkeypatch.context() as patch:
            patch.setattr(psutil.Process, "create_time", lambda self: told(self) + 2.0)
            assert processes.is_alive(child)
            patch.setattr(processes, "_ours", {})  # as after a restart of the app
            assert processes.is_alive(child)
            other = child.model_copy(update={"mark": child.mark + "1"})
            assert not processes.is_alive(other)
    finally:
        processes.stop(child, grace_s=60)


def test_a_kill_reaches_what_a_launcher_started_in_other_sessions(tmp_path: Path) -> None:
    code = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        argv = [sys.executable, "-c", "import time; time.sleep(600)"]
        print(subprocess.Popen(argv, start_new_session=True).pid, flush=True)
        time.sleep(600)
    """
    child = start(tmp_path, textwrap.dedent(code))
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").read_text().endswith("\n") and time.monotonic() < deadline:
        time.sleep(0.05)
    below = int((tmp_path / "log").read_text())
    assert not processes.stop(child, grace_s=0.1)
    try:
        while processes.running(below) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        if processes.running(below) is not None:
            os.kill(below, signal.SIGKILL)
