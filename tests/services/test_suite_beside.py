"""What belongs beside a student on a suite: its teacher, its base, plain SFT on the same rows."""

import pytest

from distill_studio.core.records import Run, RunState, Snapshot
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.distill.config import PRUNING
from distill_studio.services import teachers as services_teachers
from distill_studio.store import runs, snapshots
from distill_studio.teachers.scripted import ScriptedChatModel
from tests.services.suite_models import SUMS, Scripted, adds, finish, upload

BASE = "smollm2-135m-instruct"


@pytest.fixture(autouse=True)
def other_teacher(monkeypatch):
    """The starter teacher is not the base."""
    other = services_teachers.STARTER.model_copy(update={"model": "another"})
    monkeypatch.setattr(services_teachers, "STARTER", other)


def add_run(workspace, name: str, method: str, base: str = BASE, **fields) -> None:
    student = {"base_id": base, **{n: fields.pop(n) for n in PRUNING if n in fields}}
    fields = {"snapshot_id": "s1", "state": RunState.DONE, **fields}
    runs.insert(workspace.db, Run(name=name, method=method, config={"student": student}, **fields))


def sft_row(workspace, owner, name: str):
    missing = workspace.suites.beside(owner, [f"student:{name}"])
    return next((one for one in missing if one.part == "sft"), None)


def test_sft_on_the_same_base_and_rows_is_offered_and_preselected(workspace, owner):
    add_run(workspace, "plain", "sft")
    add_run(workspace, "elsewhere", "sft", snapshot_id="s2")
    add_run(workspace, "pruned", "sft", keep_layers=24)
    add_run(workspace, "narrow", "sft", keep_mlp=0.75)
    add_run(workspace, "failed", "sft", state=RunState.FAILED)
    add_run(workspace, "followed", "logit")
    found = sft_row(workspace, owner, "followed")
    assert found.model == "student:plain"
    assert "What logit brought followed over plain SFT" in found.said
    chosen = workspace.suites.defaults(owner)
    assert chosen[0].startswith("teacher:")
    assert {f"base:{BASE}", "student:followed", "student:plain"} < set(chosen)
    assert workspace.suites.beside(owner, chosen) == []
    assert sft_row(workspace, owner, "plain") is None


def test_the_sft_stage_of_a_plan_is_the_row_of_its_dpo(workspace, owner):
    add_run(workspace, "stage-1", "sft")
    add_run(workspace, "stage-2", "dpo", "run:stage-1", snapshot_id="preferences")
    assert sft_row(workspace, owner, "stage-2").model == "student:stage-1"


def test_where_there_is_none_it_says_how_to_make_it(workspace, owner):
    add_run(workspace, "followed", "logit", keep_layers=24, keep_mlp=0.75)
    snapshots.insert(
        workspace.db,
        Snapshot(id="s1", name="rows", format="messages", content_hash="h", train_rows=5,
                 validation_rows=1),
    )  # fmt: skip
    found = sft_row(workspace, owner, "followed")
    assert found.model == ""
    assert f"train rows --method sft --student {BASE}:24 --set keep_mlp=0.75" in found.said
    parts = {one.part for one in workspace.suites.beside(owner, ["student:followed"])}
    assert parts == {"teacher", "base", "sft"}


def test_a_result_says_which_rows_it_lacks(workspace, owner, tmp_path):
    add_run(workspace, "plain", "sft")
    add_run(workspace, "followed", "logit")
    names = ("student:followed", "student:plain")
    scripted = Scripted(workspace, {name: ScriptedChatModel(name, adds) for name in names})
    workspace.evaluate.comparable = scripted
    workspace.suites.add(owner, upload(workspace, tmp_path, SUMS), SuiteScorer.MATH)

    def lacks(*models: str) -> str:
        job = finish(workspace, owner, workspace.suites.run(owner, "sums", list(models)))
        return " ".join(workspace.suites.standings(owner, job.params["trial_id"]).lacks)

    alone = lacks("student:followed")
    assert "without the SFT run 'plain'" in alone
    assert "no teacher to measure followed by" in alone
    assert "without the SFT run" not in lacks(*names)
