"""Runs as Hugging Face Jobs: a real studio, a fake Hub whose Jobs really run the command."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor
from distill_studio.core.records import Run, RunState
from distill_studio.core.settings import Settings
from distill_studio.remote import records
from distill_studio.services.workspace import Workspace
from tests.fake_hub import FakeHub
from tests.services.test_distill import freeze_some, is_over, spec, wait_for
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.timeout(900)
LIMIT_S = 600
TOKEN = "hf_annsTokenThatNobodyMayEverSee"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_model(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture
def snapshot(workspace: Workspace, owner: Actor) -> str:
    return freeze_some(workspace, owner)


@pytest.fixture
def token(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ann's token in the environment; the app looks often, Jobs bring events often."""
    hub.user("ann", TOKEN)
    hub.job_environment = {"DISTILL_STUDIO_REMOTE_PUSH_S": "0.5"}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("distill_studio.services.remote_work.POLL_S", 0.3)
    return TOKEN


def until(is_met: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not is_met():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ended(workspace: Workspace, owner: Actor, name: str) -> Run:
    run = wait_for(workspace, owner, name, is_over, LIMIT_S)
    workspace.jobs.wait(owner, run.job_id, 60)
    return workspace.distill.get(owner, name)


def losses(workspace: Workspace, owner: Actor, name: str) -> list[float]:
    return [point.value for point in workspace.distill.curve(owner, name).train]


def everything(folder: Path) -> Iterator[tuple[Path, bytes]]:
    return ((path, path.read_bytes()) for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_job_from_start_to_a_model_here(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub, token: str
) -> None:
    wanted = spec(snapshot, tiny, name="far", max_steps=6, learning_rate=0.01)
    quoted = workspace.remote.estimate(owner, wanted, "cpu-basic", 20)
    assert not quoted.is_refused
    assert quoted.limit_usd == pytest.approx(20 * 0.000167)
    assert quoted.usd[0] < quoted.usd[1]
    run = workspace.remote.start(owner, wanted, "cpu-basic", 20)  # a GPU would be insisted on
    states = []
    until(lambda: states.append(workspace.distill.get(owner, "far")) or is_over(states[-1]))
    run = ended(workspace, owner, "far")
    assert run.state is RunState.DONE, (run.error, workspace.distill.log(owner, "far"))

    seen = {one.metrics.get("step") for one in states if one.state is RunState.RUNNING}
    assert seen - {None}, "events arrived before the end"
    status = workspace.remote.status(owner, "far")
    assert status is not None
    assert (status.stage, status.attempt) in {("RUNNING", 1), ("COMPLETED", 1)}
    minutes = math.ceil(status.running_s / 60)
    assert run.metrics["usd"] == pytest.approx(minutes * 0.000167, abs=1e-4)
    assert (workspace.distill.student_folder("far") / "model.safetensors").exists()
    repo = hub.repo(status.repo, "model")
    assert repo.private
    assert {"model/model.safetensors", "adapter/adapter_model.safetensors"} <= set(repo.files())
    assert workspace.distill.package(owner, "far", "adapter")

    workspace.distill.start(owner, wanted.model_copy(update={"name": "near"}))
    near = wait_for(workspace, owner, "near", is_over, LIMIT_S)
    assert near.state is RunState.DONE, near.error
    assert losses(workspace, owner, "far") == losses(workspace, owner, "near")
    assert run.metrics["loss_after"] == near.metrics["loss_after"]
    assert run.metrics["train_loss"] == near.metrics["train_loss"]

    job = next(iter(hub.jobs.values()))
    assert job.order["secrets"] == {"HF_TOKEN": TOKEN}
    assert job.order["timeoutSeconds"] == 20 * 60
    order = {key: value for key, value in job.order.items() if key != "secrets"}
    assert TOKEN not in json.dumps(order)
    home = workspace.studio.home
    held = [path for path, content in everything(home) if TOKEN.encode() in content]
    held += [path for path, content in everything(job.folder) if TOKEN.encode() in content]
    assert held == []
    assert all(TOKEN.encode() not in content for content in repo.files().values())


@pytest.mark.slow
def test_a_teachers_stored_signal_and_a_restart_in_the_middle(
    settings: Settings, owner: Actor, tiny: str, hub: FakeHub, token: str
) -> None:
    first = build_studio(settings)
    workspace = first.workspace("main")
    snapshot = freeze_some(workspace, owner)
    wanted = spec(snapshot, tiny, method="logit", signal="cache", max_steps=6, weights="full")
    workspace.distill.start(owner, wanted.model_copy(update={"name": "near"}))
    near = wait_for(workspace, owner, "near", is_over, LIMIT_S)
    assert near.state is RunState.DONE, near.error
    workspace.remote.start(owner, wanted.model_copy(update={"name": "far"}), "cpu-basic")
    until(lambda: workspace.distill.get(owner, "far").state is RunState.RUNNING)
    first.close()

    second = build_studio(settings)
    workspace = second.workspace("main")
    run = ended(workspace, owner, "far")
    assert run.state is RunState.DONE, (run.error, workspace.distill.log(owner, "far"))
    assert len(hub.jobs) == 1
    assert losses(workspace, owner, "far") == losses(workspace, owner, "near")
    assert run.metrics["kl_after"] == near.metrics["kl_after"]
    kinds = [one["kind"] for one in workspace.distill.events(owner, "far")]
    assert (kinds.count("started"), kinds.count("done"), kinds[-1]) == (1, 1, "done")
    notes = [one["message"] for one in workspace.distill.events(owner, "far") if "message" in one]
    assert not any("reads the rows once: 0" in note for note in notes), "the store travelled along"
    assert any(note.startswith("Stored signal") for note in notes)
    status = workspace.remote.status(owner, "far")
    assert status is not None
    stores = [f for f in hub.repo(status.repo, "model").files() if "/cache/" in f]
    assert stores
    second.close()


@pytest.mark.slow
def test_stop_cancels_the_job(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub, token: str
) -> None:
    endless = spec(snapshot, tiny, name="far", max_steps=100_000, eval_every=100_000)
    workspace.remote.start(owner, endless, "cpu-basic")
    until(lambda: bool(losses(workspace, owner, "far")))
    workspace.distill.stop(owner, "far")
    run = ended(workspace, owner, "far")
    assert run.state is RunState.STOPPED
    job = next(iter(hub.jobs.values()))
    assert job.stage == "CANCELED"
    assert job.process is not None
    assert job.process.poll() is not None


@pytest.mark.slow
def test_a_training_that_fails_there_says_why_here(
    workspace: Workspace, owner: Actor, snapshot: str, hub: FakeHub, token: str, tmp_path: Path
) -> None:
    broken = build_tiny_model(tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    workspace.remote.start(owner, spec(snapshot, str(broken), name="far"), "cpu-basic")
    run = ended(workspace, owner, "far")
    assert run.state is RunState.FAILED
    assert run.error
    assert "the training failed" in workspace.distill.log(owner, "far")
    events = workspace.distill.events(owner, "far")
    assert events[-1]["kind"] == "failed"
    assert events[-1]["message"] in run.error
    assert not (workspace.folder / "runs" / "far" / "model").exists()
    until(lambda: next(iter(hub.jobs.values())).stage == "ERROR", 60)


@pytest.mark.slow
def test_a_job_over_its_time_is_ended_and_says_so(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub, token: str
) -> None:
    hub.longest_job_s = 5.0
    endless = spec(snapshot, tiny, name="far", max_steps=100_000, eval_every=100_000)
    workspace.remote.start(owner, endless, "cpu-basic", 10)
    run = ended(workspace, owner, "far")
    assert run.state is RunState.FAILED
    assert "time limit of 10 minutes" in run.error
    assert run.metrics["paid_minutes"] == 1


@pytest.mark.slow
def test_a_copied_command_trains_on_another_machine(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub, token: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    workspace.remote.start_elsewhere(owner, spec(snapshot, tiny, name="far", max_steps=3))
    until(lambda: workspace.distill.get(owner, "far").state is RunState.RUNNING)
    status = workspace.remote.status(owner, "far")
    assert status is not None
    there = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        records.SKIP_INSTALL: "skip",
    }
    ran = subprocess.run(
        ["sh", "-c", status.command], cwd=tmp_path, env=there | hub.environment(TOKEN),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert TOKEN not in ran.stdout + ran.stderr
    run = ended(workspace, owner, "far")
    assert run.state is RunState.DONE, run.error
    assert run.metrics["flavor"] == "another machine"
    assert not hub.jobs
    assert (workspace.distill.student_folder("far") / "model.safetensors").exists()
