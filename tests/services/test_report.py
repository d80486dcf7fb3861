"""The report on a dataset: its counts against the store's rows, its forms, and hostile text."""

import json
import re
from html.parser import HTMLParser

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import DecisionKind, TeacherConfig, TeacherKind
from distill_studio.curate.filters import (
    ContaminatedConfig,
    LengthConfig,
    PrivacyConfig,
    RefusalConfig,
)
from distill_studio.services import operations
from distill_studio.store import pairs
from tests.services.test_leaks import DUCKS, LONG, OTHER, decide, done, store, upload

EVIL = '<script>fetch("//evil.example")</script> ${alert(1)} ![x](http://evil.example/x.png) | a'


@pytest.fixture
def filled(workspace, owner, tmp_path):
    """57 rows of six fates, three teachers, two topics, one benchmark."""
    clean = [(f"Question number {n} about rivers?", f"{LONG} Number {n}.") for n in range(30)]
    ids = store(workspace, *clean, topic="rivers", teacher="t1", model="m", recipe="direct")
    short = [(f"What is {n} and {n}?", "No.") for n in range(20)]
    store(workspace, *short, topic="sums", teacher="t2", recipe="import", source=EVIL)
    pairs_of = [("Say it.", LONG), ("Say it.", LONG), ("Say it!", LONG)]
    store(workspace, *pairs_of, topic="rivers", teacher="t1", recipe="direct", judge_score=4.0)
    leaked = store(workspace, (DUCKS, LONG), topic="rivers", teacher="t1", recipe="direct")
    store(workspace, (OTHER, f"{LONG} Write to jane.roe@mailbox.org."), topic="rivers")
    bad = store(workspace, (EVIL, f"{EVIL} {LONG}"), (f"Why {OTHER}", f"Oh. {LONG}"), teacher=EVIL)
    for pair_id in ids[:4]:
        decide(workspace, pair_id, DecisionKind.ACCEPT)
    decide(workspace, ids[0], DecisionKind.EDIT, answer="Three words now, or more of them.")
    decide(workspace, bad[0], DecisionKind.REJECT, reason=EVIL)
    decide(workspace, ids[5], DecisionKind.REJECT)
    workspace.leaks.add(owner, upload(workspace, tmp_path, [DUCKS]))
    done(workspace, owner, workspace.leaks.check(owner))
    workspace.teachers.save(
        owner,
        TeacherConfig(
            name="t1", kind=TeacherKind.LOCAL, model="m", licence_note="Apache-2.0: may train."
        ),
    )
    drops = PrivacyConfig(action="drop")
    filters = [ContaminatedConfig(), LengthConfig(min_words=3), drops]
    workspace.curate.apply(owner, filters=filters)
    return {"leaked": leaked[0], "clean": ids}


def test_every_row_has_one_fate_and_the_counts_add_up(workspace, owner, filled):
    report = workspace.report.dataset(owner)
    gone = {one.code: one.rows for one in report.gone}
    assert gone == {"length": 20, "exact": 2, "rejected": 2, "contaminated": 1, "privacy": 1}
    assert report.came_in.rows == 57
    assert report.stays.rows + report.removed == 57
    rows = workspace.db.rows("SELECT status, curation FROM pairs")
    kept = [r for r in rows if r["status"] != "rejected" and r["curation"] == "kept"]
    assert report.stays.rows == len(kept) == 31
    assert (report.stays.accepted, report.stays.edited, report.stays.pending) == (4, 1, 27)
    assert sum(one.total for one in report.topics) == 57
    assert sum(one.kept for one in report.topics) == 31
    rejected = next(one for one in report.gone if one.code == "rejected")
    assert rejected.details == {"": 1, EVIL: 1}


def test_filters_in_force_are_told_in_the_words_of_their_form(workspace, owner, filled):
    workspace.curate.apply(owner, filters=[RefusalConfig()])
    told = workspace.report.dataset(owner).filters
    words = "(What goes: Refusals and remarks such as “as an AI”)"
    assert [one for one in told if one.endswith(words)]
    assert not [one for one in told if "_" in one]


def test_sources_teachers_and_terms(workspace, owner, filled):
    came = workspace.report.dataset(owner).came_in
    assert {one.name: (one.rows, one.kept) for one in came.recipes} == {
        "direct": (34, 30), "import": (20, 0), "": (3, 1),
    }  # fmt: skip
    teachers = {one.name: one for one in came.teachers}
    assert (teachers["t1"].rows, teachers["t1"].models) == (34, ["m"])
    assert teachers["t1"].licence_note == "Apache-2.0: may train."
    assert EVIL in [one.name for one in came.sources]


def test_a_topic_that_loses_far_more_is_named(workspace, owner, filled):
    first, *others = workspace.report.dataset(owner).topics
    assert first.topic == "sums"
    assert first.warning.startswith("Loses 100% of its rows")
    assert not any(one.warning for one in others)


