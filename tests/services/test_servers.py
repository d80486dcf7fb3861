"""A vLLM server started, asked, found again after a restart, and stopped: the real one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, NotAllowed, NotFound
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import JobState, Message, Seed
from distill_studio.core.settings import Settings
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.services.servers import ServerState
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs
from distill_studio.store import seeds as seeds_table
from distill_studio.store.pairs import PairQuery
from distill_studio.teachers import probe
from distill_studio.teachers.vllm_server import Dtype, ServerOptions

VLLM = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"
START_LIMIT_S = 1200.0  # two minutes where nobody else computes; it compiles its kernels


def fake_vllm(folder: Path, script: str) -> Path:
    """A program in the place of vLLM's Python."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that passes for a model until somebody loads it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


def test_a_server_that_ends_at_once_tells_its_error(
    tmp_path: Path, owner: Actor, model: str
) -> None:
    program = fake_vllm(tmp_path, "echo 'ValueError: no such dtype'; exit 3")
    studio = build_studio(Settings(home=tmp_path / "home", vllm_python=program))
    try:
        servers = studio.workspace("main").servers
        job = servers.start(owner, ServerOptions(model=model, name="broken"))
        ended = studio.workspace("main").jobs.wait(owner, job.id, timeout_s=60)
        assert ended.state is JobState.FAILED
        assert "no such dtype" in ended.error
        status = servers.health(owner, "broken")
        assert status.state is ServerState.FAILED
        assert status.pid is None
        assert "ValueError" in servers.log(owner, "broken")
        servers.delete(owner, "broken")
        with pytest.raises(NotFound):
            servers.health(owner, "broken")
    finally:
        studio.close()


@pytest.mark.parametrize("has_gpu", [False, True])
def test_a_cpu_gets_the_number_format_that_is_fastest_on_it(
    tmp_path: Path, owner: Actor, model: str, monkeypatch: pytest.MonkeyPatch, has_gpu: bool
) -> None:
    monkeypatch.setattr("distill_studio.services.servers.has_nvidia_gpu", lambda: has_gpu)
    program = fake_vllm(tmp_path, "exit 0")
    studio = build_studio(Settings(home=tmp_path / "home", vllm_python=program))
    try:
        servers = studio.workspace("main").servers
        fastest = probe.choose(studio.settings.cache_folder, "cpu").dtype
        wanted = "auto" if has_gpu else fastest
        assert f"--dtype {wanted} " in servers.command(owner, ServerOptions(model=model)) + " "
        chosen = ServerOptions(model=model, dtype=Dtype.FLOAT16)
        assert "--dtype float16 " in servers.command(owner, chosen) + " "
    finally:
        studio.close()


def test_stopping_ends_the_whole_group_and_a_second_of_that_name_is_refused(
    tmp_path: Path, owner: Actor, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill_studio.services.servers._STOP_GRACE_S", 1.0)
    program = fake_vllm(tmp_path, "trap '' TERM; sleep 300 & echo $! > child; sleep 300")
    studio = build_studio(Settings(home=tmp_path / "home", vllm_python=program))
    try:
        workspace = studio.workspace("main")
        job = workspace.servers.start(owner, ServerOptions(model=model, name="deaf"))
        pid = _pid(workspace, owner, "deaf")
        with pytest.raises(Conflict, match="runs already"):
            workspace.servers.start(owner, ServerOptions(model=model, name="deaf"))
        with pytest.raises(NotAllowed):
            workspace.servers.stop(Actor(user="ann", role=Role.REVIEWER), "deaf")
        workspace.jobs.cancel(owner, job.id)
        assert workspace.jobs.wait(owner, job.id, timeout_s=60).state is JobState.CANCELLED
        _await_no_group(pid)
        assert workspace.servers.health(owner, "deaf").state is ServerState.STOPPED
    finally:
        studio.close()


@pytest.mark.vllm
@pytest.mark.timeout(1800)
def test_a_real_server_answers_a_generation_survives_a_restart_and_stops(
    settings: Settings, owner: Actor
) -> None:
    if not VLLM.exists():
        pytest.skip("vLLM is not installed: make vllm")
    pid = 0
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    try:
        options = ServerOptions(
            model="smollm2-135m-instruct",
            name="vLLM here",
            max_length=1024,
            keep_running=True,
            extra=("--max-num-seqs", "32"),
        )
        job = workspace.servers.start(owner, options)
        ended = workspace.jobs.wait(owner, job.id, timeout_s=START_LIMIT_S)
        assert ended.state is JobState.DONE, ended.error
        pid = _pid(workspace, owner, "vLLM here")
        studio.close()
        assert _group(pid), "a server that is kept outlives the app"

        studio = build_studio(settings)
        workspace = studio.workspace("main")
        status = workspace.servers.health(owner, "vLLM here")
        assert (status.state, status.pid) == (ServerState.READY, pid)
        assert "127.0.0.1" in workspace.servers.log(owner, "vLLM here", 1000)
        _answers_twenty(workspace, owner)
        assert workspace.servers.stop(owner, "vLLM here").state is ServerState.STOPPED
        _await_no_group(pid)
    finally:
        if pid and _group(pid):
            workspace.servers.stop(owner, "vLLM here")
        studio.close()


def _answers_twenty(workspace: Workspace, owner: Actor) -> None:
    prompts = [f"Name one thing that is {i} times larger than a cat." for i in range(20)]
    seeds = [Seed(messages=(Message(role="user", content=p),)) for p in prompts]
    seeds_table.insert(workspace.db, seeds)
    job = workspace.generate.start(
        owner, GenerationWish(teachers=["vLLM here"], sampling=SamplingParams(max_tokens=32))
    )
    ended = workspace.jobs.wait(owner, job.id, timeout_s=600)
    assert ended.state is JobState.DONE, ended.error
    stored = pairs.page(workspace.db, PairQuery(job_id=job.id, limit=100))
    assert {p.seed_id for p in stored} == {s.id for s in seeds}
    assert all(p.model == "smollm2-135m-instruct" and p.completion_tokens for p in stored)


def _pid(workspace: Workspace, owner: Actor, name: str) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = [s for s in workspace.servers.page(owner) if s.name == name and s.pid]
        if found and found[0].pid:
            return found[0].pid
        time.sleep(0.05)
    pytest.fail(f"{name} did not start")


def _await_no_group(pid: int) -> None:
    """Nothing is left running: whoever was killed is gone at its next turn on a processor."""
    deadline = time.monotonic() + 30
    while left := _group(pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _group(pid: int) -> list[int]:
    """Living processes of a server's group."""
    alive = []
    for process in psutil.process_iter():
        try:
            is_of_it = os.getpgid(process.pid) == pid
            if is_of_it and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process.pid)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return alive
