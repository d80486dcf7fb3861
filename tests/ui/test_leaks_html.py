"""Leaks as HTML: texts of strangers are escaped, shared words marked."""

from datetime import UTC, datetime

from distill_studio.curate.decontaminate.reports import (
    LeakCandidate,
    LeakExample,
    LeakPack,
    LeakReport,
    PackReport,
)
from distill_studio.ui.panels import leaks_html as draw

EVIL = "<img src=x onerror=alert(1)>"
PACK = LeakPack(
    name=EVIL, source=EVIL, content_hash="h", items=2, user=EVIL,
    made_at=datetime(2026, 1, 1, tzinfo=UTC), unchecked=3,
)  # fmt: skip
EXAMPLE = LeakExample(
    pair_id="p", pack=EVIL, item=0, label=EVIL, rule="ngram", item_side="prompt",
    row_side="answer", coverage=0.5, shared=[EVIL], item_text=[("both", "a & b"), ("left", EVIL)],
    row_text=[("left", EVIL), ("both", "a & b")], text_hash="t", status="accepted", verdict="",
)  # fmt: skip
REPORT = LeakReport(
    pack=PACK, rows=1, items=1, by_rule={"exact": 0, "ngram": 1, "coverage": 0}, accepted=1,
    denied=1, open=1, leaks=0, not_leaks=0, examples=[EXAMPLE],
)  # fmt: skip
CANDIDATE = LeakCandidate(
    pack=EVIL, item=0, label=EVIL, text_hash="t", pair_id="p", rows=2, accepted=1,
    similarity=0.8, rank=1.0, item_text=[("both", EVIL), ("left", "old")],
    row_text=[("both", EVIL), ("right", "new")], answer=EVIL, verdict="leak", judged_by=EVIL,
)  # fmt: skip


def test_nothing_of_a_stranger_is_markup():
    added = PackReport(pack=PACK, problem_count=1, problems=[EVIL], is_new=False)
    pages = [
        draw.packs_html([REPORT]),
        draw.report_html(REPORT),
        draw.find_html(EXAMPLE),
        draw.candidate_html(CANDIDATE),
        draw.added_html(added),
        draw.added_html(added.model_copy(update={"is_new": True})),
    ]
    for page in pages:
        assert "<img" not in page
        assert "&lt;img" in page


def test_evidence_is_marked_and_conflicts_are_named():
    page = draw.report_html(REPORT)
    assert page.count("<mark>a &amp; b</mark>") == 2
    assert "50% of it shared" in page
    assert "accepted: stays" in page
    assert "1 of 2 items are in the rows." in page
    find = draw.find_html(EXAMPLE.model_copy(update={"verdict": "not_leak"}))
    assert find.count("<mark>a &amp; b</mark>") == 2
    assert "called no leak" in find
    candidate = draw.candidate_html(CANDIDATE)
    assert "<del>old</del>" in candidate
    assert "<ins>new</ins>" in candidate


def test_empty_states_say_what_to_do():
    assert "add the ones" in draw.packs_html([])
    empty = REPORT.model_copy(update={"examples": []})
    assert "Nothing was checked yet." in draw.report_html(empty)
    checked = empty.model_copy(update={"pack": PACK.model_copy(update={"unchecked": 0})})
    assert "No row holds an item." in draw.report_html(checked)


def test_a_models_opinion_is_named_as_one_and_its_words_are_escaped():
    found = CANDIDATE.model_copy(
        update={"opinion": "leak", "opinion_by": EVIL, "opinion_reason": EVIL}
    )
    html = draw.candidate_html(found)
    assert "model &lt;" in html
    assert ": the same problem" in html
    assert "<img" not in html
    lost = draw.candidate_html(found.model_copy(update={"opinion": "unreadable"}))
    assert "no readable reply" in lost
    assert "the same problem" not in lost
