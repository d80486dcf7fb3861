"""Runs beside each other, notes of people about them, and their settings used again."""

import json
from typing import Any

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import Run, RunState
from distill_studio.distill.config import (
    DataConfig,
    DpoRun,
    LogitRun,
    LoraConfig,
    SftRun,
    StudentConfig,
    TeacherConfig,
)
from distill_studio.distill.events import Eval, EventWriter, Started, Step
from distill_studio.services.workspace import Workspace
from distill_studio.store import people_rows
from distill_studio.store import runs as table

ANN = Actor(user="ann", role=Role.REVIEWER)
BOB = Actor(user="bob", role=Role.REVIEWER)
VIEWER = Actor(user="eve", role=Role.VIEWER)


def add_run(
    workspace: Workspace, name: str, kind: type = LogitRun, metrics: Any = None, **fields: Any
) -> Run:
    """A finished run with its folder and two evaluations."""
    common: dict[str, Any] = {
        "name": name,
        "student": StudentConfig(base_folder="/models/s", base_id="smollm2-135m-instruct"),
        "data": DataConfig(folder="/snaps/a", name="a", format="messages", content_hash="h"),
        "lora": LoraConfig(),
        "learning_rate": 1e-4,
        "max_steps": 4,
    }
    if kind is LogitRun:
        common["teacher"] = TeacherConfig(folder="/models/t", id="big")
    config = kind(**(common | fields))
    run = Run(
        name=name,
        method=config.method,
        snapshot_id="s",
        config=config.model_dump(mode="json"),
        state=RunState.DONE,
        metrics=metrics or {"loss_after": 1.5, "kl_after": 0.5, "steps": 4},
    )
    table.insert(workspace.db, run)
    folder = workspace.folder / "runs" / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(config.model_dump_json())
    writer = EventWriter(folder / "events.jsonl")
    writer.write(
        Started(total=4, train_rows=9, validation_rows=2, device="cpu", dtype="float32",
                parameters=100, trainable=5)
    )  # fmt: skip
    is_logit = kind is LogitRun
    for step, loss in ((0, 2.0), (4, 1.5)):
        writer.write(
            Eval(step=step, loss=loss, ce=loss if is_logit else None, kl=0.5 if is_logit else None)
        )
    writer.write(Step(step=1, total=4, loss=1.9, lr=0.1, kl=0.6 if is_logit else None))
    writer.close()
    return run


def test_runs_are_compared_by_what_differs_alone(workspace: Workspace, owner: Actor) -> None:
    add_run(workspace, "one")
    add_run(workspace, "two", learning_rate=3e-4, lora=None, metrics={"loss_after": 1.25})
    found = workspace.runs.compare(VIEWER, ["two", "one"])
    assert [run.name for run in found.runs] == ["two", "one"]
    said = {row.label: row.values for row in found.settings}
    assert said.pop("Learning rate") == ["0.0003", "0.0001"]
    assert said.pop("LoRA rank") == [None, "16"]
    assert all(label.startswith(("LoRA", "Layers with LoRA")) for label in said), said
    assert [p.value for p in found.runs[0].curve.validation] == [2.0, 1.5]
    figures = {row.key: row for row in found.figures}
    assert figures["loss_after"].values == [1.25, 1.5]
    assert figures["kl_after"].values == [None, 0.5]
    assert figures["loss_after"].unlike == []
    assert found.unlike == {"loss": [], "ce": [], "kl": []}


def test_what_does_not_measure_the_same_is_told(workspace: Workspace, owner: Actor) -> None:
    add_run(workspace, "online")
    add_run(workspace, "stored", signal="cache", alpha=0.5)
    add_run(workspace, "plain", SftRun)
    found = workspace.runs.compare(owner, ["online", "stored", "plain"])
    assert found.unlike["ce"] == []
    assert found.unlike["kl"] == ["The teacher is asked", "Kept of the teacher", "Kept per token"]
    assert {"Method", "Alpha"} <= set(found.unlike["loss"])
    assert [run.kl_label for run in found.runs] == [
        "KL to the teacher",
        "KL to the teacher, lower bound",
        "",
    ]
    assert "likeliest ids and one bucket" in found.runs[1].kl_about
    kl = next(row for row in found.figures if row.key == "kl_after")
    assert "The teacher is asked" in kl.unlike


def test_one_run_or_seven_cannot_be_compared(workspace: Workspace, owner: Actor) -> None:
    for number in range(7):
        add_run(workspace, f"r{number}", SftRun)
    names = [f"r{number}" for number in range(7)]
    assert len(workspace.runs.compare(owner, names[:6]).runs) == 6
    for wrong in (names, names[:1], [], ["r1", "r1"]):
        with pytest.raises(InvalidInput):
            workspace.runs.compare(owner, wrong)
    with pytest.raises(NotFound):
        workspace.runs.compare(owner, ["r1", "gone"])


def test_notes_say_who_and_when_and_go_with_their_run(workspace: Workspace, owner: Actor) -> None:
    add_run(workspace, "one", SftRun)
    runs = workspace.runs
    first = runs.note(ANN, "one", "  rate too high?  ")
    second = runs.note(BOB, "one", "For maths only.", in_card=True)
    assert [(n.user, n.text, n.in_card) for n in runs.notes(VIEWER, "one")] == [
        ("ann", "rate too high?", False),
        ("bob", "For maths only.", True),
    ]
    assert first.made_at <= second.made_at
    assert runs.newest_notes(VIEWER) == {"one": "For maths only."}
    for text in ("   ", "x" * 4001):
        with pytest.raises(InvalidInput):
            runs.note(ANN, "one", text)
    with pytest.raises(NotAllowed):
        runs.note(VIEWER, "one", "hello")
    with pytest.raises(NotAllowed, match="ann's"):
        runs.forget_note(BOB, first.id)
    runs.forget_note(ANN, first.id)
    with pytest.raises(NotFound):
        runs.forget_note(ANN, first.id)
    trash = workspace.studio.home / workspace.distill.delete(owner, "one")
    kept = json.loads((trash / "notes.json").read_text())
    assert [one["text"] for one in kept] == ["For maths only."]
    assert runs.newest_notes(VIEWER) == {}
    add_run(workspace, "one", SftRun)
    assert runs.notes(VIEWER, "one") == []


def test_notes_are_among_what_is_backed_up(workspace: Workspace, owner: Actor) -> None:
    add_run(workspace, "one", SftRun)
    before = people_rows.gather(workspace.db, people_rows.Known()).known
    noted = workspace.runs.note(ANN, "one", "keep me")
    part = people_rows.gather(workspace.db, before)
    assert "run_notes" in set(part.rows["table_name"].to_pylist())
    workspace.runs.forget_note(ANN, noted.id)
    people_rows.replay(workspace.db, part.rows)
    assert [one.text for one in workspace.runs.notes(owner, "one")] == ["keep me"]


def test_settings_of_a_run_start_another_one_like_it(workspace: Workspace, owner: Actor) -> None:
    add_run(workspace, "one", learning_rate=7e-4, weight_decay=0.0, alpha=0.3, seed=5)
    spec = workspace.runs.settings(VIEWER, "one")
    assert (spec.snapshot, spec.student, spec.teacher) == ("a", "smollm2-135m-instruct", "big")
    assert (spec.learning_rate, spec.alpha, spec.seed, spec.name) == (7e-4, 0.3, 5, "")
    add_run(workspace, "two", DpoRun, loss="robust", label_smoothing=0.2)
    assert workspace.runs.settings(VIEWER, "two").dpo_loss == "robust"
    with pytest.raises(NotFound):
        workspace.runs.settings(VIEWER, "gone")
