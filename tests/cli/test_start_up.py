"""The command line as people start it: a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from distill_studio import __version__
from distill_studio.cli.app import global_options_first
from tests.conftest import app_environment

ROOT = Path(__file__).parents[2]


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distill_studio", *words],
        cwd=ROOT,
        env=app_environment(home, 0),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_exit_codes_and_streams(tmp_path):
    well = run(tmp_path, "list", "--json")
    assert (well.returncode, well.stdout, well.stderr) == (0, "[]\n", "")
    refused = run(tmp_path, "jobs", "show", "nothing")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("Error: There is no job nothing")
    assert run(tmp_path, "no-such-command").returncode == 2
    assert run(tmp_path, "--version").stdout.strip() == __version__


def test_doctor_reports_on_this_machine(tmp_path):
    ran = run(tmp_path / "new", "doctor", "--json")
    report = json.loads(ran.stdout)
    assert report["packages"]["duckdb"]
    assert report["device"]["chosen"] in ("cpu", "cuda", "mps")
    assert report["data_folder"]["is_writable"]
    assert {"python", "packages", "device", "data folder", "disk"} <= {
        f["name"] for f in report["findings"]
    }
    assert ran.returncode == any(f["grade"] == "missing" for f in report["findings"])
    assert not (tmp_path / "new").exists()  # it only looks


def test_global_options_may_stand_anywhere():
    line = ["list", "--home", "/x", "seeds", "--json", "--workspace=w", "--limit", "3"]
    assert global_options_first(line) == [
        "--json", "--home", "/x", "--workspace=w", "list", "seeds", "--limit", "3",
    ]  # fmt: skip
    assert global_options_first(["compare", "--", "--json"]) == ["compare", "--", "--json"]
