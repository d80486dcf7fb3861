"""Held-out prompts are none that a chosen student learnt from, whatever was frozen later."""

import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Run, RunState, Snapshot
from distill_studio.store import runs, snapshots

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, LATER = ["one", "two", "three"], ["four", "five"]


def freeze(workspace, name: str, train: list[str], validation: list[str], day: int) -> str:
    """A snapshot of these prompts; its id."""
    folder = workspace.folder / "snapshots" / name
    folder.mkdir(parents=True)
    for split, prompts in (("train", train), ("validation", validation)):
        rows = [
            {"messages": [{"role": "user", "content": p}, {"role": "assistant", "content": "a"}]}
            for p in prompts
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
        seconds = (START + timedelta(days=day)).timestamp()
        os.utime(folder / f"{split}.parquet", (seconds, seconds))
    snapshot = Snapshot(
        name=name, format="messages", content_hash=name,
        train_rows=len(train), validation_rows=len(validation),
    )  # fmt: skip
    snapshots.insert(workspace.db, snapshot)
    return snapshot.id


def train(workspace, name: str, snapshot_id: str, base: str = "smollm2-135m-instruct") -> str:
    run = Run(
        name=name, method="sft", snapshot_id=snapshot_id, state=RunState.DONE,
        config={"student": {"base_id": base}},
        created_at=START + timedelta(days=len(runs.page(workspace.db, limit=9))),
    )  # fmt: skip
    runs.insert(workspace.db, run)
    return f"student:{name}"


@pytest.fixture
def student(workspace) -> str:
    """It learnt from `first`; of `second`, frozen later, the splits are the other way round."""
    made = freeze(workspace, "first", FIRST, LATER, day=0)
    freeze(workspace, "second", LATER, FIRST, day=1)
    return train(workspace, "mine", made)


def shown(workspace, owner, *models: str, limit: int = 8) -> tuple[str, list[str]]:
    found = workspace.evaluate.examples(owner, limit, list(models))
    return found.snapshot, [turns[-1].content for turns in found.prompts]


def test_without_a_student_the_newest_snapshot_is_asked(workspace, owner, student):
    assert shown(workspace, owner) == ("second", FIRST)
    assert shown(workspace, owner, "base:smollm2-135m-instruct") == ("second", FIRST)


def test_a_student_is_asked_what_its_own_snapshot_holds_out(workspace, owner, student):
    assert shown(workspace, owner, "base:smollm2-135m-instruct", student) == ("first", LATER)
    assert shown(workspace, owner, student, limit=1) == ("first", LATER[:1])


def test_students_of_opposite_splits_have_no_prompt_in_common(workspace, owner, student):
    other = train(workspace, "other", snapshots.page(workspace.db)[0].id)
    assert shown(workspace, owner, other) == ("second", FIRST)
    assert shown(workspace, owner, student, other) == ("", [])
    freeze(workspace, "third", ["six"], ["two", "seven"], day=2)
    assert shown(workspace, owner, student, other) == ("third", ["seven"])


def test_what_earlier_trainings_learnt_from_is_left_out_in_any_spelling(workspace, owner, student):
    third = freeze(workspace, "third", ["six"], [" TWO? ", "seven"], day=2)
    last = train(workspace, "last", third, base="run:mine")
    assert shown(workspace, owner, last) == ("third", ["seven"])
    assert workspace.evaluate.examples(owner, models=[last]).unknown == []


def test_trainings_whose_rows_are_gone_are_named(workspace, owner, student):
    lost = train(workspace, "lost", "deleted", base="run:nobody")
    found = workspace.evaluate.examples(owner, models=[lost])
    assert (found.snapshot, found.unknown) == ("second", ["lost", "nobody"])


def test_a_set_asks_the_same_prompts(workspace, owner, student):
    base = "base:smollm2-135m-instruct"
    job = workspace.evaluate.compare_set(owner, [base, student], count=5)
    workspace.jobs.cancel(owner, job.id)
    assert [turns[-1]["content"] for turns in job.params["prompts"]] == LATER
    other = train(workspace, "other", snapshots.page(workspace.db)[0].id)
    with pytest.raises(InvalidInput, match="no held-out prompts for these models"):
        workspace.evaluate.compare_set(owner, [student, other])
