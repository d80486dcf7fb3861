"""Leaks over a real store: packs, check, candidates, verdicts, and what curate makes of them."""

import json

import numpy as np
import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import Decision, DecisionKind, JobState, Message, Pair
from distill_studio.core.words import words
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import leak_work, operations
from distill_studio.store import decisions, pairs
from distill_studio.store import leaks as table

DUCKS = (
    "Janet keeps ducks that lay 16 eggs per day and she eats three of them for breakfast,"
    " how many eggs are left?"
)
TRAIN = (
    "A train leaves the station at noon with 40 people and 12 of them get off at the first"
    " stop, who is left?"
)
OTHER = "Why do ships float on water although they are made of steel and carry so much?"
LONG = "Because the water that they push aside weighs as much as the whole ship with its load."


class WordCounts:
    """An embedder whose vectors are hashed word counts."""

    model = "word-counts"
    dim = 64

    def windows(self, text):
        parts = text.split()
        return [" ".join(parts[k : k + 30]) for k in range(0, max(1, len(parts)), 30)]

    def embed(self, texts):
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[sum(word.encode()) * 7 % self.dim] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@pytest.fixture
def leaks(workspace, monkeypatch):
    made = WordCounts()
    monkeypatch.setattr(workspace.studio.models, "embedder", lambda *_: made, raising=False)
    return workspace.leaks


_count = iter(range(10**6))


def store(workspace, *texts, **fields):
    rows = [
        Pair(
            seed_id=f"seed-{next(_count)}",
            messages=(Message(role="user", content=prompt),),
            answer=answer,
            job_id="test",
            sample=next(_count),
            **fields,
        )
        for prompt, answer in texts
    ]
    pairs.insert(workspace.db, rows)
    return [row.id for row in rows]


def upload(workspace, tmp_path, items, name="sums.jsonl"):
    path = tmp_path / name
    lines = (json.dumps(item if isinstance(item, dict) else {"question": item}) for item in items)
    path.write_text("\n".join(lines))
    return workspace.studio.uploads.add(path)


def done(workspace, owner, job):
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert ended.state is JobState.DONE, ended.error
    return ended.result


def decide(workspace, pair_id, kind, **fields):
    said = Decision(id=f"decision-{next(_count)}", pair_id=pair_id, kind=kind, **fields)
    decisions.record(workspace.db, "owner", [said])


def states(workspace):
    rows = workspace.db.rows("SELECT id, curation, curation_reason FROM pairs")
    return {row["id"]: (row["curation"], row["curation_reason"]) for row in rows}


@pytest.fixture
def checked(workspace, leaks, owner, tmp_path):
    """Ids of a leaked row, one leaked in its answer, and a clean one, checked against `sums`."""
    leaks.add(owner, upload(workspace, tmp_path, [DUCKS, TRAIN]))
    ids = store(workspace, (DUCKS, LONG), ("Make a sum.", f"Sum: {TRAIN} 28."), (OTHER, LONG))
    done(workspace, owner, leaks.check(owner))
    return ids


# -- packs ----------------------------------------------------------------------------------


def test_a_pack_keeps_name_source_count_and_hash(workspace, leaks, owner, tmp_path):
    items = [{"question": DUCKS, "answer": "13", "task_id": "T/1"}, {"question": TRAIN}]
    added = leaks.add(owner, upload(workspace, tmp_path, items))
    assert (added.pack.name, added.pack.source, added.pack.items) == ("sums", "file sums.jsonl", 2)
    assert added.is_new
    assert len(added.pack.content_hash) == 32
    assert [pack.name for pack in leaks.packs(owner)] == ["sums"]
    again = leaks.add(owner, upload(workspace, tmp_path, items), name="other name")
    assert not again.is_new
    assert again.pack == added.pack


