"""Plans of a real studio: real child processes train a tiny random model, stage by stage."""

import json
import time
from pathlib import Path

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import JobState, Run, RunState
from distill_studio.distill.spec import TrainSpec
from distill_studio.services import operations
from distill_studio.services.plans import PlanView
from distill_studio.services.workspace import Workspace
from distill_studio.store import runs
from tests.services.test_distill import ENDLESS, freeze_some
from tests.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_model(tmp_path_factory.mktemp("tiny") / "model"))


def spec(student: str, method: str = "sft", **fields: object) -> TrainSpec:
    common = {"max_steps": 2, "max_length": 64, "eval_every": 2, "save_every": 1, "dtype": "fp32"}
    return TrainSpec(snapshot="snap", student=student, method=method, **(common | fields))


def wait(workspace: Workspace, owner: Actor, name: str, limit_s: float = 900) -> PlanView:
    deadline = time.monotonic() + limit_s
    while (view := workspace.plans.get(owner, name)).state.is_active:
        assert time.monotonic() < deadline, view
        time.sleep(0.2)
    return view


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_stages_stop_and_go_on_between_and_within(
    workspace: Workspace, owner: Actor, tiny: str
) -> None:
    freeze_some(workspace, owner)
    plans = workspace.plans
    stages = [
        spec(tiny, keep_layers=2),
        spec(tiny, "logit", max_steps=ENDLESS),
        spec(tiny, "on_policy", answer_tokens=8, learning_rate=1e-3),
    ]
    made = plans.stages(owner, "plan", stages)
    assert [row.state for row in made.rows][1:] == ["waiting", "waiting"]
    deadline = time.monotonic() + 900
    while True:
        second = runs.get(workspace.db, "plan-2")
        if second and workspace.distill.curve(owner, "plan-2").train:
            break
        assert time.monotonic() < deadline, plans.get(owner, "plan")
        time.sleep(0.2)
    assert second.config["student"]["base_id"] == "run:plan-1"
    assert second.config["teacher"]["id"] == tiny  # the whole model, not the pruned student
    with pytest.raises(Conflict, match="runs already"):
        plans.resume(owner, "plan")
    with pytest.raises(Conflict, match="still runs"):
        plans.delete(owner, "plan")
    plans.stop(owner, "plan")
    stopped = wait(workspace, owner, "plan")
    assert stopped.state is JobState.CANCELLED
    assert [row.state for row in stopped.rows] == ["done", "stopped", "waiting"]
    reached = workspace.distill.curve(owner, "plan-2").train[-1].step
    config = workspace.folder / "runs" / "plan-2" / "run.json"
    shorter = json.loads(config.read_text()) | {"max_steps": reached + 1}
    config.write_text(json.dumps(shorter))
    plans.resume(owner, "plan")
    done = wait(workspace, owner, "plan")
    assert done.state is JobState.DONE, done
    assert [row.state for row in done.rows] == ["done", "done", "done"]
    starts = [e for e in workspace.distill.events(owner, "plan-2") if e["kind"] == "started"]
    assert [e["resumed_from"] for e in starts] == [0, reached]
    assert runs.get(workspace.db, "plan-3").config["student"]["base_id"] == "run:plan-2"
    with pytest.raises(Conflict, match="is done"):
        plans.resume(owner, "plan")
    plans.delete(owner, "plan")
    assert (workspace.distill.student_folder("plan-3") / "config.json").exists()
    with pytest.raises(Conflict, match="run 'plan-1' already"):
        plans.stages(owner, "plan", stages)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_grid_is_one_table_and_a_failed_run_does_not_end_it(
    workspace: Workspace, owner: Actor, tiny: str
) -> None:
    freeze_some(workspace, owner)
    plans = workspace.plans
    grid = {"learning_rate": [1e-3, 1.0], "alpha": [0.1]}
    view = plans.sweep(owner, "g", spec(tiny, "logit", keep_layers=2, seed=3), grid)
    assert [row.settings for row in view.rows] == [
        {"learning_rate": 1e-3, "alpha": 0.1},
        {"learning_rate": 1.0, "alpha": 0.1},
    ]
    done = wait(workspace, owner, "g")
    assert done.state is JobState.DONE, done
    assert [row.state for row in done.rows] == ["done", "done"]
    kl = [row.metrics["kl_after"] for row in done.rows]
    assert done.measure
    assert done.measure.metric == "kl_after"
    assert [row.is_best for row in done.rows] == [kl[0] <= kl[1], kl[1] < kl[0]]
    with (workspace.folder / "runs" / "g-2" / "run.json").open("a") as file:
        file.write("no JSON")
    from distill_studio.store import runs as table

    table.update(workspace.db, "g-2", state=RunState.LOST)
    plans.resume(owner, "g")
    again = wait(workspace, owner, "g")
    assert again.state is JobState.DONE, again
    assert [row.state for row in again.rows] == ["done", "failed"]
    assert [row.is_best for row in again.rows] == [True, False]
    assert workspace.jobs.get(owner, again.plan.job_id).result["failed"] == ["g-2"]


