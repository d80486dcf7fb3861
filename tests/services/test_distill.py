"""Runs of a real studio: real child processes train a tiny random model."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import (
    Decision,
    DecisionKind,
    JobState,
    Message,
    Pair,
    Run,
    RunState,
    Seed,
)
from distill_studio.distill.spec import TrainSpec
from distill_studio.services import processes
from distill_studio.services.processes import Child
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions, pairs, runs, seeds
from tests.tiny_model import WORDS, build_tiny_model

ROOT = Path(__file__).parents[2]
ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_model(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture
def snapshot(workspace: Workspace, owner: Actor) -> str:
    """A frozen snapshot of 24 accepted pairs."""
    return freeze_some(workspace, owner)


def freeze_some(workspace: Workspace, owner: Actor, name: str = "snap") -> str:
    made = []
    for number in range(24):
        messages = (Message(role="user", content=f"say {WORDS[number % 11]} {number}"),)
        seed = Seed(messages=messages)
        seed_id = seeds.insert(workspace.db, [seed])[seed.id]
        answer = f"{WORDS[number % 11]} sun moon {number}"
        made.append(Pair(seed_id=seed_id, messages=messages, job_id=f"j{number}", answer=answer))
    pairs.insert(workspace.db, made)
    kind = DecisionKind.ACCEPT
    accepted = [Decision(id=f"d-{pair.id}", pair_id=pair.id, kind=kind) for pair in made]
    decisions.record(workspace.db, owner.user, accepted)
    workspace.freeze.create(owner, name, "prompt_completion", validation_share=0.2)
    return name


def spec(snapshot: str, student: str, **fields: object) -> TrainSpec:
    common = {"max_steps": 3, "max_length": 64, "eval_every": 3, "save_every": 2, "dtype": "fp32"}
    return TrainSpec(snapshot=snapshot, student=student, **(common | fields))


def wait_for(
    workspace: Workspace,
    owner: Actor,
    name: str,
    is_met: Callable[[Run], bool],
    limit_s: float = 120,
) -> Run:
    deadline = time.monotonic() + limit_s
    while not is_met(run := workspace.distill.get(owner, name)):
        assert time.monotonic() < deadline, (run, workspace.distill.log(owner, name)[-2000:])
        time.sleep(0.1)
    return run


def is_over(run: Run) -> bool:
    return run.state not in (RunState.QUEUED, RunState.RUNNING)


def has_steps(workspace: Workspace, owner: Actor, name: str) -> Callable[[Run], bool]:
    return lambda run: bool(workspace.distill.curve(owner, name).train)


@pytest.mark.slow
def test_a_run_from_start_to_download(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    run = workspace.distill.start(owner, spec(snapshot, tiny, learning_rate=0.01))
    assert run.name == "sft-snap-1"
    assert run.job_id
    done = wait_for(workspace, owner, run.name, is_over)
    assert done.state is RunState.DONE, done.error
    job = workspace.jobs.wait(owner, run.job_id, 60)
    assert (job.state, job.done, job.total) == (JobState.DONE, 3, 3)
    assert done.metrics["loss_after"] < done.metrics["loss_before"]
    curve = workspace.distill.curve(owner, run.name)
    assert [p.step for p in curve.validation] == [0, 3]
    events = workspace.distill.events(owner, run.name)
    assert events[-1]["kind"] == "done"
    assert workspace.distill.events(owner, run.name, after_line=len(events) - 1) == events[-1:]
    assert "loss" in workspace.distill.log(owner, run.name)
    assert (workspace.distill.student_folder(run.name) / "model.safetensors").exists()
    for kind in ("merged", "adapter"):
        file = workspace.distill.package(owner, run.name, kind)
        with zipfile.ZipFile(workspace.folder / "exports" / file) as archive:
            names = {Path(name).name for name in archive.namelist()}
        assert {"run.json", "README.md"} <= names
        assert ("model.safetensors" if kind == "merged" else "adapter_model.safetensors") in names
    choices = workspace.distill.students(owner)
    assert f"run:{run.name}" in [choice.id for choice in choices]
    with pytest.raises(Conflict, match="cannot resume"):
        workspace.distill.resume(owner, run.name)
    place = workspace.distill.delete(owner, run.name)
    assert (workspace.studio.home / place / "model").exists()
    with pytest.raises(NotFound):
        workspace.distill.get(owner, run.name)


@pytest.mark.slow
def test_stop_then_resume(workspace: Workspace, owner: Actor, snapshot: str, tiny: str) -> None:
    distill = workspace.distill
    run = distill.start(owner, spec(snapshot, tiny, name="long", max_steps=ENDLESS))
    wait_for(workspace, owner, "long", has_steps(workspace, owner, "long"))
    with pytest.raises(Conflict, match="still runs"):
        distill.delete(owner, "long")
    distill.stop(owner, "long")
    stopped = wait_for(workspace, owner, "long", is_over)
    assert stopped.state is RunState.STOPPED
    assert workspace.jobs.wait(owner, run.job_id, 60).state is JobState.CANCELLED
    reached = distill.curve(owner, "long").train[-1].step
    config = workspace.folder / "runs" / "long" / "run.json"
    shorter = json.loads(config.read_text()) | {"max_steps": reached + 2}
    config.write_text(json.dumps(shorter))
    resumed = distill.resume(owner, "long")
    assert resumed.job_id != run.job_id
    done = wait_for(workspace, owner, "long", is_over)
    assert done.state is RunState.DONE, done.error
    assert done.metrics["steps"] == reached + 2
    starts = [e for e in distill.events(owner, "long") if e["kind"] == "started"]
    assert [e["resumed_from"] for e in starts] == [0, reached]


@pytest.mark.slow
def test_a_killed_child_is_lost_and_resumes(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    distill = workspace.distill
    distill.start(owner, spec(snapshot, tiny, name="k", max_steps=ENDLESS, save_every=1))
    run = wait_for(
        workspace,
        owner,
        "k",
        lambda r: any(e["kind"] == "checkpoint" for e in distill.events(owner, "k")),
    )
    assert run.pid
    os.kill(run.pid, signal.SIGKILL)
    lost = wait_for(workspace, owner, "k", is_over)
    assert lost.state is RunState.LOST
    assert "last checkpoint" in lost.error
    assert workspace.jobs.wait(owner, run.job_id, 60).state is JobState.FAILED


def test_a_waiting_run_can_be_stopped(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    distill = workspace.distill
    distill.start(owner, spec(snapshot, tiny, name="first", max_steps=ENDLESS))
    distill.start(owner, spec(snapshot, tiny, name="second"))
    assert distill.get(owner, "second").state is RunState.QUEUED
    distill.stop(owner, "second")
    distill.stop(owner, "first")
    assert wait_for(workspace, owner, "second", is_over).state is RunState.STOPPED
    assert wait_for(workspace, owner, "first", is_over).state is RunState.STOPPED


def test_what_cannot_work_is_refused_before_it_starts(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    distill = workspace.distill
    with pytest.raises(InvalidInput, match=r"All .* rows are longer than 8 tokens") as caught:
        distill.start(owner, spec(snapshot, tiny, max_length=8))
    assert "Raise the longest length" in caught.value.hint
    with pytest.raises(InvalidInput, match="DPO learns from preference rows"):
        distill.start(owner, spec(snapshot, tiny, method="dpo"))
    with pytest.raises(InvalidInput, match="3 layers; 9 cannot be kept"):
        distill.start(owner, spec(snapshot, tiny, keep_layers=9))
    with pytest.raises(InvalidInput, match="no preset"):
        distill.start(owner, spec(snapshot, tiny, preset="x"))
    with pytest.raises(InvalidInput, match="cannot name a run"):
        distill.start(owner, spec(snapshot, tiny, name="../x"))
    with pytest.raises(NotFound):
        distill.start(owner, spec("nothing", tiny))
    with pytest.raises(NotAllowed):
        distill.start(Actor(user="v", role=Role.VIEWER), spec(snapshot, tiny))
    assert distill.page(owner) == []
    assert list((workspace.folder / "runs").iterdir()) == []


def test_preflight_and_tokens(workspace: Workspace, owner: Actor, snapshot: str, tiny: str) -> None:
    found = workspace.distill.preflight(owner, spec(snapshot, tiny))
    assert [f.code for f in found] == ["estimate"]
    rows = workspace.distill.tokens(owner, snapshot, 0, spec(snapshot, tiny))
    learned = "".join(p.text for p in rows[0].pieces if p.learned)
    row = workspace.freeze.rows(owner, snapshot, "train", 0, 1)[0]
    assert learned == row["completion"][0]["content"] + "<|im_end|>"
    with pytest.raises(NotFound, match="no row 999"):
        workspace.distill.tokens(owner, snapshot, 999, spec(snapshot, tiny))


@pytest.mark.slow
def test_the_shown_command_works_when_typed(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    distill = workspace.distill
    distill.start(owner, spec(snapshot, tiny, name="busy", max_steps=ENDLESS))
    distill.start(owner, spec(snapshot, tiny, name="typed"))
    shown = distill.command(owner, "typed")
    typed = subprocess.run(["sh", "-c", shown], cwd="/", capture_output=True, timeout=240)
    assert typed.returncode == 0, typed.stderr.decode()[-2000:]
    folder = workspace.folder / "runs" / "typed"
    assert (folder / "model" / "config.json").exists()
    distill.stop(owner, "typed")
    distill.stop(owner, "busy")
    wait_for(workspace, owner, "busy", is_over)


@pytest.mark.slow
def test_a_kill_of_the_app_leaves_the_child_and_a_new_app_adopts_it(
    tmp_path: Path, starter_cache: Path, owner: Actor, tiny: str
) -> None:
    from distill_studio.bootstrap import build_studio
    from distill_studio.core.settings import Settings

    settings = Settings(home=tmp_path / "home", cache=starter_cache, port=0)
    studio = build_studio(settings)
    freeze_some(studio.workspace("main"), owner)
    studio.close()
    code = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from distill_studio.bootstrap import build_studio
        from distill_studio.core.actor import Actor, Role
        from distill_studio.core.settings import Settings
        from distill_studio.distill.spec import TrainSpec
        home, cache, tiny = sys.argv[1:]
        studio = build_studio(Settings(home=Path(home), cache=Path(cache), port=0))
        me = Actor(user="owner", role=Role.OWNER)
        spec = TrainSpec(snapshot="snap", student=tiny, name="r", max_steps=400, max_length=64,
                         eval_every=400, save_every=50, dtype="fp32")
        studio.workspace("main").distill.start(me, spec)
        time.sleep(600)
    """)
    argv = [sys.executable, "-c", code, str(settings.home), str(starter_cache), tiny]
    parent = subprocess.Popen(argv, cwd=ROOT)
    events = settings.home / "workspaces" / "main" / "runs" / "r" / "events.jsonl"
    try:
        deadline = time.monotonic() + 240
        while not (events.exists() and '"kind":"step"' in events.read_text()):
            assert time.monotonic() < deadline
            assert parent.poll() is None
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    known = Child(**json.loads((events.parent / "process.json").read_text()))
    assert processes.is_alive(known)
    studio = build_studio(settings)
    try:
        workspace = studio.workspace("main")
        adopted = wait_for(workspace, owner, "r", lambda r: r.pid == known.pid)
        assert adopted.pid_started == pytest.approx(known.started, abs=1.0)
        done = wait_for(workspace, owner, "r", is_over)
        assert done.state is RunState.DONE, done.error
        assert done.metrics["steps"] == 400
        starts = [e for e in workspace.distill.events(owner, "r") if e["kind"] == "started"]
        assert len(starts) == 1  # the same process from beginning to end
        job = workspace.jobs.wait(owner, done.job_id, 60)
        assert job.state is JobState.DONE
    finally:
        studio.close()


