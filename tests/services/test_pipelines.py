"""Pipelines: saved, carried elsewhere, run again on new rows, named in the history, undone."""

import json

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import JobState, Message, Pair
from distill_studio.curate.filters import LengthConfig, PrivacyConfig, default_filters
from distill_studio.services import operations
from distill_studio.store import pairs

LONG = "This answer is long enough to stay, for it has more than eight words."


def store(workspace, *answers, topic="t"):
    rows = [
        Pair(
            seed_id=f"s{topic}{k}{answer[:9]}",
            messages=(Message(role="user", content=f"{topic} {k}"),),
            answer=answer,
            topic=topic,
        )
        for k, answer in enumerate(answers)
    ]
    pairs.insert(workspace.db, rows)
    return [row.id for row in rows]


def filters():
    return [LengthConfig(min_words=8), PrivacyConfig(action="drop")]


def states(workspace):
    return workspace.db.rows("SELECT id, curation, curation_reason FROM pairs ORDER BY id")


def run(workspace, owner, name=""):
    job = workspace.pipelines.run(owner, name)
    return workspace.jobs.wait(owner, job.id, timeout_s=60)


def test_save_run_on_new_rows_history_and_undo(workspace, owner):
    curate = workspace.curate
    store(workspace, LONG, "too short")
    saved = workspace.pipelines.save(owner, "  Strict  one ", filters(), threshold=0.95)
    assert (saved.name, saved.compares, saved.is_in_force) == ("Strict one", False, False)
    first = run(workspace, owner, "Strict one")
    assert first.state is JobState.DONE, first.error
    assert (first.result["new_rows"], first.result["by_reason"]) == (2, {"length": 1})
    assert workspace.pipelines.page(owner)[0].is_in_force
    before = states(workspace)

    ids = store(workspace, LONG + " Mail ann@ford.org.", "short", LONG + " More.", topic="new")
    state = curate.state(owner)
    assert (state.pipeline, state.new_rows, state.outdated) == ("Strict one", 3, 2)
    again = run(workspace, owner)  # the one in force
    assert again.state is JobState.DONE, again.error
    assert again.result["new_rows"] == 3
    assert again.result["by_reason"] == {"length": 2, "privacy": 1}
    assert {t["topic"]: t["removed"] for t in again.result["by_topic"]} == {"t": 1, "new": 2}
    assert [a.pipeline for a in curate.history(owner)] == ["Strict one", "Strict one"]
    assert curate.state(owner).new_rows == 0

    curate.undo(owner)
    assert [row for row in states(workspace) if row["id"] not in ids] == before
    assert {r["curation"] for r in states(workspace) if r["id"] in ids} == {"kept"}
    assert (curate.state(owner).pipeline, curate.state(owner).new_rows) == ("Strict one", 3)


def test_a_name_alone_saves_what_is_in_force(workspace, owner):
    store(workspace, LONG)
    workspace.curate.apply(owner, filters(), "prompt", 0.95, remove_accepted=True)
    saved = workspace.pipelines.save(owner, "as it is").settings
    assert (saved.field, saved.threshold, saved.remove_accepted) == ("prompt", 0.95, True)
    assert all(one in saved.filters for one in filters())


def test_running_again_without_new_rows_changes_nothing(workspace, owner):
    store(workspace, LONG, "too short")
    workspace.pipelines.save(owner, "a", filters())
    run(workspace, owner, "a")
    result = run(workspace, owner, "a").result
    assert (result["changed"], result["action"]) == (0, 0)
    assert len(workspace.curate.history(owner)) == 1


def test_another_name_with_the_same_settings_is_named_in_the_history(workspace, owner):
    store(workspace, LONG, "too short")
    for name in ("a", "b"):
        workspace.pipelines.save(owner, name, filters())
        run(workspace, owner, name)
    assert [a.pipeline for a in workspace.curate.history(owner)] == ["b", "a"]
    workspace.curate.apply(owner, filters())
    assert workspace.curate.history(owner)[0].pipeline == "", "the form's settings have no name"


def test_export_and_import_are_each_others_inverse(workspace, owner):
    saved = workspace.pipelines.save(owner, "a", filters(), "answer", 0.93, True, compares=True)
    text = workspace.pipelines.export_text(owner, "a")
    assert workspace.pipelines.delete(owner, "a") == []
    back = workspace.pipelines.import_text(owner, text)
    assert (back.settings, back.compares, back.name) == (saved.settings, True, "a")
    assert back.settings.threshold == 0.93
    assert workspace.pipelines.import_text(owner, text, "b").settings == saved.settings
    assert "set_aside" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no json", "no JSON"),
        ({"format": "else"}, "no curation pipeline"),
        ({"version": 9}, "Version 9"),
        ({"settings": {"filters": [{"kind": "none such"}]}}, "cannot be used: settings.filters"),
        ({"settings": {"threshold": 7}}, "cannot be used: settings.threshold"),
        ({"name": ""}, "1 to 60 characters"),
    ],
)
def test_what_cannot_be_imported_is_told(workspace, owner, change, message):
    workspace.pipelines.save(owner, "a", filters())
    text = workspace.pipelines.export_text(owner, "a")
    given = change if isinstance(change, str) else json.dumps(json.loads(text) | change)
    with pytest.raises(InvalidInput, match=message):
        workspace.pipelines.import_text(owner, given)


def test_names_that_are_not_there_and_who_may(workspace, owner):
    with pytest.raises(InvalidInput, match="No pipeline is in force"):
        workspace.pipelines.run(owner)
    with pytest.raises(NotFound, match="no pipeline 'x'"):
        workspace.pipelines.run(owner, "x")
    with pytest.raises(NotAllowed):
        workspace.pipelines.save(Actor(user="v", role=Role.VIEWER), "x")
    assert workspace.pipelines.page(Actor(user="v", role=Role.VIEWER)) == []


def test_they_are_operations(workspace, owner):
    found = operations.call(
        workspace, owner, "pipelines_save",
        {"name": "api", "filters": [c.model_dump(mode="json") for c in default_filters()]},
    )  # fmt: skip
    assert found["name"] == "api"
    assert "pipelines_run" in operations.operations()
