"""The command line as people start it: a process of its own."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from distill_studio import __version__
from distill_studio.bootstrap import build_studio
from distill_studio.cli.app import global_options_first
from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.core.settings import Settings
from tests.conftest import app_environment
from tests.stub_openai import Answer, StubServer, completion

ROOT = Path(__file__).parents[2]


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distill_studio", *words],
        cwd=ROOT,
        env=app_environment(home, 0),
        capture_output=True,
        text=True,
        timeout=240,
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


def test_ctrl_c_stops_the_job_and_it_can_go_on(tmp_path, starter_cache):
    def stalls(body) -> Answer:  # Ctrl+C comes before the end, however late
        return Answer(completion("yes"), delay_s=0.2 if len(stub.requests) <= 4 else 120)

    stub = StubServer(stalls)
    studio = build_studio(Settings(home=tmp_path, cache=starter_cache), resume_jobs=False)
    owner, workspace = Actor(user="owner", role=Role.OWNER), studio.workspace("main")
    workspace.seeds.add(owner, "\n".join(f"Question {n}?" for n in range(40)), one_per_line=True)
    teacher = TeacherConfig(
        name="stub", kind=TeacherKind.OPENAI, model="stub-1", base_url=stub.url, concurrency=2
    )
    workspace.teachers.save(owner, teacher)
    studio.close()

    command = [sys.executable, "-m", "distill_studio", "generate", "--teacher", "stub"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=app_environment(tmp_path, 0),
        stderr=subprocess.PIPE,
        text=True,
        # As at a terminal: a shell that runs the tests in the background has Ctrl+C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while len(stub.requests) <= 4:  # by then the command waits for its job
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert process.stderr is not None
    assert "what it has made stays" in process.stderr.read()
    assert len(stub.requests) < 40
    job = json.loads(run(tmp_path, "jobs", "--json").stdout)[0]
    assert job["state"] == "cancelled"
    stub.behave = lambda body: Answer(completion("yes"))
    assert run(tmp_path, "jobs", "resume", job["id"]).returncode == 0
    assert run(tmp_path, "list", "--count").stdout.strip() == "40"
    stub.close()


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
