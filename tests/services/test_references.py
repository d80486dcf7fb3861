"""Near-duplicates against another dataset: found, shown, removed, undone; nothing comes in."""

import json

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import DecisionKind
from distill_studio.curate.filters import ReferenceConfig
from tests.services.curate_rows import (
    BEES,
    RAIN,
    SHIPS,
    WordCounts,
    curation,
    decide,
    done,
    pair,
    store,
)

HONEY = "How do bees make honey?"


@pytest.fixture
def embedder(workspace, monkeypatch):
    made = WordCounts()
    monkeypatch.setattr(workspace.studio.models, "embedder", lambda: made, raising=False)
    return made


@pytest.fixture
def rows(workspace):
    """Near to the other dataset, equal to it but for case, only its prompt, something else."""
    return store(
        workspace,
        pair(HONEY, BEES + " months"),
        pair("what is rain", RAIN.upper()),
        pair("Why do ships float?", BEES),
        pair("Something else", SHIPS),
    )


def add(workspace, owner, text, name="held_out.jsonl"):
    upload_id, path = workspace.studio.uploads.new_path(name)
    path.write_text(text, encoding="utf-8")
    return workspace.references.add(owner, upload_id)


def lines(*rows):
    return "\n".join(json.dumps({"prompt": p, "answer": a}) for p, a in rows)


OTHER = lines((HONEY, BEES), ("What is rain?", RAIN), ("Why do ships float?", SHIPS))


def test_equal_rows_are_known_at_once_and_near_ones_when_compared(workspace, embedder, owner, rows):
    added = add(workspace, owner, OTHER)
    assert (added.reference.name, added.reference.items) == ("held_out", 3)
    assert (added.reference.rows, added.reference.exact) == (1, 1)
    assert added.reference.uncompared is None
    assert not embedder.embedded
    before = workspace.curate.state(owner).total
    done(workspace, owner, workspace.references.compare(owner))
    (one,) = workspace.references.sets(owner)
    assert (one.rows, one.exact, one.uncompared) == (2, 1, 0)
    near, equal = workspace.references.pairs(owner, "held_out")
    assert (near.row.pair_id, near.item, near.is_exact) == (rows[0], 0, False)
    assert (equal.row.pair_id, equal.item, equal.is_exact) == (rows[1], 1, True)
    assert 0.9 <= near.similarity < 1.0
    assert [text.split() for where, text in near.answer_diff if where == "left"] == [["months"]]
    assert workspace.curate.state(owner).total == before, "nothing of it became a row"


def test_they_go_with_a_reason_and_come_back(workspace, embedder, owner, rows):
    add(workspace, owner, OTHER)
    done(workspace, owner, workspace.references.compare(owner))
    curate = workspace.curate
    report = curate.apply(owner)
    assert report.by_reason == {"reference": 2}
    states = curation(workspace)
    assert [states[one] for one in rows] == ["filtered", "filtered", "kept", "kept"]
    why = curate.explain(owner, rows[0])
    assert why.code == "reference"
    assert "near a row of held_out" in why.reason
    assert why.score == workspace.references.pairs(owner, "held_out")[0].similarity
    curate.undo(owner)
    assert set(curation(workspace).values()) == {"kept"}

    stricter = [ReferenceConfig(threshold=0.995)]
    assert curate.apply(owner, stricter).filtered == 1
    assert curate.apply(owner, [ReferenceConfig(field="prompt")]).filtered == 3  # equal prompts
    assert curate.apply(owner, [ReferenceConfig(is_on=False)]).filtered == 0
    curate.apply(owner, [ReferenceConfig()])
    workspace.references.delete(owner, "held_out")
    assert curate.settle(owner).filtered == 0, "without it they come back"


def test_an_accepted_row_stays(workspace, embedder, owner, rows):
    decide(workspace, rows[1], DecisionKind.ACCEPT)
    add(workspace, owner, OTHER)
    report = workspace.curate.apply(owner)
    assert (report.filtered, report.protected) == (0, 1)


def test_new_rows_are_compared_alone(workspace, embedder, owner, rows):
    add(workspace, owner, OTHER)
    done(workspace, owner, workspace.references.compare(owner))
    before = len(embedder.embedded)
    store(workspace, pair(HONEY, BEES + " long"))
    result = done(workspace, owner, workspace.references.compare(owner))
    assert result["compared"] == {"held_out": 1}
    assert embedder.embedded[before:] == [BEES + " long"]
    assert workspace.references.sets(owner)[0].rows == 3


def test_long_texts_alike_in_their_first_window_only_are_not_near(workspace, embedder, owner):
    start = " ".join(BEES.split()[k % 17] for k in range(20))
    store(workspace, pair("same q", f"{start} {SHIPS}"))
    add(workspace, owner, lines(("same q", f"{start} {RAIN}")))
    done(workspace, owner, workspace.references.compare(owner))
    assert workspace.references.pairs(owner, "held_out", threshold=0.8) == []


def test_another_workspace(workspace, studio, embedder, owner, rows):
    other = studio.workspace("older", create=True)
    _, gone = store(other, pair(HONEY, BEES), pair("what is rain?", RAIN))
    decide(other, gone, DecisionKind.REJECT)
    added = workspace.references.add_workspace(owner, "older").reference
    assert (added.name, added.source, added.items) == ("older", "workspace older", 1)
    done(workspace, owner, workspace.references.compare(owner))
    assert [one.row.pair_id for one in workspace.references.pairs(owner, "older")] == [rows[0]]
    assert other.db.value("SELECT count(*) FROM pairs") == 2


def test_what_is_refused(workspace, studio, embedder, owner, rows):
    add(workspace, owner, OTHER)
    with pytest.raises(Conflict, match="held_out"):
        add(workspace, owner, OTHER)
    with pytest.raises(InvalidInput, match="No column"):
        add(workspace, owner, '{"colour": "red"}', "colours.jsonl")
    with pytest.raises(InvalidInput):
        add(workspace, owner, "\x00\x01", "broken.parquet")
    with pytest.raises(InvalidInput, match="itself"):
        workspace.references.add_workspace(owner, "main")
    with pytest.raises(NotFound, match="nowhere"):
        workspace.references.add_workspace(owner, "nowhere")
    assert "nowhere" not in studio.workspace_names()
    studio.workspace("empty", create=True)
    with pytest.raises(InvalidInput, match="no rows"):
        workspace.references.add_workspace(owner, "empty")
    with pytest.raises(NotFound, match="nothing"):
        workspace.references.pairs(owner, "nothing")
    with pytest.raises(InvalidInput, match=r"0\.8"):
        workspace.references.pairs(owner, "held_out", threshold=0.2)
    viewer = Actor(user="eve", role=Role.VIEWER)
    with pytest.raises(NotAllowed):
        workspace.references.compare(viewer)
    assert [one.name for one in workspace.references.sets(viewer)] == ["held_out"]
    workspace.references.delete(owner, "held_out")
    with pytest.raises(InvalidInput, match="no dataset"):
        workspace.references.compare(owner)