def test_a_child_that_ended_while_the_app_was_away(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    run = Run(name="gone", method="sft", snapshot_id="s", state=RunState.RUNNING, pid=2**22 - 1)
    (workspace.folder / "runs" / "gone").mkdir()
    runs.insert(workspace.db, run.model_copy(update={"pid_started": 1.0}))
    job = workspace.jobs.submit(owner, "train", "t", {"run": "gone"})
    assert workspace.jobs.wait(owner, job.id, 60).state is JobState.FAILED
    assert workspace.distill.get(owner, "gone").state is RunState.LOST


def test_a_lighter_resume_keeps_the_updates(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    """The batch is halved in run.json and in the store; a batch of one row is refused."""
    distill = workspace.distill
    distill.start(owner, spec(snapshot, tiny, name="first", max_steps=ENDLESS))
    distill.start(owner, spec(snapshot, tiny, name="r", batch_size=6, grad_accumulation=1))
    distill.stop(owner, "r")
    wait_for(workspace, owner, "r", is_over)
    file = workspace.folder / "runs" / "r" / "run.json"
    for batch, passes in ((3, 2), (1, 6)):
        distill.resume(owner, "r", lighter=True)
        assert distill.get(owner, "r").config["batch_size"] == batch
        stored = json.loads(file.read_text())
        assert (stored["batch_size"], stored["grad_accumulation"]) == (batch, passes)
        distill.stop(owner, "r")
        wait_for(workspace, owner, "r", is_over)
    with pytest.raises(Conflict, match="one row already"):
        distill.resume(owner, "r", lighter=True)
    distill.stop(owner, "first")
    wait_for(workspace, owner, "first", is_over)


def test_presets_are_whole(workspace: Workspace, owner: Actor) -> None:
    found = workspace.distill.presets(owner)
    assert {(p.method, p.name) for p in found} == {
        (method, name)
        for method in ("sft", "dpo", "kto", "logit", "on_policy")
        for name in ("quick", "balanced", "thorough")
    }