def test_a_run_that_cannot_begin_does_not_end_a_grid(
    workspace: Workspace, owner: Actor, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fine when the plan was checked, and is not when its run's turn comes."""
    freeze_some(workspace, owner)
    plans = workspace.plans
    refused = {"g-2"}

    def start(_: Actor, one: TrainSpec) -> None:
        if one.name in refused:
            raise InvalidInput("The disk is full.", "Free some space.")
        run = Run(name=one.name, method="sft", snapshot_id="s", state=RunState.DONE)
        runs.insert(workspace.db, run)

    monkeypatch.setattr(workspace.distill, "start", start)
    plans.sweep(owner, "g", spec(tiny), {"seed": [1, 2, 3]})
    done = wait(workspace, owner, "g")
    assert (done.state, done.error) == (JobState.DONE, "")
    assert [row.state for row in done.rows] == ["done", "failed", "done"]
    assert [row.error for row in done.rows] == ["", "The disk is full. Free some space.", ""]
    assert workspace.jobs.get(owner, done.plan.job_id).result["failed"] == ["g-2"]
    refused.clear()
    plans.resume(owner, "g")
    again = wait(workspace, owner, "g")
    assert [(row.state, row.error) for row in again.rows] == [("done", "")] * 3


def test_what_cannot_work_is_refused_before_anything_starts(
    workspace: Workspace, owner: Actor, tiny: str
) -> None:
    freeze_some(workspace, owner)
    plans = workspace.plans
    features = {"feature_weight": [0.0, 1.0, 2.0], "seed": [1.0]}
    said = r"Combination 2 of 3 \(feature_weight 1, seed 1\): A stored teacher signal holds no"
    with pytest.raises(InvalidInput, match=said):
        plans.sweep(owner, "g", spec(tiny, "logit", keep_layers=2, signal="cache"), features)
    with pytest.raises(InvalidInput, match="Stage 2: DPO learns from preference rows"):
        plans.stages(owner, "p", [spec(tiny), spec(tiny, "dpo")])
    last = spec(tiny, "on_policy", answer_tokens=8)
    found = plans.check(owner, [spec(tiny, keep_layers=2), last])
    assert [[f.code for f in stage] for stage in found] == [["pruned", "estimate"], ["estimate"]]
    with pytest.raises(InvalidInput, match="cannot name a plan"):
        plans.stages(owner, "../x", [spec(tiny)])
    with pytest.raises(InvalidInput, match="no name yet"):
        plans.sweep(owner, "", spec(tiny), {"seed": [1, 2]})
    with pytest.raises(NotAllowed):
        plans.stages(Actor(user="v", role=Role.VIEWER), "p", [spec(tiny)])
    with pytest.raises(NotFound):
        plans.get(owner, "p")
    assert plans.page(owner) == []
    assert list(Path(workspace.folder / "runs").iterdir()) == []


def test_every_action_is_an_operation() -> None:
    names = set(operations.operations())
    assert {f"plans_{n}" for n in ("check", "stages", "sweep", "page", "get", "stop")} <= names
    assert {"plans_resume", "plans_delete"} <= names


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_plan_goes_on_after_a_restart_of_the_app(
    tmp_path: Path, starter_cache: Path, owner: Actor, tiny: str
) -> None:
    from distill_studio.bootstrap import build_studio
    from distill_studio.core.settings import Settings

    settings = Settings(home=tmp_path / "home", cache=starter_cache, port=0)
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    freeze_some(workspace, owner)
    first = spec(tiny, max_steps=300, eval_every=300, save_every=300)
    workspace.plans.stages(owner, "p", [first, spec(tiny)])
    deadline = time.monotonic() + 900
    while not (runs.get(workspace.db, "p-1") and workspace.distill.curve(owner, "p-1").train):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    studio.close()
    studio = build_studio(settings)
    try:
        workspace = studio.workspace("main")
        done = wait(workspace, owner, "p")
        assert done.state is JobState.DONE, done
        assert [row.state for row in done.rows] == ["done", "done"]
        starts = [e for e in workspace.distill.events(owner, "p-1") if e["kind"] == "started"]
        assert len(starts) == 1  # the same process from beginning to end
    finally:
        studio.close()
