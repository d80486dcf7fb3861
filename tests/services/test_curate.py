"""The curate stage over a real store, with an embedder made of word counts."""

import json

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import DecisionKind, PairStatus
from distill_studio.curate.filters import (
    Answer,
    LengthConfig,
    PrivacyConfig,
    RefusalConfig,
    default_filters,
    first_drop,
    measure_all,
)
from distill_studio.curate.reports import CurateSettings, NearChoices
from distill_studio.services import curation_work, operations
from distill_studio.store import pairs
from tests.services.curate_rows import (
    BEES,
    RAIN,
    SHIPS,
    curation,
    decide,
    done,
    pair,
    snapshot,
    store,
    talk,
)

# -- filters --------------------------------------------------------------------------------


def test_sql_drops_what_the_pure_filters_drop(workspace, curate, owner):
    texts = ["", "ok", BEES, "I'm sorry, but I can't help.", "a b c d e f g " * 40, "```\nx"]
    ids = store(workspace, *(pair(f"q{k}", text) for k, text in enumerate(texts)))
    filters = [LengthConfig(min_words=2), *default_filters()[2:], default_filters()[0]]
    report = curate.apply(owner, filters)
    expected = {
        one: drop.filter
        for one, text in zip(ids, texts, strict=True)
        if (drop := first_drop(filters, measure_all(Answer(text))))
    }
    dropped = {one: curate.explain(owner, one) for one in ids if curation(workspace)[one] != "kept"}
    assert {one: why.code for one, why in dropped.items()} == expected
    assert sum(report.by_reason.values()) == len(expected)
    assert report.kept == 6 - len(expected)


def test_preview_moves_the_line_without_reading_texts_again(workspace, curate, owner, monkeypatch):
    store(workspace, *(pair(f"q{k}", "word " * k) for k in range(1, 21)))
    first = curate.preview(owner, [LengthConfig(min_words=5)])
    assert (first.considered, first.dropped, first.unmeasured) == (20, 4, 0)
    monkeypatch.setattr(curation_work, "measure_all", lambda answer: pytest.fail("measured again"))
    second = curate.preview(owner, [LengthConfig(min_words=11)])
    assert second.dropped == 10
    shown = second.filters[0]
    assert [example.score for example in shown.dropped] == [10, 9, 8]
    assert [example.score for example in shown.kept] == [11, 12, 13]
    assert shown.dropped[0].reason == "10 words, fewer than 11"


def test_an_edit_is_measured_and_a_rejected_row_is_left_out(workspace, curate, owner):
    one, two = store(workspace, pair("q", "short"), pair("q2", "short"))
    short = [LengthConfig(min_words=3)]
    assert curate.preview(owner, short).dropped == 2
    decide(workspace, one, DecisionKind.EDIT, answer="now it is long enough")
    decide(workspace, two, DecisionKind.REJECT)
    again = curate.preview(owner, short)
    assert (again.considered, again.dropped, again.protected) == (1, 0, 0)


def test_an_accepted_row_that_fails_is_kept_and_counted(workspace, curate, owner):
    (one,) = store(workspace, pair("q", "short"))
    decide(workspace, one, DecisionKind.ACCEPT)
    report = curate.apply(owner, [LengthConfig(min_words=3)])
    assert (report.filtered, report.protected, curation(workspace)[one]) == (0, 1, "kept")
    report = curate.apply(owner, [LengthConfig(min_words=3)], remove_accepted=True)
    assert (report.filtered, curation(workspace)[one]) == (1, "filtered")


def test_personal_data_is_found_in_every_turn_and_in_reasoning(workspace, curate, owner):
    mail = "jane.doe@firma.de"
    turns = [
        ("system", f"You answer for {mail}."),
        ("user", f"I am {mail}."),
        ("assistant", f"Hello {mail}."),
        ("user", f"Is it {mail}?"),
    ]
    hidden = [talk(turns, k) for k in range(len(turns))]
    thought = pair("Why?", BEES, reasoning=f"Ask {mail} first.")
    clean = pair("Why do ships float?", SHIPS)
    store(workspace, *hidden, thought, clean)
    report = curate.apply(owner, [PrivacyConfig(action="drop")])
    assert report.by_reason == {"privacy": 5}
    assert curation(workspace)[clean.id] == "kept"
    assert "an e-mail address: jan…" in curate.explain(owner, thought.id).reason
    assert curate.explain(owner, hidden[3].id).score == 1.0, "one address, wherever it is read"


