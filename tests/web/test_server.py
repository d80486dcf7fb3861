"""The real process: server.json, one app per folder, a clean end, and a start after a crash."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from distill_studio.web import server_file


def test_server_json_is_private_and_tells_where_the_app_is(running_app):
    path = running_app.home / "server.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    info = server_file.read(running_app.home)
    assert info is not None
    assert info.url == running_app.url
    assert info.pid == running_app.process.pid


def test_the_token_is_neither_in_the_log_nor_on_a_page(running_app):
    token = running_app.server_file["token"]
    assert token not in running_app.log.read_text(errors="replace")
    assert token not in httpx.get(running_app.url, timeout=60).text
    assert token not in httpx.get(f"{running_app.url}/config", timeout=60).text


def test_a_second_app_on_the_folder_leaves_and_names_the_first(running_app):
    second = subprocess.run(
        [sys.executable, "app.py"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"DISTILL_STUDIO_HOME": str(running_app.home), "DISTILL_STUDIO_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert second.returncode == 1
    assert running_app.url in second.stderr
    assert "Traceback" not in second.stderr
    assert httpx.get(f"{running_app.url}/api/status", timeout=60).status_code == 200


@pytest.mark.slow
def test_it_starts_again_after_a_crash_and_ends_cleanly(start_app, tmp_path: Path):
    home = tmp_path / "home"
    first = start_app(home)
    first.kill()
    assert (home / "server.json").exists()  # a crash tidies nothing up
    assert server_file.read(home) is None
    second = start_app(home)
    assert httpx.get(f"{second.url}/api/status", timeout=60).status_code == 200
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(timeout=120) in (0, -signal.SIGTERM)
    assert not (home / "server.json").exists()