def test_lengths_and_scores_are_those_of_kept_rows(workspace, owner, filled):
    stays = workspace.report.dataset(owner).stays
    answers, prompts = stays.lengths
    words = [
        len(p.final_answer.split())
        for p in pairs.page(workspace.db, pairs.PairQuery(curation="kept"))
        if p.status != "rejected"
    ]
    assert (answers.rows, answers.total, answers.longest) == (31, sum(words), max(words))
    assert answers.median == sorted(words)[15]
    assert prompts.what == "prompts, characters"
    assert (stays.judged, stays.mean_score) == (1, 4.0)
    assert [(one.start, one.stop, one.rows) for one in stays.scores] == [(4.0, 4.0, 1)]


def test_many_scores_are_ten_bars_that_hold_them_all(workspace, owner):
    for n in range(40):
        store(workspace, (f"Question {n}?", f"{LONG} {n}"), judge_score=n / 10)
    bins = workspace.report.dataset(owner).stays.scores
    assert len(bins) == 10
    assert sum(one.rows for one in bins) == 40
    assert (bins[0].start, bins[-1].stop) == (0.0, pytest.approx(3.9))


def test_what_it_was_checked_against(workspace, owner, filled):
    report = workspace.report.dataset(owner)
    [sums] = report.checked
    assert (sums.name, sums.items, sums.rows_hit, sums.items_hit) == ("sums", 1, 1, 1)
    assert (sums.kept_hit, sums.unchecked) == (0, 0)
    workspace.curate.undo(owner)
    [sums] = workspace.report.dataset(owner).checked
    assert sums.kept_hit == 1
    assert (
        "Of the rows that stay, 1 hold an item of sums." in workspace.report.dataset(owner).warnings
    )


def test_examples_say_why_and_spread_no_secret(workspace, owner, filled):
    by_code = {}
    for one in workspace.report.dataset(owner).examples:
        by_code.setdefault(one.code, []).append(one)
    assert {code: len(some) for code, some in by_code.items()} == {
        "contaminated": 1, "exact": 2, "length": 3, "privacy": 1, "rejected": 2,
    }  # fmt: skip
    assert by_code["contaminated"][0].pair_id == filled["leaked"]
    assert by_code["exact"][0].other == LONG[:300]
    assert (by_code["privacy"][0].prompt, by_code["privacy"][0].answer) == ("", "")
    for kind in ("markdown", "html", "json"):
        assert "jane.roe@mailbox.org" not in workspace.report.text(owner, kind)


class Tags(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name) for name, _ in attrs]


def test_the_page_stands_alone_and_holds_no_foreign_markup(workspace, owner, filled):
    page = workspace.report.text(owner, "html")
    found = Tags(page)
    assert not {"script", "img", "link", "iframe", "a", "form", "object"} & set(found.tags)
    assert not [name for _, name in found.attributes if name.startswith("on") or name == "src"]
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "&lt;script&gt;" in page


def test_markdown_disarms_what_comes_from_outside(workspace, owner, filled):
    text = workspace.report.text(owner)
    assert text.startswith("# Report on the dataset main\n")
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?<!\\)!\[|(?<!\\)\]\(", text)
    widths = [
        {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        for block in text.split("\n\n")
        if block.startswith("| ")
    ]
    assert widths
    assert all(len(one) == 1 for one in widths)  # no cell breaks its table


def test_files_and_json_go_through_the_operations(workspace, owner, filled):
    viewer = Actor(user="v", role=Role.VIEWER)
    for kind, ending in (("html", ".html"), ("markdown", ".md"), ("json", ".json")):
        made = operations.call(workspace, viewer, "report_file", {"format": kind})
        path = workspace.folder / "exports" / made["name"]
        assert made["name"].endswith(ending)
        assert path.read_text(encoding="utf-8") == workspace.report.text(owner, kind)
    found = operations.call(workspace, viewer, "report_dataset", {})
    assert json.loads(workspace.report.text(owner, "json")) == found


def test_the_card_of_a_snapshot_holds_the_report_without_rows_that_went(workspace, owner, filled):
    workspace.freeze.create(owner, "first", validation_share=0)
    card = (workspace.freeze.folder("first") / "README.md").read_text(encoding="utf-8")
    assert "\n## Report on the dataset main\n" in card
    assert "\n### What it was checked against\n" in card
    assert "| Same text as another row | 2 | 3.5% |" in card
    assert "Rows that went" not in card
    assert "Janet" not in card


def test_an_empty_workspace_has_a_report_too(workspace, owner):
    report = workspace.report.dataset(owner)
    assert (report.came_in.rows, report.stays.rows, report.gone) == (0, 0, [])
    assert "There is no row yet." in workspace.report.text(owner)
    assert "There is no row yet." in workspace.report.text(owner, "html")