# -- near-duplicates ------------------------------------------------------------------------


def test_dedup_in_one_job(workspace, curate, owner, bees):
    a, b, c, d = bees
    report = done(workspace, owner, curate.dedup(owner, threshold=0.85))
    assert (report["duplicates"], report["kept"]) == (2, 2)
    assert curation(workspace) == {a: "kept", b: "duplicate", c: "duplicate", d: "kept"}
    near, exact = curate.explain(owner, b), curate.explain(owner, c)
    assert (near.code, exact.code, exact.score) == ("near", "exact", 1.0)
    assert near.lost_to.pair_id == exact.lost_to.pair_id == a
    assert 0.85 <= near.score < 1.0
    counted = [(t["topic"], t["total"], t["removed"], t["by_reason"]) for t in report["by_topic"]]
    assert counted == [("nature", 3, 2, {"exact": 1, "near": 1}), ("physics", 1, 0, {})]


def test_equal_rows_are_found_without_any_vectors(workspace, curate, owner, embedder, bees):
    preview = curate.dedup_preview(owner)
    assert (preview.removed, preview.exact, preview.model) == (1, 1, "")
    assert not embedder.embedded


def test_both_needs_prompt_and_answer_alike(workspace, curate, owner):
    store(workspace, pair("How do bees make honey?", BEES), pair("Why do ships float?", BEES))
    done(workspace, owner, curate.embed(owner))
    done(workspace, owner, curate.embed(owner, "answer"))
    assert curate.dedup_preview(owner, "both", 0.85).removed == 0
    assert curate.dedup_preview(owner, "answer", 0.85).removed == 1
    assert curate.dedup_preview(owner, "prompt", 0.85).removed == 0


def test_candidates_of_a_seed(workspace, curate, owner):
    question = "How do bees make honey?"
    store(
        workspace,
        pair(question, BEES, seed="s"),
        pair(question, RAIN, seed="s"),
        pair(question, BEES + " months", seed="s"),
        pair(question + " Tell", SHIPS, seed="t"),
    )
    done(workspace, owner, curate.embed(owner))
    both = curate.dedup_preview(owner, "both", 0.85)
    assert (both.removed, both.borderline) == (0, [])  # candidates, for Prefer to compare
    copy = pair(question, BEES.upper(), seed="s")
    store(workspace, copy)
    assert curate.dedup_preview(owner, "both", 0.85).removed == 1  # but a copy goes
    prompt = curate.dedup_preview(owner, "prompt", 0.85)
    assert prompt.removed == 1  # the other seed's row, none of the candidates, no copy


def test_a_rejected_row_removes_nobody_and_its_copies_come_back(workspace, curate, owner, bees):
    a, b, c, _ = bees
    done(workspace, owner, curate.dedup(owner, threshold=0.85))
    decide(workspace, a, DecisionKind.REJECT)
    assert curate.state(owner).outdated > 0
    report = curate.settle(owner)
    assert report.duplicates == 1
    kept = {one for one, state in curation(workspace).items() if state == "kept"}
    assert len(kept & {b, c}) == 1
    assert curate.state(owner).outdated == 0


def test_a_filtered_row_removes_nobody(workspace, curate, owner):
    tail = " As an AI, I like it."
    first, second = store(
        workspace,
        pair("How do bees make honey?", BEES + tail),
        pair("How do bees make honey?", BEES),
    )
    done(workspace, owner, curate.dedup(owner, threshold=0.7, filters=[RefusalConfig()]))
    assert curation(workspace) == {first: "filtered", second: "kept"}


def test_accepted_first_then_score_then_age(workspace, curate, owner):
    ids = store(
        workspace,
        pair("q same", BEES),
        pair("q same", BEES, judge_score=1.0),
        pair("q same", BEES, judge_score=2.0),
        pair("q same", BEES),
    )
    curate.apply(owner)
    assert [one for one in ids if curation(workspace)[one] == "kept"] == [ids[2]]
    decide(workspace, ids[3], DecisionKind.ACCEPT)
    curate.settle(owner)
    assert [one for one in ids if curation(workspace)[one] == "kept"] == [ids[3]]


