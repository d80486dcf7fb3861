"""Benchmark runs before the harness starts, and a harness that dies; the real one: *_real.py."""

from pathlib import Path

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable
from distill_studio.core.records import JobState, RunState, TeacherConfig, TeacherKind
from distill_studio.core.records.benchmark import BenchmarkSettings
from distill_studio.core.settings import Settings
from distill_studio.services.workspace import Workspace
from tests.harness_tasks import write_choice, write_text

MINE = "teacher:mine"
LIMIT_S = 240  # a busy machine is no failure


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program in the place of the harness's Python; it does as the test writes."""
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bench(tmp_path: Path, program: Path, starter_cache: Path):
    """A workspace whose harness is `program`, with a teacher that nobody loads."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    studio = build_studio(
        Settings(home=tmp_path / "home", cache=starter_cache, lm_eval_python=program)
    )
    workspace = studio.workspace("main")
    mine = TeacherConfig(name="mine", kind=TeacherKind.LOCAL, model=str(folder))
    workspace.teachers.save(Actor(user="owner", role=Role.OWNER), mine)
    yield workspace
    studio.close()


def add(bench: Workspace, owner: Actor, files: list[Path]) -> list[str]:
    uploads = [bench.studio.uploads.add(file) for file in files]
    return [task.name for task in bench.benchmarks.add_tasks(owner, uploads)]


def test_without_the_environment_nothing_starts_and_the_way_out_is_told(workspace, owner, tmp_path):
    studio = build_studio(Settings(home=tmp_path / "other", lm_eval_python=tmp_path / "none"))
    try:
        bench = studio.workspace("main").benchmarks
        assert "make lm-eval" in bench.missing(owner)
        with pytest.raises(Unavailable, match="make lm-eval"):
            bench.run(owner, ["base:smollm2-135m-instruct"], ["gsm8k"])
        assert bench.page(owner) == []
    finally:
        studio.close()


def test_what_cannot_be_asked_is_refused_before_any_job(bench, owner):
    bench.teachers.save(
        owner, TeacherConfig(name="far", kind=TeacherKind.OPENAI, model="m", base_url="http://h/v1")
    )
    run = bench.benchmarks.run
    with pytest.raises(InvalidInput, match="sandbox"):
        run(owner, [MINE], ["humaneval"])
    with pytest.raises(InvalidInput, match="chat server"):
        run(owner, ["teacher:far"], ["arc_challenge"])
    with pytest.raises(InvalidInput, match="1 to 20 tasks"):
        run(owner, [MINE], [" "])
    with pytest.raises(InvalidInput, match="different models"):
        run(owner, [MINE, MINE], ["gsm8k"])
    with pytest.raises(NotFound, match="no model"):
        run(owner, ["nobody"], ["gsm8k"])
    with pytest.raises(NotAllowed):
        run(Actor(user="eve", role=Role.VIEWER), [MINE], ["gsm8k"])
    assert bench.jobs.page(owner) == []


def test_own_tasks_are_added_listed_and_forgotten(bench, owner, tmp_path):
    files = write_choice(tmp_path / "mine") + write_text(tmp_path / "mine")
    assert sorted(add(bench, owner, files)) == ["capital_choice", "capital_text"]
    own = [task.name for task in bench.benchmarks.tasks(owner) if task.is_own]
    assert own == ["capital_choice", "capital_text"]
    assert add(bench, owner, files[:2]) == ["capital_choice"]  # the same again: nothing changes
    files[1].write_text('{"land": "x"}\n')
    with pytest.raises(Conflict, match="Another file capital_choice"):
        add(bench, owner, files[:2])
    twin = tmp_path / "mine" / "twin.yaml"
    twin.write_text(files[0].read_text())
    with pytest.raises(Conflict, match="'capital_choice' exists"):
        add(bench, owner, [twin])
    known = tmp_path / "mine" / "known.yaml"
    known.write_text(files[0].read_text().replace("task: capital_choice", "task: gsm8k"))
    with pytest.raises(Conflict, match="'gsm8k' exists"):
        add(bench, owner, [known])
    with pytest.raises(InvalidInput, match="neither a task"):
        add(bench, owner, [_file(tmp_path / "evil.py")])
    with pytest.raises(NotAllowed):
        add(bench, Actor(user="rita", role=Role.REVIEWER), files)
    bench.benchmarks.delete_task(owner, "capital_choice")
    left = {path.name for path in (bench.folder / "benchmarks" / "tasks").iterdir()}
    assert left == {"capital_text.yaml", "capital_text.jsonl"}
    with pytest.raises(NotFound):
        bench.benchmarks.delete_task(owner, "capital_choice")


def _file(path: Path) -> Path:
    path.write_text("x")
    return path


def test_a_harness_that_dies_without_a_word_has_failed_with_its_last_error(bench, owner, program):
    program.write_text("#!/bin/sh\necho 'MemoryError: no more'\nexit 137\n")
    (job,) = bench.benchmarks.run(owner, [MINE], ["gsm8k"], BenchmarkSettings(limit=3))
    ended = bench.jobs.wait(owner, job.id, timeout_s=LIMIT_S)
    assert ended.state is JobState.FAILED
    assert "MemoryError: no more" in ended.error
    (run,) = bench.benchmarks.page(owner)
    assert run.state is RunState.FAILED
    assert "MemoryError" in bench.benchmarks.log(owner, run.id)
    assert bench.benchmarks.ways(owner) == []
    assert bench.benchmarks.table(owner).rows == []
    bench.benchmarks.delete(owner, run.id)
    assert bench.benchmarks.page(owner) == []


def test_a_stop_ends_the_whole_group(bench, owner, program, monkeypatch, tmp_path):
    monkeypatch.setattr("distill_studio.services.benchmark_work._STOP_GRACE_S", 0.5)
    mark = tmp_path / "child"
    program.write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 300 & echo $! > {mark}\nwait\nsleep 300\n")
    (job,) = bench.benchmarks.run(owner, [MINE], ["gsm8k"])
    for _ in range(2400):
        if mark.exists() and mark.read_text().strip():
            break
        bench.jobs.wait(owner, job.id, timeout_s=0.1)
    run = bench.benchmarks.page(owner)[0]
    with pytest.raises(Conflict, match="at work"):
        bench.benchmarks.delete(owner, run.id)
    assert bench.benchmarks.stop(owner, run.id).id == run.id
    assert bench.jobs.wait(owner, job.id, timeout_s=LIMIT_S).state is JobState.CANCELLED
    assert bench.benchmarks.get(owner, run.id).state is RunState.STOPPED
    status = Path(f"/proc/{mark.read_text().strip()}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_run_that_was_stopped_while_it_waited_says_so(bench, owner, program, tmp_path):
    mark = tmp_path / "go"
    program.write_text(f"#!/bin/sh\nwhile [ ! -e {mark} ]; do sleep 0.1; done\nexit 1\n")
    first, second = (bench.benchmarks.run(owner, [MINE], [task])[0] for task in ("gsm8k", "ifeval"))
    waiting = second.params["run_id"]
    bench.benchmarks.stop(owner, waiting)
    assert bench.benchmarks.get(owner, waiting).state is RunState.STOPPED
    mark.touch()
    assert bench.jobs.wait(owner, first.id, timeout_s=LIMIT_S).state is JobState.FAILED