@pytest.mark.parametrize("ending", ["json", "csv", "parquet"])
def test_packs_come_in_every_format(workspace, leaks, owner, tmp_path, ending):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / f"set.{ending}"
    if ending == "json":
        path.write_text(json.dumps([{"query": DUCKS, "gold": "13"}]))
    elif ending == "csv":
        path.write_text(f'query,gold\n"{DUCKS}",13\n')
    else:
        pq.write_table(pa.table({"query": [DUCKS], "gold": ["13"]}), path)
    mapping = ColumnMapping(prompt="query", answer="gold")
    leaks.add(owner, workspace.studio.uploads.add(path), mapping=mapping)
    [row] = workspace.db.rows("SELECT prompt, answer, label FROM leak_items")
    assert row == {"prompt": DUCKS, "answer": "13", "label": "item 1"}


def test_what_is_wrong_with_a_pack_is_said(workspace, leaks, owner, tmp_path):
    leaks.add(owner, upload(workspace, tmp_path, [DUCKS]))
    with pytest.raises(Conflict, match="benchmark 'sums' already"):
        leaks.add(owner, upload(workspace, tmp_path, [TRAIN]))
    with pytest.raises(InvalidInput, match="No column holds prompts"):
        leaks.add(owner, upload(workspace, tmp_path, [{"x": 1}], "x.jsonl"))
    with pytest.raises(InvalidInput, match="no question in this file"):
        leaks.add(owner, upload(workspace, tmp_path, [{"question": ""}], "y.jsonl"))
    added = leaks.add(owner, upload(workspace, tmp_path, [TRAIN, {"question": ""}], "z.jsonl"))
    assert added.problem_count == 1
    assert added.problems[0].startswith("Line 2:")


def test_the_hub_that_is_out_of_reach_is_said_plainly(workspace, leaks, owner):
    job = leaks.add_hub(owner, "openai/gsm8k", config="main")
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert ended.state is JobState.FAILED
    assert "The Hugging Face Hub cannot be reached, so 'openai/gsm8k' was not read" in ended.error
    with pytest.raises(InvalidInput):
        leaks.add_hub(owner, " ")


# -- the check ------------------------------------------------------------------------------


def test_a_report_names_rule_words_and_coverage(checked, leaks, owner):
    report = leaks.report(owner, "sums")
    assert (report.rows, report.items, report.by_rule["ngram"]) == (2, 2, 2)
    by_row = {example.pair_id: example for example in report.examples}
    leaked = by_row[checked[0]]
    assert (leaked.rule, leaked.coverage, leaked.row_side) == ("ngram", 1.0, "prompt")
    assert leaked.shared[0].startswith("janet keeps ducks that lay 16 eggs")
    assert by_row[checked[1]].row_side == "answer"
    marked = [text for where, text in by_row[checked[1]].row_text if where == "both"]
    assert marked == [TRAIN.rstrip("?")]
    assert leaks.report(owner, "sums", rule="exact").examples == []


def test_only_new_and_edited_rows_are_checked(workspace, checked, leaks, owner, tmp_path):
    assert done(workspace, owner, leaks.check(owner))["checked"] == {"sums": 0}
    store(workspace, (f"Solve: {TRAIN}", "28"))
    assert leaks.packs(owner)[0].unchecked == 1
    decide(workspace, checked[1], DecisionKind.EDIT, answer="No sum today.")
    assert leaks.packs(owner)[0].unchecked == 2
    assert done(workspace, owner, leaks.check(owner))["checked"] == {"sums": 2}
    report = leaks.report(owner, "sums")
    assert checked[1] not in {example.pair_id for example in report.examples}
    assert report.rows == 2
    leaks.add(owner, upload(workspace, tmp_path, [OTHER], "more.jsonl"))
    assert done(workspace, owner, leaks.check(owner))["checked"] == {"more": 4, "sums": 0}


def test_batches_make_no_difference(workspace, checked, leaks, owner, monkeypatch):
    before = leaks.report(owner, "sums").examples
    workspace.db.cursor().execute("DELETE FROM leak_checked")
    monkeypatch.setattr(leak_work, "_BATCH_ROWS", 1)
    assert done(workspace, owner, leaks.check(owner))["checked"] == {"sums": 3}
    assert leaks.report(owner, "sums").examples == before


