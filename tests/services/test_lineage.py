"""Lineage: from a row to the models that learnt from it, and from a model back to its rows."""

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.records import Decision, DecisionKind, Preference, Run, RunState
from distill_studio.core.records.pair import Pair
from distill_studio.core.records.seed import Message, Seed
from distill_studio.store import decisions, pairs, preferences, runs, seeds


def rows(workspace, count: int) -> list[Pair]:
    """Two answers of each of `count` prompts."""
    made = []
    for n in range(count):
        messages = (Message(role="user", content=f"What is {n} plus one?"),)
        seed = Seed(messages=messages, source="sums.jsonl")
        seed_id = seeds.insert(workspace.db, [seed])[seed.id]
        made += [
            Pair(
                seed_id=seed_id,
                messages=messages,
                answer=f"{n + 1 + sample}",
                teacher=("big", "small")[sample],
                recipe=("direct", "best_of_n")[sample],
                job_id="job",
                sample=sample,
            )
            for sample in (0, 1)
        ]
    pairs.insert(workspace.db, made)
    return made


def run(workspace, name: str, snapshot: str, base: str, method: str = "sft") -> None:
    found = next(s for s in workspace.freeze.page(OWNER) if s.name == snapshot)
    config = {"student": {"base_id": base}}
    if method == "logit":
        config["teacher"] = {"id": "smollm2"}
    runs.insert(
        workspace.db,
        Run(name=name, method=method, snapshot_id=found.id, config=config, state=RunState.DONE),
    )


OWNER = Actor(user="owner", role=Role.OWNER)


@pytest.fixture
def made(workspace) -> list[Pair]:
    """Ten accepted answers, frozen; twenty preferences, frozen; three runs in a row, one beside."""
    made = rows(workspace, 20)
    accept = [
        Decision(id=f"decision-{pair.id}"[:60], pair_id=pair.id, kind=DecisionKind.ACCEPT)
        for pair in made[:20:2]
    ]
    decisions.record(workspace.db, "ann", accept)
    workspace.freeze.create(OWNER, "facts", "prompt_completion", validation_share=0.2)
    preferences.insert(
        workspace.db,
        [
            Preference(
                id=f"preference-{k:02}",
                seed_id=better.seed_id,
                chosen_pair_id=better.id,
                rejected_pair_id=worse.id,
                outcome="win",
                source="person",
                user="bob",
            )
            for k, (better, worse) in enumerate(zip(made[::2], made[1::2], strict=True))
        ],
    )
    workspace.freeze.create(OWNER, "taste", "preference", validation_share=0.1)
    run(workspace, "first", "facts", "smollm2", "logit")
    run(workspace, "second", "taste", "run:first", "dpo")
    run(workspace, "third", "facts", "run:second")
    run(workspace, "beside", "taste", "smollm2", "dpo")
    return made


def test_a_row_names_who_made_it_who_judged_it_and_who_learnt_it(workspace, owner, made):
    trained = {r["id"] for r in workspace.freeze.rows(owner, "facts", limit=1000)}
    pair = next(p for p in made[:20:2] if p.id in trained)
    found = workspace.lineage.row(owner, pair.id)
    assert (found.pair.teacher, found.pair.recipe, found.seed.source) == (
        "big", "direct", "sums.jsonl",
    )  # fmt: skip
    assert [(one.user, one.kind) for one in found.decisions] == [("ann", "accept")]
    assert [(one.user, one.is_chosen) for one in found.preferences] == [("bob", True)]
    parts = {(one.snapshot, one.part) for one in found.snapshots}
    assert parts == {("facts", "answer"), ("taste", "chosen")}
    names = {one.run: (one.is_direct, one.through) for one in found.models}
    assert names["first"] == (True, "facts")
    assert names["third"] == (True, "facts")
    split = next(one.split for one in found.snapshots if one.snapshot == "taste")
    assert names["second"] == ((True, "taste") if split == "train" else (False, "first"))
    assert ("beside" in names) == (split == "train")


def test_a_held_out_row_taught_nobody(workspace, owner, made):
    held = {r["id"] for r in workspace.freeze.rows(owner, "facts", "validation", limit=1000)}
    pair = next(p for p in made if p.id in held)
    found = workspace.lineage.row(owner, pair.id)
    assert {("facts", "validation")} <= {(one.snapshot, one.split) for one in found.snapshots}
    direct = {one.run for one in found.models if one.is_direct}
    assert not {"first", "third"} & direct


