"""What runs and their workers need to come to a good end: deletes, restarts, stops, clocks."""

import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, NotAllowed, Unavailable
from distill_studio.core.records import JobState, Run, RunState, TeacherConfig, TeacherKind
from distill_studio.distill.command import LOCK_FILE, PROCESS_FILE, WORKER
from distill_studio.distill.events import Eval, Step, Stopped
from distill_studio.services import distill as distill_module
from distill_studio.services import processes, run_choices, training
from distill_studio.services.distill_servers import served_teacher
from distill_studio.services.jobs import JobContext
from distill_studio.services.processes import Child
from distill_studio.services.run_worker import is_locked, living_worker
from distill_studio.services.workspace import Workspace
from distill_studio.store import runs
from tests.services.test_distill import freeze_some, is_over, spec, wait_for
from tests.tiny_model import build_tiny_model

VIEWER = Actor(user="v", role=Role.VIEWER)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_model(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture
def snapshot(workspace: Workspace, owner: Actor) -> str:
    return freeze_some(workspace, owner)


@pytest.fixture
def busy(workspace: Workspace, owner: Actor) -> Iterator[None]:
    """The lane of trainings is taken: runs stay queued."""
    done = threading.Event()

    def hold(context: JobContext) -> dict[str, Any]:
        done.wait(600)
        return {}

    workspace.jobs.register("hold", hold, lane="compute")
    workspace.jobs.submit(owner, "hold", "Hold", {})
    yield
    for job in workspace.jobs.page(owner, kinds=["train"], active=True):
        workspace.jobs.cancel(owner, job.id)  # else a worker would begin now
    done.set()


def stored(workspace: Workspace, name: str, state: RunState, **config: Any) -> Path:
    """A run in the store and its folder, with a model where it is done."""
    folder = workspace.folder / "runs" / name
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    runs.insert(
        workspace.db, Run(name=name, method="sft", snapshot_id="s", state=state, config=config)
    )
    return folder


def as_student(folder: Path) -> dict[str, Any]:
    return {"student": {"base_folder": str((folder / "model").resolve()), "base_id": "run:a"}}


# -- A: what another training needs stays ---------------------------------------------------


@pytest.mark.parametrize(
    "state", [RunState.QUEUED, RunState.RUNNING, RunState.STOPPED, RunState.FAILED, RunState.LOST]
)
def test_a_run_that_another_trains_on_is_not_deleted(
    workspace: Workspace, owner: Actor, state: RunState
) -> None:
    first = stored(workspace, "a", RunState.DONE)
    stored(workspace, "b", state, **as_student(first))
    with pytest.raises(Conflict, match=r"The run 'b' \(\w+\) needs the run 'a'"):
        workspace.distill.delete(owner, "a")
    assert (first / "model").exists()
    runs.update(workspace.db, "b", state=RunState.DONE)
    workspace.distill.delete(owner, "a")
    assert not first.exists()


@pytest.mark.parametrize("place", ["teacher", "more_teachers"])
def test_a_run_that_another_follows_is_not_deleted(
    workspace: Workspace, owner: Actor, place: str
) -> None:
    first = stored(workspace, "a", RunState.DONE)
    stored(workspace, "aa", RunState.DONE)  # no part of a, for all its name
    teacher = {"folder": str((first / "model").resolve()), "id": "run:a"}
    stored(
        workspace, "b", RunState.STOPPED, **{place: teacher if place == "teacher" else [teacher]}
    )
    workspace.distill.delete(owner, "aa")
    with pytest.raises(Conflict, match="run 'b'"):
        workspace.distill.delete(owner, "a")
    workspace.distill.delete(owner, "b")
    workspace.distill.delete(owner, "a")


def test_a_snapshot_of_a_run_or_plan_to_come_is_not_deleted(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, busy: None
) -> None:
    workspace.freeze.create(owner, "later", "prompt_completion", validation_share=0.2)
    workspace.plans.stages(owner, "p", [spec(snapshot, tiny), spec("later", tiny)])
    deadline = time.monotonic() + 60
    while runs.get(workspace.db, "p-1") is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(Conflict, match=r"The run 'p-1' \(queued\) needs the snapshot 'snap'"):
        workspace.freeze.delete(owner, snapshot)
    with pytest.raises(Conflict, match="The plan 'p' needs the snapshot 'later'"):
        workspace.freeze.delete(owner, "later")
    workspace.plans.stop(owner, "p")
    wait_for(workspace, owner, "p-1", is_over)
    workspace.jobs.wait(owner, workspace.plans.get(owner, "p").plan.job_id, 60)
    workspace.freeze.delete(owner, "later")
    with pytest.raises(Conflict, match=r"p-1' \(stopped\)"):
        workspace.freeze.delete(owner, snapshot)
    workspace.distill.delete(owner, "p-1")
    workspace.freeze.delete(owner, snapshot)


def test_a_resume_looks_for_what_the_run_reads(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, busy: None
) -> None:
    workspace.distill.start(owner, spec(snapshot, tiny, name="r"))
    workspace.distill.stop(owner, "r")
    folder = workspace.folder / "snapshots" / snapshot
    folder.rename(folder.with_name("away"))
    with pytest.raises(Conflict, match="The snapshot 'snap' is no longer there"):
        workspace.distill.resume(owner, "r")
    assert workspace.distill.get(owner, "r").state is RunState.STOPPED
    folder.with_name("away").rename(folder)
    assert workspace.distill.resume(owner, "r").state is RunState.QUEUED


# -- B: a run and its job come together -----------------------------------------------------


def test_no_run_without_its_job_and_no_job_without_its_run(
    workspace: Workspace,
    owner: Actor,
    snapshot: str,
    tiny: str,
    busy: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    for where, name in ((workspace.jobs, "submit"), (distill_module.table, "insert")):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
            patch.setattr(where, name, full)
            workspace.distill.start(owner, spec(snapshot, tiny, name="r"))
        assert runs.get(workspace.db, "r") is None
        assert workspace.jobs.page(owner, kinds=["train"]) == []
    assert workspace.distill.start(owner, spec(snapshot, tiny, name="r")).job_id


def test_a_queued_run_without_a_job_is_lost(workspace: Workspace, owner: Actor) -> None:
    """As a version before left it that was killed between the two."""
    stored(workspace, "r", RunState.QUEUED)
    assert workspace.distill.get(owner, "r").state is RunState.LOST
    assert runs.get(workspace.db, "r").state is RunState.LOST


# -- C: a resume against the page's poll and against itself ---------------------------------


@pytest.fixture
def stopped(workspace: Workspace, owner: Actor, snapshot: str, tiny: str, busy: None) -> Run:
    """A run that was stopped while it waited, as it was before that was noticed."""
    workspace.distill.start(owner, spec(snapshot, tiny, name="r"))
    waiting = runs.get(workspace.db, "r")
    workspace.distill.stop(owner, "r")
    return waiting


def test_a_poll_amid_a_resume_changes_nothing(
    workspace: Workspace, owner: Actor, stopped: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = workspace.jobs.submit

    def polled(*args: Any) -> Any:
        poll = threading.Thread(target=workspace.distill.get, args=(owner, "r"))
        poll.start()
        poll.join(60)
        assert not poll.is_alive()
        return submit(*args)

    monkeypatch.setattr(workspace.jobs, "submit", polled)
    resumed = workspace.distill.resume(owner, "r")
    assert resumed.state is RunState.QUEUED
    assert resumed.job_id != stopped.job_id
    late = workspace.distill._reconciled(stopped)  # read before, written after
    assert late.state is RunState.QUEUED
    assert workspace.distill.get(owner, "r").job_id == resumed.job_id


def test_of_two_resumes_one_counts(
    workspace: Workspace, owner: Actor, stopped: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, both, refused = distill_module.table.get, threading.Barrier(2), []

    def slow(*args: Any) -> Any:
        found = get(*args)
        time.sleep(0.1)  # the other has read as well
        return found

    def resume() -> None:
        both.wait()
        try:
            workspace.distill.resume(owner, "r")
        except Conflict as err:
            refused.append(err)

    monkeypatch.setattr(distill_module.table, "get", slow)
    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 1
    assert len(workspace.jobs.page(owner, kinds=["train"], active=True)) == 1


# -- D: a worker whose start time no longer fits --------------------------------------------

_HOLDER = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """Of run `r`: a process that looks and locks like a worker, not started by this app; its note
    is of an older version and from before the clock was set."""
    folder = stored(workspace, "r", RunState.QUEUED)
    argv = [sys.executable, "-c", _HOLDER, WORKER, str(folder / LOCK_FILE)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    started = psutil.Process(process.pid).create_time() - 100
    (folder / PROCESS_FILE).write_text(json.dumps({"pid": process.pid, "started": started}))
    yield process
    process.kill()
    process.wait()


def test_who_holds_the_lock_is_the_worker(
    workspace: Workspace, holder: subprocess.Popen[bytes]
) -> None:
    folder = workspace.folder / "runs" / "r"
    found = living_worker(folder)
    assert found is not None
    assert found.pid == holder.pid
    assert processes.is_alive(found)
    holder.kill()
    holder.wait()
    assert not is_locked(folder)
    assert living_worker(folder) is None


def test_a_run_whose_lock_is_held_is_not_lost_and_not_deleted(
    workspace: Workspace, owner: Actor, holder: subprocess.Popen[bytes]
) -> None:
    def fails(context: JobContext) -> dict[str, Any]:
        raise Unavailable("No.")

    workspace.jobs.register("fails", fails)
    job = workspace.jobs.submit(owner, "fails", "t", {})
    assert workspace.jobs.wait(owner, job.id, 60).state is JobState.FAILED
    stale = {"pid": holder.pid, "pid_started": 1.0}
    runs.update(workspace.db, "r", state=RunState.RUNNING, job_id=job.id, **stale)
    assert workspace.distill.get(owner, "r").state is RunState.RUNNING
    with pytest.raises(Conflict, match="still runs"):
        workspace.distill.delete(owner, "r")
    with pytest.raises(Conflict, match="cannot resume"):
        workspace.distill.resume(owner, "r")
    holder.kill()
    holder.wait()
    assert workspace.distill.get(owner, "r").state is RunState.LOST


def test_no_second_worker_is_started_beside_the_first(
    workspace: Workspace, owner: Actor, holder: subprocess.Popen[bytes]
) -> None:
    job = workspace.jobs.submit(owner, "train", "t", {"run": "r"})
    runs.update(workspace.db, "r", job_id=job.id)
    found = wait_for(workspace, owner, "r", lambda run: run.state is not RunState.QUEUED)
    assert (found.state, found.pid) == (RunState.RUNNING, holder.pid)
    holder.kill()
    holder.wait()
    assert wait_for(workspace, owner, "r", is_over).state is RunState.LOST


# -- E: a stop waits as long as an update takes ---------------------------------------------

_SLOW_WORKER = """
    import signal, sys, time
    from pathlib import Path
    from distill_studio.distill.events import EventWriter, Eval, Step, Stopped
    folder = Path(sys.argv[1]).parent
    writer = EventWriter(folder / "events.jsonl")
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    writer.write(Eval(step=0, loss=1.0, seconds=0.5))
    writer.write(Step(step=1, total=9, loss=1.0, lr=0.1, seconds=5.0))
    while not asked:
        time.sleep(0.05)
    time.sleep(3)
    writer.write(Stopped(step=2))
"""


def test_a_stop_waits_for_an_update_that_takes_long(
    workspace: Workspace,
    owner: Actor,
    snapshot: str,
    tiny: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "STOP_GRACE_S", 0.1)
    code = textwrap.dedent(_SLOW_WORKER) + "import os; print(os.environ)\n"
    monkeypatch.setattr(
        training,
        "worker_argv",
        lambda folder: [sys.executable, "-c", code, str(folder / "run.json")],
    )
    workspace.distill.start(owner, spec(snapshot, tiny, name="r"))
    wait_for(workspace, owner, "r", lambda _: bool(workspace.distill.curve(owner, "r").train), 60)
    workspace.distill.stop(owner, "r")
    assert wait_for(workspace, owner, "r", is_over, 60).state is RunState.STOPPED
    events = workspace.distill.events(owner, "r")
    assert events[-1]["kind"] == "stopped"  # by itself, not killed
    assert "'TORCH_ELASTIC_SHUTDOWN_TIMEOUT': '86400'" in workspace.distill.log(owner, "r")


def test_how_long_a_stop_waits() -> None:
    watched = training._Watched(Child(pid=1, started=1.0), 0, 0)
    assert watched.grace_s == 180
    steps = [Step(step=n, total=9, loss=1.0, lr=0.1, seconds=s) for n, s in ((1, 100), (2, 400))]
    watched.note_times([*steps, Eval(step=2, loss=1.0, seconds=900), Stopped(step=2)])
    watched.note_times([Eval(step=3, loss=1.0, seconds=50)])
    assert watched.grace_s == 3 * 400 + 50


# -- F: who only looks fetches nothing ------------------------------------------------------


def test_a_viewer_names_models_that_are_here_and_fetches_none(
    workspace: Workspace,
    owner: Actor,
    snapshot: str,
    tiny: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def fetch(hub_id: str, *, local_files_only: bool = False, **_: Any) -> str:
        asked.append((hub_id, local_files_only))
        return tiny

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    listed = {"id": "some/model", "use": "chat", "is_present": True}
    monkeypatch.setattr(run_choices, "list_models", lambda _: [listed])
    distill = workspace.distill
    for named in (tiny, "/etc", "other/model", "../models"):
        wanted = spec(snapshot, named)
        follows = spec(snapshot, "some/model", method="logit", teacher=named)
        for refused in (
            lambda: distill.preflight(VIEWER, wanted),  # noqa: B023
            lambda: distill.tokens(VIEWER, snapshot, 0, wanted),  # noqa: B023
            lambda: distill.preflight(VIEWER, follows),  # noqa: B023
            lambda: workspace.plans.check(VIEWER, [wanted]),  # noqa: B023
        ):
            with pytest.raises(NotAllowed, match="not in the list of models that are here"):
                refused()
    assert {local for _, local in asked} <= {True}
    asked.clear()
    assert [f.code for f in distill.preflight(VIEWER, spec(snapshot, "some/model"))] == ["estimate"]
    assert asked == [("some/model", True)]
    distill.preflight(owner, spec(snapshot, "other/model"))
    assert asked[-1] == ("other/model", False)
    local = TeacherConfig(name="L", kind=TeacherKind.LOCAL, model="far/away")
    workspace.teachers.save(owner, local, "")
    served_teacher(workspace, "L", 1.0, download=False)
    assert asked[-1] == ("far/away", True)