def test_texts_of_strangers_are_data(workspace, leaks, owner, tmp_path):
    evil = "'; DROP TABLE pairs; -- {0} ${x} <script>alert(1)</script> " + DUCKS
    leaks.add(owner, upload(workspace, tmp_path, [{"question": evil, "id": "{note} <b>"}]))
    [row] = store(workspace, (evil, LONG))
    done(workspace, owner, leaks.check(owner))
    workspace.curate.apply(owner)
    assert states(workspace)[row][1].startswith("contaminated: sums, item {note} <b>: 13 or more")


# -- what curate makes of them --------------------------------------------------------------


def test_leaks_are_a_filter_that_undoes(workspace, checked, leaks, owner):
    preview = workspace.curate.preview(owner)
    leak_filter = next(one for one in preview.filters if one.kind == "contaminated")
    assert (leak_filter.drops, len(leak_filter.dropped)) == (2, 2)
    done_ = workspace.curate.apply(owner)
    assert done_.by_reason == {"contaminated": 2}
    found = states(workspace)
    why = "contaminated: sums, item 1: 13 or more words in a row"
    assert found[checked[0]] == ("filtered", why)
    assert found[checked[2]] == ("kept", "")
    assert workspace.curate.explain(owner, checked[0]).code == "contaminated"
    workspace.curate.undo(owner)
    assert {state for state, _ in states(workspace).values()} == {"kept"}


def test_an_accepted_row_stays_as_a_conflict(workspace, checked, leaks, owner):
    decide(workspace, checked[0], DecisionKind.ACCEPT)
    assert leaks.report(owner, "sums").accepted == 1
    report = workspace.curate.apply(owner)
    assert (report.protected, report.filtered) == (1, 1)
    assert states(workspace)[checked[0]] == ("kept", "")
    assert workspace.curate.apply(owner, remove_accepted=True).filtered == 2


def test_a_leaked_row_never_stands_for_others(workspace, leaks, owner, tmp_path):
    leaks.add(owner, upload(workspace, tmp_path, [DUCKS]))
    old, new = store(workspace, (OTHER, f"{LONG} {DUCKS}"), (OTHER, f"{LONG}  {DUCKS}"))
    done(workspace, owner, leaks.check(owner))
    workspace.curate.apply(owner)
    assert [states(workspace)[x][0] for x in (old, new)] == ["filtered", "filtered"]


def test_settings_older_than_leaks_drop_them_and_a_switch_keeps_them(workspace, checked, owner):
    assert workspace.curate.apply(owner, filters=[]).filtered == 2
    off = [{"kind": "contaminated", "is_on": False}]
    report = operations.call(workspace, owner, "curate_apply", {"filters": off})
    assert report["filtered"] == 0


def test_a_pack_that_is_deleted_takes_its_finds_along(workspace, checked, leaks, owner):
    workspace.curate.apply(owner)
    leaks.delete(owner, "sums")
    assert leaks.packs(owner) == []
    assert workspace.curate.settle(owner).filtered == 0
    with pytest.raises(NotFound):
        leaks.report(owner, "sums")


def test_a_find_that_a_person_denies_stays(workspace, checked, leaks, owner):
    example = next(e for e in leaks.report(owner, "sums").examples if e.pair_id == checked[0])
    report = leaks.judge(owner, "sums", example.item, example.text_hash, "not_leak")
    assert (report.rows, report.denied) == (2, 1)
    assert workspace.curate.apply(owner).filtered == 1
    assert states(workspace)[checked[0]][0] == "kept"
    told = [e.verdict for e in leaks.report(owner, "sums").examples]
    assert sorted(told) == ["", "not_leak"]
    leaks.judge(owner, "sums", example.item, example.text_hash, "clear")
    assert {e.verdict for e in leaks.report(owner, "sums").examples} == {""}
    assert workspace.curate.settle(owner).filtered == 2