def test_a_rejected_answer_is_found_where_it_was_the_worse_one(workspace, owner, made):
    found = workspace.lineage.row(owner, made[1].id)
    assert [(one.snapshot, one.part) for one in found.snapshots] == [("taste", "rejected")]
    assert found.preferences[0].outcome == "win"
    assert not found.preferences[0].is_chosen


def test_a_model_names_every_training_and_what_it_was_made_of(workspace, owner, made):
    found = workspace.lineage.model(owner, "third")
    assert [(s.run, s.method, s.base) for s in found.steps] == [
        ("first", "logit", "smollm2"),
        ("second", "dpo", "run:first"),
        ("third", "sft", "run:second"),
    ]
    first, second, _ = found.steps
    assert first.teachers == ["smollm2"]
    assert first.facts["teachers"] == {"big": 10}
    assert first.facts["recipes"] == {"direct": 10}
    assert first.facts["people"] == {"ann": 10}
    assert second.facts["people"] == {"bob": 20}
    assert second.facts["teachers"] == {"big": 20}
    assert second.snapshot == "taste"
    assert second.content_hash
    assert workspace.lineage.model(owner, "first").children == ["second"]
    assert found.children == []


def taught(workspace, name: str, base: str, *teachers: dict[str, str]) -> None:
    """A run on preferences whose rows are others, that follows these teachers."""
    found = next(s for s in workspace.freeze.page(OWNER) if s.name == "elsewhere")
    first, *more = teachers
    config = {"student": {"base_id": base}, "teacher": first, "more_teachers": more}
    runs.insert(
        workspace.db,
        Run(name=name, method="logit", snapshot_id=found.id, config=config, state=RunState.DONE),
    )


def test_what_a_student_taught_is_followed(workspace, owner, made):
    """Through the teacher's name, a second teacher's, its folder, and on from there."""
    trained = {r["id"] for r in workspace.freeze.rows(owner, "facts", limit=1000)}
    pair = next(p for p in made[:20:2] if p.id in trained)
    other = made[0].model_copy(update={"id": new_id(), "job_id": "other", "answer": "none"})
    pairs.insert(workspace.db, [other])
    accept = Decision(id="decision-of-another", pair_id=other.id, kind=DecisionKind.ACCEPT)
    decisions.record(workspace.db, "ann", [accept])
    query = pairs.PairQuery(job_id="other")
    workspace.freeze.create(OWNER, "elsewhere", "prompt_completion", query, validation_share=0.0)
    folder = workspace.folder.resolve() / "runs" / "first" / "model"
    taught(workspace, "pupil", "smollm2", {"id": "run:first", "folder": str(folder)})
    taught(workspace, "second-voice", "smollm2", {"id": "smollm2"}, {"id": "run:pupil"})
    taught(workspace, "by-folder", "smollm2", {"id": str(folder), "folder": str(folder)})
    taught(workspace, "grown", "run:pupil", {"id": "smollm2", "folder": "/models/first"})
    taught(workspace, "stranger", "first", {"id": "first", "folder": "/elsewhere/runs/first"})
    found = workspace.lineage.row(owner, pair.id)
    ways = {one.run: (one.way, one.through, one.is_direct) for one in found.models}
    assert ways["first"] == ("rows", "facts", True)
    assert ways["pupil"] == ("teacher", "first", False)
    assert ways["second-voice"] == ("teacher", "pupil", False)
    assert ways["by-folder"] == ("teacher", "first", False)
    assert ways["grown"] == ("base", "pupil", False)
    assert "stranger" not in ways
    assert workspace.lineage.model(owner, "first").pupils == ["by-folder", "pupil"]
    assert workspace.lineage.model(owner, "pupil").pupils == ["second-voice"]
    assert [s.run for s in workspace.lineage.model(owner, "stranger").steps] == ["stranger"]


def test_what_is_not_there_is_said(workspace, owner):
    with pytest.raises(NotFound):
        workspace.lineage.row(owner, "nothing")
    with pytest.raises(NotFound):
        workspace.lineage.model(owner, "nothing")
