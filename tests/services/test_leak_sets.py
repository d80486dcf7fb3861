"""Own evaluation sets as benchmarks, and those the studio knows on the Hub."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records import DecisionKind, Job, JobState
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.curate.decontaminate.index import Item, LeakIndex, RowTexts, Rule
from distill_studio.services import hub_packs
from distill_studio.store import jobs
from tests.services.test_leaks import (
    DUCKS,
    LONG,
    REWORDED,
    TRAIN,
    WordCounts,
    decide,
    done,
    states,
    store,
)

SUBJECTS = (
    "rivers", "engines", "whales", "poems", "bridges", "planets", "taxes", "violins", "glaciers",
    "vaccines", "castles", "deserts", "markets", "fossils", "tunnels", "harbours", "comets",
    "orchards", "ballads", "turbines",
)  # fmt: skip


def question(subject):
    return (
        f"Tell me in some detail how {subject} came to be what they are today and who first"
        f" wrote about {subject} in a book that is still read by people."
    )


@pytest.fixture
def leaks(workspace, monkeypatch):
    made = WordCounts()
    monkeypatch.setattr(workspace.studio.models, "embedder", lambda *_: made, raising=False)
    return workspace.leaks


@pytest.fixture
def frozen(workspace, owner):
    """Twenty accepted rows, frozen as `first`; returns pair id -> subject of the validation."""
    texts = [(f"About {s}: who was the first, {n}?", f"{LONG} {s}") for n, s in enumerate(SUBJECTS)]
    ids = store(workspace, *texts)
    for pair_id in ids:
        decide(workspace, pair_id, DecisionKind.ACCEPT)
    made = workspace.freeze.create(owner, "first", validation_share=0.2)
    assert made.validation_rows == 4
    rows = workspace.freeze.rows(owner, "first", "validation")
    return {row["id"]: row["messages"][0]["content"] for row in rows}


def test_a_validation_split_is_a_benchmark_by_itself(workspace, leaks, owner, frozen):
    [pack] = leaks.packs(owner)
    assert (pack.name, pack.kind, pack.items) == ("first: validation split", "validation", 4)
    prompt = next(iter(frozen.values()))
    [copy] = store(workspace, (f"{prompt.upper()} ", "Somebody else."))
    done(workspace, owner, leaks.check(owner))
    report = leaks.report(owner, pack.name)
    assert [one.pair_id for one in report.examples] == [copy]  # not the split's own rows
    assert workspace.curate.apply(owner).by_reason["contaminated"] == 1
    done(workspace, owner, leaks.find_candidates(owner))
    assert not {c.pair_id for c in leaks.queue(owner).candidates} & set(frozen)


def test_it_goes_with_its_snapshot_and_not_otherwise(workspace, leaks, owner, frozen):
    with pytest.raises(Conflict, match="evaluation set"):
        leaks.delete(owner, "first: validation split")
    workspace.freeze.delete(owner, "first")
    assert leaks.packs(owner) == []


def test_a_snapshot_names_sets_it_was_not_checked_against_in_one_line(
    workspace, leaks, owner, frozen
):
    said = workspace.freeze.preview(owner).warnings
    assert "Not checked against 1 evaluation set of this workspace (Curate, leaks)." in said
    done(workspace, owner, leaks.check(owner))
    assert not [one for one in workspace.freeze.preview(owner).warnings if "checked" in one]


def test_prompts_given_to_a_comparison_set_count_and_held_out_ones_do_not(workspace, leaks, owner):
    asked = [{"role": "user", "content": question("whales")}]
    for is_given, turns in ((True, asked), (False, [{"role": "user", "content": "Held out?"}])):
        params = {"prompts": [turns], "is_given": is_given}
        job = Job(kind="compare_set", user="owner", params=params, state=JobState.DONE)
        jobs.insert(workspace.db, job)
    [pack] = leaks.packs(owner)
    assert (pack.name, pack.kind, pack.items) == ("Evaluation prompts", "prompts", 1)
    [row] = store(workspace, (f"Please! {question('whales')}", LONG))
    done(workspace, owner, leaks.check(owner))
    assert leaks.report(owner, pack.name).rows == 1
    params = {"prompts": [asked, [{"role": "user", "content": "A new one?"}]], "is_given": True}
    jobs.insert(workspace.db, Job(kind="compare_set", user="owner", params=params))
    [pack] = leaks.packs(owner)
    assert (pack.items, pack.unchecked) == (2, 1)  # another set: everything is checked anew
    assert row


def given(workspace, *prompts):
    """A comparison set with these prompts."""
    turns = [[{"role": "user", "content": prompt}] for prompt in prompts]
    params = {"prompts": turns, "is_given": True}
    jobs.insert(workspace.db, Job(kind="compare_set", user="owner", params=params))


def test_a_renewed_set_keeps_what_was_found_and_judged(workspace, leaks, owner):
    given(workspace, DUCKS, TRAIN)
    texts = [(f"Please! {DUCKS}", "13."), (REWORDED, "It is 19."), (f"Well. {TRAIN}", LONG)]
    [leaked, reworded, denied] = store(workspace, *texts)
    done(workspace, owner, leaks.find_candidates(owner))
    by_row = {one.pair_id: one for one in leaks.report(owner, "Evaluation prompts").examples}
    assert set(by_row) >= {leaked, denied}
    no = by_row[denied]
    leaks.judge(owner, "Evaluation prompts", no.item, no.text_hash, "not_leak")
    one = next(c for c in leaks.queue(owner).candidates if c.pair_id == reworded)
    leaks.judge(owner, one.pack, one.item, one.text_hash, "leak")
    workspace.curate.apply(owner)
    before = states(workspace)
    kinds = [before[one][0] for one in (leaked, reworded, denied)]
    assert kinds == ["filtered", "filtered", "kept"]

    given(workspace, "A first one?", question("violins"))  # items get other numbers
    [pack] = leaks.packs(owner)
    assert (pack.name, pack.items, pack.unchecked) == ("Evaluation prompts", 4, 3)
    workspace.curate.settle(owner)
    assert {one: state[0] for one, state in states(workspace).items()} == {
        one: state[0] for one, state in before.items()
    }
    assert [one.verdict for one in leaks.report(owner, pack.name).examples if one.pair_id == denied]
    done(workspace, owner, leaks.check(owner))
    assert leaks.packs(owner)[0].unchecked == 0
    workspace.curate.settle(owner)
    assert {one: state[0] for one, state in states(workspace).items()} == {
        one: state[0] for one, state in before.items()
    }


def test_many_first_looks_at_once_make_one_pack(workspace, leaks, owner, frozen):
    given(workspace, *(question(subject) for subject in SUBJECTS))
    barrier = threading.Barrier(8)

    def look():
        barrier.wait()
        return [pack.name for pack in leaks.packs(owner)]

    with ThreadPoolExecutor(8) as pool:
        seen = [one.result() for one in [pool.submit(look) for _ in range(8)]]
    assert leaks.packs(owner)[0].items == 20
    assert {tuple(names) for names in seen} == {("Evaluation prompts", "first: validation split")}
    version = workspace.db.version
    leaks.packs(owner)
    assert workspace.db.version == version, "a look writes nothing"


def test_a_suite_is_a_benchmark_by_itself(workspace, leaks, owner, tmp_path):
    file = tmp_path / "exam.jsonl"
    rows = [{"prompt": question(subject), "reference": "long ago"} for subject in SUBJECTS[:4]]
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    workspace.suites.add(owner, workspace.studio.uploads.add(file), SuiteScorer.EXACT)
    [pack] = leaks.packs(owner)
    assert (pack.name, pack.kind, pack.items) == ("Suite exam", "suite", 4)
    [copy, _] = store(
        workspace, (f"Please: {question('whales')}", "Once."), ("What are whales?", "Big.")
    )
    done(workspace, owner, leaks.check(owner))
    assert [one.pair_id for one in leaks.report(owner, pack.name).examples] == [copy]
    workspace.suites.delete(owner, "exam")
    assert leaks.packs(owner) == []


def test_a_recipes_wording_is_no_leak_of_an_own_set():
    items = [Item(question(subject)) for subject in SUBJECTS]
    rows = [
        RowTexts("copy", (f"Well. {question('whales')}",), LONG),
        RowTexts("other subject", (question("lanterns"),), LONG),
    ]
    assert {hit.row for hit in LeakIndex(items).check(rows)} == {"copy", "other subject"}
    own = LeakIndex(items, is_own=True).check(rows)
    assert {hit.row for hit in own} <= {"copy"}
    same = LeakIndex(items, is_own=True).check([RowTexts("r", (question("whales"),), LONG)])
    alone = LeakIndex([Item(question("whales"))], is_own=True).check(rows[:1])
    assert [hit.rule for hit in alone] == [Rule.NGRAM]  # a wording of its own counts as ever
    assert [hit.item for hit in same] in ([], [SUBJECTS.index("whales")])


# -- well-known benchmarks ------------------------------------------------------------------


def test_known_benchmarks_name_their_place(leaks, owner):
    found = {one.name: one for one in leaks.known(owner)}
    for name in ("GSM8K", "MATH-500", "HumanEval", "MMLU", "ARC-Challenge", "IFEval", "MT-Bench",
                 "AlpacaEval", "TruthfulQA"):  # fmt: skip
        one = found[name]
        assert one.dataset.count("/") == 1
        assert one.split
        assert one.question


def test_rows_of_a_known_benchmark_become_questions_and_answers():
    gsm8k, bench = hub_packs.known_named("gsm8k"), hub_packs.known_named("MT-Bench")
    row = {"question": "1 + 1?", "answer": "#### 2"}
    assert hub_packs.known_row(row, gsm8k) == row
    turns = {"prompt": ["Write it.", "Shorter."], "category": "writing"}
    assert hub_packs.known_row(turns, bench)["question"] == "Write it.\n\nShorter."
    with pytest.raises(InvalidInput, match="no column 'answer'"):
        hub_packs.known_row({"question": "?"}, gsm8k)


def test_a_known_benchmark_that_cannot_be_fetched_says_so(workspace, leaks, owner):
    ended = workspace.jobs.wait(owner, leaks.add_known(owner, "alpacaeval").id, 60)
    assert ended.state is JobState.FAILED
    assert "The Hugging Face Hub cannot be reached" in ended.error
    assert "bring it in as a file" in ended.error
    with pytest.raises(NotFound, match="No well-known benchmark"):
        leaks.add_known(owner, "nothing")