def test_a_snapshot_says_what_it_was_checked_against(workspace, checked, leaks, owner):
    for pair_id in checked:
        decide(workspace, pair_id, DecisionKind.ACCEPT)
    decide(workspace, checked[1], DecisionKind.EDIT, answer="Ten.")  # not checked since
    warnings = workspace.freeze.preview(owner).warnings
    manifest = workspace.freeze.create(owner, "first").manifest
    for said in (
        "Holding items of sums: 2 rows.",
        "Not checked against sums: 1 row (Curate, leaks).",
    ):
        assert said in warnings
        assert said in manifest["warnings"]
    [facts] = manifest["benchmarks"]
    assert (facts["name"], facts["items"], facts["leaked"], facts["unchecked"]) == ("sums", 2, 2, 1)
    card = (workspace.freeze.folder("first") / "README.md").read_text(encoding="utf-8")
    assert "| sums | file sums.jsonl | 2 | 2 | 1 |" in card


def test_the_reports_of_all_packs_count_once(workspace, queued_too, leaks, owner, monkeypatch):
    real, calls = table.packs, []
    monkeypatch.setattr(table, "packs", lambda *args: calls.append(args) or real(*args))
    names = [pack.name for pack in leaks.packs(owner)]
    assert names == ["more", "sums"]
    singly = [leaks.report(owner, name) for name in names]
    assert leaks.reports(owner) == [one.model_copy(update={"examples": []}) for one in singly]
    assert [(one.finds, one.rows, one.open > 0) for one in singly] == [(1, 1, False), (2, 2, True)]
    leaks.queue(owner, "sums")
    assert len(calls) == 1, "all of this reads the packs once"
    first = leaks.queue(owner, "sums").candidates[0]
    judged = leaks.judge(owner, "sums", first.item, first.text_hash, "leak")
    assert (judged.leaks, leaks.reports(owner)[1].leaks) == (1, 1)
    assert len(calls) == 2


# -- candidates -----------------------------------------------------------------------------

REWORDED = (
    "Olga keeps geese that lay 23 eggs per week and he eats four of them for dinner,"
    " how many of the eggs remain?"
)


@pytest.fixture
def queued(workspace, leaks, owner, tmp_path):
    """Ids of two answers to a reworded item, and of a clean row; the queue is made."""
    leaks.add(owner, upload(workspace, tmp_path, [DUCKS]))
    ids = store(workspace, (REWORDED, "19"), (REWORDED, "It is 19."), (OTHER, LONG), (DUCKS, "13"))
    done(workspace, owner, leaks.find_candidates(owner))
    return ids


@pytest.fixture
def queued_too(workspace, checked, leaks, owner, tmp_path):
    """`checked`, a second pack, and a queue for the first."""
    leaks.add(owner, upload(workspace, tmp_path, [OTHER], "more.jsonl"))
    store(workspace, (REWORDED, "19"))
    done(workspace, owner, leaks.find_candidates(owner, ["sums"]))
    done(workspace, owner, leaks.check(owner))


def test_the_queue_shows_what_the_rules_did_not_find(workspace, queued, leaks, owner):
    assert leaks.report(owner, "sums").rows == 1  # the verbatim one is no candidate
    queue = leaks.queue(owner)
    first = queue.candidates[0]
    assert (first.pair_id, first.rows, first.verdict) == (queued[0], 2, "")
    assert first.similarity > 0.6
    assert ("both", "keeps") in [(w, t.strip()) for w, t in first.row_text] or any(
        "keeps" in text for where, text in first.row_text if where == "both"
    )
    assert "".join(text for _, text in first.item_text) == DUCKS
    assert "".join(text for _, text in first.row_text) == REWORDED


