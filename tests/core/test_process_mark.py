"""A process is known again after the clock was set, and a later one of its pid is not it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from distill_studio.core.process_mark import is_running, start_mark
from distill_studio.web import server_file

HOUR = 3600.0
linux = pytest.mark.skipif(not start_mark(os.getpid()), reason="no marks on this system")


@linux
def test_the_mark_decides_whatever_the_clock_says() -> None:
    pid, started = os.getpid(), psutil.Process().create_time()
    mark = start_mark(pid)
    assert is_running(pid, started - HOUR, mark)
    assert not is_running(pid, started, mark + "0")


def test_without_a_mark_the_start_decides() -> None:
    pid, started = os.getpid(), psutil.Process().create_time()
    assert is_running(pid, started, "")
    assert not is_running(pid, started - HOUR, "")


def test_what_has_ended_does_not_run() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started, mark = psutil.Process(child.pid).create_time(), start_mark(child.pid)
    assert is_running(child.pid, started, mark)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert not is_running(child.pid, started, mark)
    child.wait()
    assert not is_running(child.pid, started, mark)


@linux
def test_the_running_app_is_found_after_the_clock_was_set(tmp_path: Path) -> None:
    server_file.write(tmp_path, "http://127.0.0.1:1", "secret")
    path = tmp_path / server_file.NAME
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | {"started": told["started"] - HOUR}), encoding="utf-8")
    found = server_file.read(tmp_path)
    assert found is not None
    assert found.token == "secret"