@pytest.mark.parametrize(
    ("choices", "kept"),
    [
        ({}, 1),
        ({"priority": "judge"}, 1),
        ({"priority": "oldest"}, 0),
        ({"priority": "newest"}, 3),
        ({"priority": "longest"}, 2),
        ({"priority": "shortest"}, 3),
        ({"priority": "teacher", "teacher": "small"}, 2),
        ({"priority": "teacher", "teacher": "nobody"}, 1),
    ],
)
def test_who_stays_is_a_choice_and_what_people_accepted_stays_first(
    workspace, curate, owner, choices, kept
):
    ids = store(
        workspace,
        pair("q same", BEES + "!", teacher="big"),
        pair("q same", BEES + "?", teacher="big", judge_score=2.0),
        pair("q same", BEES + " . ...", teacher="small"),
        pair("q same", BEES, teacher="small", judge_score=-1.0),
    )
    near = NearChoices(**choices)
    if choices.get("teacher") == "small":
        kept = 3  # of the preferred teacher's answers the one with a score
    assert curate.dedup_preview(owner, near=near).largest[0].kept.pair_id == ids[kept]
    curate.apply(owner, near=near)
    assert [one for one in ids if curation(workspace)[one] == "kept"] == [ids[kept]]
    decide(workspace, ids[2], DecisionKind.ACCEPT)
    curate.settle(owner)
    assert [one for one in ids if curation(workspace)[one] == "kept"] == [ids[2]]


def test_within_one_topic_only(workspace, curate, owner):
    ids = store(
        workspace,
        pair("How do bees make honey?", BEES, topic="nature"),
        pair("How do bees make their honey?", BEES + " months", topic="nature"),
        pair("How do bees make honey?", BEES, topic="food"),
        pair("How do bees make honey?", BEES.upper()),
        pair("How do bees make their honey?", BEES + " month"),
    )
    done(workspace, owner, curate.embed(owner))
    assert curate.dedup_preview(owner, threshold=0.85).removed == 4
    within = NearChoices(within_topic=True)
    preview = curate.dedup_preview(owner, threshold=0.85, near=within)
    assert (preview.removed, preview.exact) == (2, 0)
    curate.apply(owner, threshold=0.85, near=within)
    states = curation(workspace)
    assert [states[one] for one in ids] == ["kept", "duplicate", "kept", "kept", "duplicate"]
    assert curate.plan_report(owner, threshold=0.85).changed == 0, "the choice is in force"


def test_settings_from_before_there_was_a_choice_still_load():
    old = CurateSettings().model_dump(mode="json")
    del old["near"]
    assert CurateSettings.model_validate(old).near == NearChoices()


def test_an_accepted_copy_is_a_conflict_until_a_person_settles_it(workspace, curate, owner, bees):
    a, b, c, _ = bees
    for one in (a, b, c):
        decide(workspace, one, DecisionKind.ACCEPT)
    done(workspace, owner, curate.dedup(owner, threshold=0.85))
    assert set(curation(workspace).values()) == {"kept"}
    preview = curate.dedup_preview(owner, threshold=0.85)
    assert (preview.removed, preview.conflicts) == (0, 2)
    assert {p.a.pair_id for p in preview.conflict_pairs} == {a}

    curate.override(owner, a, b, "keep_both")
    curate.override(owner, c, a, "keep_b")  # a stays, c goes
    report = curate.apply(owner, threshold=0.85)
    assert (report.duplicates, report.conflicts) == (1, 0) or report.conflicts == 1
    assert curation(workspace)[c] == "duplicate"
    assert curation(workspace)[b] == "kept"
    assert curate.compare(owner, b, a).verdict == "keep_both"
    assert curate.compare(owner, a, c).verdict == "keep_a"
    curate.override(owner, a, c, "clear")
    assert curate.compare(owner, a, c).verdict == ""


# -- apply, undo, history -------------------------------------------------------------------