def test_what_the_rules_found_takes_no_place_in_the_queue(workspace, leaks, owner, tmp_path):
    leaks.add(owner, upload(workspace, tmp_path, [DUCKS, TRAIN]))
    store(workspace, *((f"{DUCKS} Hint {k}.", "13") for k in range(4)))
    reworded, *_ = store(workspace, (REWORDED, "19"), (OTHER, LONG))
    for nearest in (1, 3):
        done(workspace, owner, leaks.find_candidates(owner, nearest=nearest))
        found = leaks.queue(owner, "sums").candidates
        assert (0, reworded) in [(c.item, c.pair_id) for c in found], nearest
        per_item = [c.item for c in found]
        assert max(map(per_item.count, per_item)) <= nearest


def test_no_candidate_goes_without_a_verdict(workspace, queued, leaks, owner):
    assert workspace.curate.apply(owner).filtered == 1
    first = leaks.queue(owner).candidates[0]
    leaks.judge(owner, "sums", first.item, first.text_hash, "not_leak")
    assert workspace.curate.settle(owner).filtered == 1
    leaks.judge(owner, "sums", first.item, first.text_hash, "leak")
    assert workspace.curate.settle(owner).filtered == 3  # both answers to that prompt
    assert states(workspace)[queued[0]] == (
        "filtered",
        "contaminated: sums, item 1: a person said so",
    )
    leaks.judge(owner, "sums", first.item, first.text_hash, "clear")
    assert workspace.curate.settle(owner).filtered == 1


def test_verdicts_are_appended_and_outlive_a_new_search_and_the_pack(
    workspace, queued, leaks, owner, tmp_path
):
    first = leaks.queue(owner).candidates[0]
    for verdict in ("not_leak", "leak"):
        leaks.judge(owner, "sums", first.item, first.text_hash, verdict)
    leaks.judge(owner, "sums", first.item, first.text_hash, "not_leak", id="once")
    leaks.judge(owner, "sums", first.item, first.text_hash, "leak")
    leaks.judge(owner, "sums", first.item, first.text_hash, "not_leak", id="once")  # known
    said = workspace.db.rows("SELECT verdict FROM leak_verdicts ORDER BY seq")
    assert [row["verdict"] for row in said] == ["not_leak", "leak", "not_leak", "leak"]
    store(workspace, (f"{REWORDED} Tell me.", "19"))
    done(
        workspace, owner, leaks.find_candidates(owner, nearest=1)
    )  # the other one is nearer or not
    assert [c.verdict for c in leaks.queue(owner, judged=True).candidates] == ["leak"]
    leaks.delete(owner, "sums")
    leaks.add(owner, upload(workspace, tmp_path, [DUCKS], "again.jsonl"))
    done(workspace, owner, leaks.find_candidates(owner))
    assert [c.verdict for c in leaks.queue(owner, judged=True).candidates] == ["leak"]


def test_verdicts_need_a_find_and_a_reviewer(workspace, queued, leaks, owner):
    first = leaks.queue(owner).candidates[0]
    with pytest.raises(NotFound):
        leaks.judge(owner, "sums", first.item, "0" * 32, "leak")
    with pytest.raises(NotFound):
        leaks.judge(owner, "no such", first.item, first.text_hash, "leak")
    viewer = Actor(user="v", role=Role.VIEWER)
    assert leaks.queue(viewer).open > 0
    for ask in (
        lambda: leaks.judge(viewer, "sums", first.item, first.text_hash, "leak"),
        lambda: leaks.check(viewer),
        lambda: leaks.delete(viewer, "sums"),
    ):
        with pytest.raises(NotAllowed):
            ask()


def test_the_operations_go_through_json(workspace, queued, owner):
    queue = operations.call(workspace, owner, "leaks_queue", {"name": "sums"})
    first = queue["candidates"][0]
    report = operations.call(
        workspace,
        owner,
        "leaks_judge",
        {
            "name": "sums",
            "item": first["item"],
            "text_hash": first["text_hash"],
            "verdict": "leak",
        },
    )
    assert report["leaks"] == 1
    with pytest.raises(InvalidInput):
        operations.call(workspace, owner, "leaks_find_candidates", {"nearest": 0})


def test_nothing_to_check_against(leaks, owner):
    with pytest.raises(InvalidInput, match="no benchmark"):
        leaks.check(owner)
