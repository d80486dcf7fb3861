"""Freezing real rows of the store: what goes in, what stays out, what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import (
    Decision,
    DecisionKind,
    Message,
    Pair,
    Preference,
    Seed,
    TeacherConfig,
    TeacherKind,
)
from distill_studio.freeze.folder import read_manifest
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions, pairs, preferences, seeds, teachers
from distill_studio.store.pairs import PairQuery


def add_pairs(
    workspace: Workspace, count: int, *, accept: bool = True, **fields: Any
) -> list[Pair]:
    made = []
    for number in range(count):
        messages = (Message(role="user", content=f"{fields.get('topic', '')} question {number}"),)
        seed = Seed(messages=messages)
        seed_id = seeds.insert(workspace.db, [seed])[seed.id]
        facts = {"answer": f"answer {number}", "teacher": "t"} | fields
        made.append(Pair(seed_id=seed_id, messages=messages, job_id=f"j{len(made)}", **facts))
    pairs.insert(workspace.db, made)
    if accept:
        decide(workspace, made, DecisionKind.ACCEPT)
    return made


def another(pair: Pair, sample: int, answer: str) -> Pair:
    """A candidate to the same prompt."""
    changes = {"id": f"{pair.id}-{sample}", "sample": sample, "answer": answer}
    return pair.model_copy(update=changes)


def decide(
    workspace: Workspace, made: list[Pair], kind: DecisionKind, answer: str | None = None
) -> None:
    decisions.record(
        workspace.db,
        "owner",
        [
            Decision(id=f"{kind}-{pair.id}"[:64], pair_id=pair.id, kind=kind, answer=answer)
            for pair in made
        ],
    )


def curate(workspace: Workspace, pair: Pair, curation: str, reason: str) -> None:
    with workspace.db.write() as cursor:
        cursor.execute(
            "UPDATE pairs SET curation = ?, curation_reason = ? WHERE id = ?",
            [curation, reason, pair.id],
        ).fetchall()


def all_rows(workspace: Workspace, owner: Actor, name: str) -> list[dict]:
    return [
        row
        for split in ("train", "validation")
        for row in workspace.freeze.rows(owner, name, split, limit=1000)
    ]


def test_only_accepted_and_kept_rows_and_edits_win(workspace: Workspace, owner: Actor) -> None:
    made = add_pairs(workspace, 12)
    add_pairs(workspace, 3, accept=False, topic="pending")
    rejected = add_pairs(workspace, 2, accept=False, topic="bad")
    decide(workspace, rejected, DecisionKind.REJECT)
    curate(workspace, made[0], "duplicate", "lost to x")
    curate(workspace, made[1], "filtered", "length: 3 words")
    decide(workspace, [made[2]], DecisionKind.EDIT, "edited")
    preview = workspace.freeze.preview(owner)
    assert (preview.rows, preview.train_rows, preview.validation_rows) == (10, 9, 1)
    assert preview.left_out == {
        "pending": 3, "rejected": 2, "duplicate": 1, "filtered: length": 1,
    }  # fmt: skip
    snapshot = workspace.freeze.create(owner, "first")
    rows = all_rows(workspace, owner, "first")
    assert {row["id"] for row in rows} == {pair.id for pair in made[2:]}
    assert next(r for r in rows if r["id"] == made[2].id)["messages"][-1]["content"] == "edited"
    manifest = read_manifest(workspace.freeze.folder("first"))
    assert manifest["counts"] == {"taken": 10, "left_out": preview.left_out}
    assert snapshot.manifest["splits"]["train"]["rows"] == 9
    assert "row_ids" not in snapshot.manifest["splits"]["train"]


def test_nothing_to_freeze_says_why(workspace: Workspace, owner: Actor) -> None:
    with pytest.raises(InvalidInput, match="this workspace has no answers"):
        workspace.freeze.create(owner, "first")
    add_pairs(workspace, 2, accept=False)
    with pytest.raises(InvalidInput, match=r"no answer is accepted and kept \(2 pending\)"):
        workspace.freeze.create(owner, "first")
    with pytest.raises(InvalidInput, match="nobody has compared two answers yet"):
        workspace.freeze.create(owner, "first", "preference")
    assert not list((workspace.folder / "snapshots").iterdir())


def test_same_rows_same_hash_and_a_later_change_leaves_it(
    workspace: Workspace, owner: Actor
) -> None:
    made = add_pairs(workspace, 12)
    first = workspace.freeze.create(owner, "first")
    second = workspace.freeze.create(owner, "second")
    assert first.content_hash == second.content_hash
    assert second.manifest["warnings"][-1] == "The snapshot 'first' holds the very same rows."
    decide(workspace, [made[0]], DecisionKind.REJECT)
    assert workspace.freeze.create(owner, "third").content_hash != first.content_hash
    assert len(all_rows(workspace, owner, "first")) == 12


def test_candidates_and_near_duplicates_stay_together(
    workspace: Workspace, owner: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = add_pairs(workspace, 20)
    for sample in (1, 2):
        more = [another(pair, sample, f"{pair.answer} {sample}") for pair in made]
        pairs.insert(workspace.db, more)
        decide(workspace, more, DecisionKind.ACCEPT)
    near = {pair.id: f"group {n // 2}" for n, pair in enumerate(made)}
    monkeypatch.setattr(
        workspace.curate, "near_groups", lambda ids: {i: near[i] for i in ids if i in near},
        raising=False,
    )  # fmt: skip
    snapshot = workspace.freeze.create(owner, "first")
    assert (snapshot.train_rows, snapshot.validation_rows) == (54, 6)
    assert snapshot.manifest["groups"] == {"count": 10, "largest": 6}
    validation = {r["id"][:36] for r in workspace.freeze.rows(owner, "first", "validation")}
    assert len({near[pair_id] for pair_id in validation}) == 1


def test_formats_reasoning_and_system_prompt(workspace: Workspace, owner: Actor) -> None:
    messages = (
        Message(role="system", content="own"),
        Message(role="user", content="q"),
    )
    pair = Pair(seed_id="s", messages=messages, answer="a", reasoning="because", job_id="j")
    pairs.insert(workspace.db, [pair])
    decide(workspace, [pair], DecisionKind.ACCEPT)
    workspace.freeze.create(owner, "plain", "prompt_completion")
    [row] = workspace.freeze.rows(owner, "plain")
    assert row["prompt"] == [m.model_dump() for m in messages]
    assert row["completion"] == [{"role": "assistant", "content": "a"}]
    workspace.freeze.create(owner, "more", include_reasoning=True, system_prompt="other")
    [row] = workspace.freeze.rows(owner, "more")
    assert [m["content"] for m in row["messages"]] == [
        "other", "q", "<think>\nbecause\n</think>\n\na",
    ]  # fmt: skip


def test_preferences_follow_the_majority_and_the_texts_in_force(
    workspace: Workspace, owner: Actor
) -> None:
    good = add_pairs(workspace, 3, accept=False)
    bad = [another(pair, 1, "no") for pair in good]
    pairs.insert(workspace.db, bad)
    decide(workspace, [good[2]], DecisionKind.EDIT, "no")  # now both texts are the same

    def vote(a: Pair, b: Pair, outcome: str = "win") -> Preference:
        return Preference(
            seed_id=a.seed_id, chosen_pair_id=a.id, rejected_pair_id=b.id,
            outcome=outcome, source="person",
        )  # fmt: skip

    votes = [vote(good[0], bad[0])] * 1 + [vote(good[0], bad[0]), vote(bad[0], good[0])]
    votes += [vote(good[1], bad[1]), vote(bad[1], good[1])]
    votes += [vote(good[2], bad[2]), vote(good[0], bad[0], "tie")]
    preferences.insert(workspace.db, votes)
    snapshot = workspace.freeze.create(owner, "dpo", "preference")
    [row] = workspace.freeze.rows(owner, "dpo")
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("answer 0", "no")
    assert snapshot.manifest["counts"]["left_out"] == {
        "voters disagree evenly": 2,
        "no winner (tie)": 1,
        "both answers are the same text": 1,
        "outvoted": 1,
        "same comparison voted again": 1,
    }


def test_a_row_that_curation_took_out_is_not_told_as_undecided(
    workspace: Workspace, owner: Actor
) -> None:
    add_pairs(workspace, 2)
    undecided = add_pairs(workspace, 4, accept=False, topic="open")
    refused = add_pairs(workspace, 1, accept=False, topic="bad")
    decide(workspace, refused, DecisionKind.REJECT)
    for pair in (undecided[0], undecided[1], refused[0]):
        curate(workspace, pair, "filtered", "length: 3 words")
    curate(workspace, undecided[2], "duplicate", "lost to x")
    left_out = workspace.freeze.preview(owner).left_out
    assert left_out == {"filtered: length": 2, "duplicate": 1, "pending": 1, "rejected": 1}
    gone = {one.code: one.rows for one in workspace.report.dataset(owner).gone}
    assert gone == {"length": 2, "near": 1, "rejected": 1}  # as the report tells it
    filtered = PairQuery(curation="filtered")
    assert workspace.freeze.preview(owner, query=filtered).left_out == {
        "kept": 3, "pending": 2, "duplicate": 1, "rejected": 1,
    }  # fmt: skip


def test_unpaired_rows_are_the_accepted_and_the_rejected_with_a_label(
    workspace: Workspace, owner: Actor
) -> None:
    accepted = add_pairs(workspace, 12, topic="good")
    refused = add_pairs(workspace, 8, topic="bad", accept=False, answer="no")
    decide(workspace, refused, DecisionKind.REJECT)
    add_pairs(workspace, 3, topic="open", accept=False)
    curate(workspace, refused[0], "filtered", "length: too short")
    preview = workspace.freeze.preview(owner, "unpaired")
    assert (preview.rows, preview.train_rows + preview.validation_rows) == (19, 19)
    assert preview.left_out == {"pending": 3, "rejected and not kept": 1}
    snapshot = workspace.freeze.create(owner, "kto", "unpaired", validation_share=0.2)
    assert snapshot.format == "unpaired"
    rows = all_rows(workspace, owner, "kto")
    assert {row["id"] for row in rows if row["label"]} == {pair.id for pair in accepted}
    assert {row["id"] for row in rows if not row["label"]} == {pair.id for pair in refused[1:]}
    assert {row["completion"][0]["content"] for row in rows if not row["label"]} == {"no"}
    again = workspace.freeze.create(owner, "kto-2", "unpaired", validation_share=0.2)
    assert again.content_hash == snapshot.content_hash


def test_a_judges_preference_counts_only_where_no_person_has_said_anything(
    workspace: Workspace, owner: Actor
) -> None:
    good = add_pairs(workspace, 4, accept=False)
    bad = [another(pair, 1, "no") for pair in good]
    pairs.insert(workspace.db, bad)

    def said(a: Pair, b: Pair, source: str, outcome: str = "win") -> Preference:
        return Preference(
            seed_id=a.seed_id, chosen_pair_id=a.id, rejected_pair_id=b.id,
            outcome=outcome, source=source,
        )  # fmt: skip

    told = [said(good[n], bad[n], "judge") for n in range(4)]
    told.append(said(bad[0], good[0], "person"))
    told.append(said(good[1], bad[1], "person", "tie"))
    told.append(said(good[2], bad[2], "arena"))
    preferences.insert(workspace.db, told)
    snapshot = workspace.freeze.create(owner, "dpo", "preference")
    chosen = [row["chosen"][0]["content"] for row in workspace.freeze.rows(owner, "dpo")]
    assert sorted(chosen) == ["answer 2", "answer 3", "no"]
    assert snapshot.manifest["counts"]["left_out"] == {
        "a judge's, where people have voted": 3,
        "no winner (tie)": 1,
    }


def test_terms_of_teachers_are_carried_and_warned_about(workspace: Workspace, owner: Actor) -> None:
    for name, licence in (("a", "Apache-2.0"), ("b", "no competing models")):
        config = TeacherConfig(name=name, kind=TeacherKind.LOCAL, model="m", licence_note=licence)
        teachers.save(workspace.db, config)
        add_pairs(workspace, 2, teacher=name, topic=name)
    preview = workspace.freeze.preview(owner)
    assert preview.teachers["b"] == {"rows": 2, "licence_note": "no competing models"}
    assert any("different terms" in text for text in preview.warnings)
    only = workspace.freeze.preview(owner, query=PairQuery(teacher="a"))
    assert (only.rows, any("different" in text for text in only.warnings)) == (2, False)


def test_names_conflicts_leftovers_and_trash(workspace: Workspace, owner: Actor) -> None:
    add_pairs(workspace, 2)
    for name in ("", "../x", "A", ".x", "a" * 64):
        with pytest.raises(InvalidInput):
            workspace.freeze.create(owner, name)
    (workspace.folder / "snapshots" / "first").mkdir()  # a crash between folder and store
    workspace.freeze.create(owner, "first")
    with pytest.raises(Conflict):
        workspace.freeze.create(owner, "first")
    with pytest.raises(NotAllowed):
        workspace.freeze.delete(Actor(user="r", role=Role.REVIEWER), "first")
    place = workspace.freeze.delete(owner, "first")
    assert (workspace.studio.home / place / "manifest.json").is_file()
    with pytest.raises(NotFound):
        workspace.freeze.get(owner, "first")


def test_a_tampered_snapshot_is_refused(workspace: Workspace, owner: Actor) -> None:
    add_pairs(workspace, 2)
    workspace.freeze.create(owner, "first")
    path = workspace.freeze.folder("first") / "train.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Conflict, match="not what was frozen"):
        workspace.freeze.folder("first")


def test_datasets_loads_the_folder(
    workspace: Workspace, owner: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    add_pairs(workspace, 20)
    workspace.freeze.create(owner, "first")
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(
        str(workspace.freeze.folder("first")), cache_dir=str(tmp_path / "cache")
    )
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 18, "validation": 2}
    assert loaded["train"][0]["messages"][1]["role"] == "assistant"
    assert json.loads((workspace.freeze.folder("first") / "manifest.json").read_text())


def test_a_quick_preview_of_many_rows_only_counts(
    workspace: Workspace, owner: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(workspace, 12)
    monkeypatch.setattr("distill_studio.services.freeze._QUICK_ROWS", 10)
    quick = workspace.freeze.preview(owner, validation_share=0.25, quick=True)
    assert (quick.rows, quick.train_rows, quick.validation_rows) == (12, 9, 3)
    assert (quick.is_estimate, len(quick.examples), quick.teachers["t"]["rows"]) == (True, 3, 12)
    full = workspace.freeze.preview(owner, validation_share=0.25)
    assert full.model_copy(update={"is_estimate": True, "groups": 0, "warnings": []}) == quick


def test_the_starter_teachers_terms_reach_the_preview(workspace, owner):
    starter = workspace.teachers.page(owner)[0]
    add_pairs(workspace, 2, teacher=starter.name)
    found = workspace.freeze.preview(owner)
    assert found.teachers[starter.name]["licence_note"] == starter.licence_note != ""
    assert not [warning for warning in found.warnings if "terms" in warning]


def test_the_manifest_tells_of_people_who_agree(workspace: Workspace, owner: Actor) -> None:
    made = add_pairs(workspace, 12, source="a.csv", recipe="answer", model="org/m")
    for number, pair in enumerate(made):
        kind = DecisionKind.REJECT if number == 0 else DecisionKind.ACCEPT
        said = Decision(id=f"rita-{pair.id}"[:64], pair_id=pair.id, kind=kind)
        decisions.record(workspace.db, "rita", [said])
    workspace.freeze.create(owner, "first")
    manifest = read_manifest(workspace.freeze.folder("first"))
    assert manifest["sources"] == {"a.csv": manifest["counts"]["taken"]}
    assert manifest["recipes"] == {"answer": manifest["counts"]["taken"]}
    assert manifest["teachers"]["t"]["models"] == ["org/m"]
    assert manifest["people"] >= 1
    assert manifest["agreement"]["items"] == 12
    assert manifest["agreement"]["percent"] == pytest.approx(11 / 12)
    card = (workspace.freeze.folder("first") / "README.md").read_text(encoding="utf-8")
    assert "(12 rows), they agreed on 92%; Krippendorff's alpha is" in card