def test_undo_restores_exactly_level_by_level(workspace, curate, owner, bees):
    states = [snapshot(workspace)]
    curate.apply(owner)
    states.append(snapshot(workspace))
    curate.apply(owner, [LengthConfig(min_words=17)])
    states.append(snapshot(workspace))
    assert states[0] != states[1] != states[2]
    curate.undo(owner)
    assert snapshot(workspace) == states[1]
    assert curate.state(owner).settings.filters == default_filters()
    curate.undo(owner)
    assert snapshot(workspace) == states[0]
    assert not curate.state(owner).is_applied
    with pytest.raises(InvalidInput, match="nothing to undo"):
        curate.undo(owner)
    history = curate.history(owner)
    assert [entry.undone_by for entry in history] == ["owner", "owner"]


def test_applying_twice_changes_nothing(workspace, curate, owner, bees):
    first = curate.apply(owner, threshold=0.85)
    second = curate.apply(owner, threshold=0.85)
    assert first.changed > 0
    assert (second.changed, second.action) == (0, 0)
    assert second.duplicates == first.duplicates
    assert len(curate.history(owner)) == 1


def test_what_is_left_out_is_as_in_force(workspace, curate, owner, bees):
    decide(workspace, bees[0], DecisionKind.ACCEPT)
    decide(workspace, bees[2], DecisionKind.ACCEPT)
    used = curate.apply(owner, field="answer", threshold=0.95, remove_accepted=True).settings
    assert (used.field, used.remove_accepted) == ("answer", True)
    assert curate.apply(owner).settings == used
    assert curate.plan_report(owner).settings == used
    assert curate.dedup_preview(owner).field == "answer"
    assert done(workspace, owner, curate.dedup(owner))["settings"] == used.model_dump(mode="json")
    changed = curate.apply(owner, field="both", remove_accepted=False).settings
    assert (changed.field, changed.remove_accepted) == ("both", False)
    assert changed.threshold == 0.95


def test_plan_report_says_what_apply_does(workspace, curate, owner, bees):
    planned = curate.plan_report(owner, threshold=0.85)
    assert set(curation(workspace).values()) == {"kept"}
    applied = curate.apply(owner, threshold=0.85)
    assert planned == applied.model_copy(update={"action": 0})


def test_operations_take_and_give_json(workspace, curate, owner, bees):
    filters = [{"kind": "length", "min_words": 3}, {"kind": "refusal", "strictness": "refusals"}]
    for name, arguments in (
        ("curate_preview", {"filters": filters}),
        ("curate_apply", {"filters": filters, "threshold": 0.9}),
        ("curate_state", {}),
        ("curate_history", {}),
        ("curate_explain", {"pair_id": bees[2]}),
        ("curate_compare", {"a": bees[0], "b": bees[1]}),
        ("curate_dedup_preview", {}),
        ("curate_undo", {}),
    ):
        json.dumps(operations.call(workspace, owner, name, arguments))
    with pytest.raises(InvalidInput, match="filters"):
        operations.call(workspace, owner, "curate_preview", {"filters": [{"kind": "magic"}]})


def test_what_is_refused(workspace, curate, owner, bees):
    viewer = Actor(user="eve", role=Role.VIEWER)
    for refused in (
        lambda: curate.apply(viewer),
        lambda: curate.undo(viewer),
        lambda: curate.embed(viewer),
        lambda: curate.dedup(viewer),
        lambda: curate.override(viewer, bees[0], bees[1], "keep_both"),
    ):
        with pytest.raises(NotAllowed):
            refused()
    assert curate.state(viewer).total == 4
    with pytest.raises(InvalidInput, match=r"0\.5 and 1"):
        curate.apply(owner, threshold=1.5)
    with pytest.raises(InvalidInput, match="floor"):
        curate.embed(owner, floor=0.0)
    with pytest.raises(InvalidInput, match="itself"):
        curate.override(owner, bees[0], bees[0], "keep_both")
    for missing in (lambda: curate.explain(owner, "x"), lambda: curate.compare(owner, "x", "y")):
        with pytest.raises(NotFound):
            missing()


def test_an_empty_workspace(workspace, curate, owner):
    assert curate.state(owner).total == 0
    assert curate.preview(owner).considered == 0
    assert curate.dedup_preview(owner).removed == 0
    assert done(workspace, owner, curate.dedup(owner))["kept"] == 0


def test_status_of_a_pair_is_never_touched(workspace, curate, owner, bees):
    decide(workspace, bees[0], DecisionKind.ACCEPT)
    curate.apply(owner, threshold=0.85)
    assert pairs.get(workspace.db, [bees[0]])[0].status is PairStatus.ACCEPTED
