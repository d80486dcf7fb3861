"""Rows that came since the last look: a pipeline looks at them, and what it cannot is said."""

import json

import pytest

from distill_studio.core.records import JobState
from distill_studio.curate.filters import LikelihoodConfig, default_filters
from distill_studio.ui.panels.curate_html import state_html
from tests.services.test_leak_sets import given
from tests.services.test_leaks import (
    DUCKS,
    LONG,
    OTHER,
    TRAIN,
    WordCounts,
    done,
    states,
    store,
    upload,
)


@pytest.fixture
def embedder(workspace, monkeypatch):
    made = WordCounts()
    monkeypatch.setattr(workspace.studio.models, "embedder", lambda *_: made, raising=False)
    return made


def nightly(workspace, owner):
    ended = workspace.jobs.wait(owner, workspace.pipelines.run(owner, "nightly").id, 60)
    assert ended.state is JobState.DONE, ended.error
    return ended.result


def test_a_pipeline_checks_new_rows_for_leaks_before_it_applies(workspace, owner, tmp_path):
    workspace.leaks.add(owner, upload(workspace, tmp_path, [DUCKS]))
    store(workspace, (OTHER, LONG))
    done(workspace, owner, workspace.leaks.check(owner))
    workspace.pipelines.save(owner, "nightly")
    assert nightly(workspace, owner)["filtered"] == 0

    [leaked] = store(workspace, (f"Solve: {DUCKS}", "13 of them."))
    given(workspace, TRAIN)  # an evaluation set that nobody has looked at
    [also] = store(workspace, (f"Solve: {TRAIN}", "28 of them are left."))
    state = workspace.curate.state(owner)
    assert state.unseen.unchecked == 3  # the old row was not checked against the new set
    assert "3 rows were not checked for benchmark leaks, so" in state_html(state)

    result = nightly(workspace, owner)
    assert (result["by_reason"], result["unchecked"]) == ({"contaminated": 2}, 0)
    assert {states(workspace)[one][0] for one in (leaked, also)} == {"filtered"}
    state = workspace.curate.state(owner)
    assert state.unseen.in_words() == []
    assert "not checked" not in state_html(state)


def test_a_pipeline_without_that_filter_checks_nothing(workspace, owner, tmp_path):
    workspace.leaks.add(owner, upload(workspace, tmp_path, [DUCKS]))
    store(workspace, (f"Solve: {DUCKS}", LONG))
    off = [c for c in default_filters() if c.kind != "contaminated"]
    off.append(next(c for c in default_filters() if c.kind == "contaminated"))
    off[-1] = off[-1].model_copy(update={"is_on": False})
    workspace.pipelines.save(owner, "nightly", off)
    result = nightly(workspace, owner)
    assert (result["filtered"], result["unchecked"]) == (0, 0)
    assert workspace.leaks.packs(owner)[0].unchecked == 1


def add_reference(workspace, owner, name, *rows):
    upload_id, path = workspace.studio.uploads.new_path(f"{name}.jsonl")
    path.write_text("\n".join(json.dumps({"prompt": p, "answer": a}) for p, a in rows))
    workspace.references.add(owner, upload_id)


def test_a_pipeline_compares_new_rows_with_other_datasets(workspace, owner, embedder):
    add_reference(workspace, owner, "held_out", (OTHER, LONG))
    store(workspace, ("What is rain?", "Water that falls from clouds when they grow heavy."))
    done(workspace, owner, workspace.references.compare(owner))
    workspace.pipelines.save(owner, "nightly", compares=False)
    [near] = store(workspace, (OTHER, f"{LONG} Indeed."))
    assert workspace.curate.state(owner).unseen.uncompared == 1
    result = nightly(workspace, owner)
    assert (result["by_reason"], result["uncompared"]) == ({"reference": 1}, 0)
    assert states(workspace)[near][0] == "filtered"

    # Never compared with: that would embed everything, so it is said and left to people ...
    add_reference(workspace, owner, "new", ("Who was first?", "Nobody knows who was the first."))
    result = nightly(workspace, owner)
    assert result["uncompared"] == 2
    state = workspace.curate.state(owner)
    assert "2 rows were not compared with another dataset, so" in state_html(state)
    # ... unless the pipeline compares meanings anyway.
    workspace.pipelines.save(owner, "nightly", compares=True)
    assert nightly(workspace, owner)["uncompared"] == 0


def test_rows_without_a_likelihood_are_told(workspace, owner):
    store(workspace, (OTHER, LONG), (TRAIN, LONG + " Twice."))
    filters = [*default_filters()[:1], LikelihoodConfig(is_on=True, model="small")]
    workspace.pipelines.save(owner, "nightly", filters)
    result = nightly(workspace, owner)
    assert (result["unscored"], result["filtered"]) == (2, 0)
    assert "2 rows were not scored for likelihood, so" in state_html(workspace.curate.state(owner))
