"""The table of choices: best figures marked, meanings said, nothing runs."""

from datetime import UTC, datetime

from distill_studio.curate.diversity.reports import MethodReport, SelectionReport
from distill_studio.ui.panels.topics_html import selection_html


def method(name, coverage, bits):
    return MethodReport(
        method=name,
        rows=5,
        coverage=coverage,
        topics=3,
        effective=2.5,
        quality=0.8,
        bits=bits,
        seconds=0.25,
    )


def report(**changed):
    made = SelectionReport(
        number=4,
        user="<b>",
        made_at=datetime(2026, 1, 1, tzinfo=UTC),
        count=5,
        candidates=900,
        fixed=2,
        seed=1,
        neighbours=32,
        recall=0.987,
        held_out=90,
        sampled=900,
        topics=4,
        methods=[
            method("facility_location", 0.9, 9.5),
            method("<script>", 0.7, 9.0),
            method("all", 1.0, 8.0),
        ],
    )
    return made.model_copy(update=changed)


def test_the_best_of_the_methods_is_marked_and_all_rows_never():
    html = selection_html(report())
    assert html.count("class='best'") == 2
    assert "<td class='best'>0.900</td>" in html
    assert "<td class='best'>9.000</td>" in html
    assert "<script>" not in html
    assert "5 of 900 rows; 2 accepted ones are in every choice" in html
    assert "32 nearest rows" in html
    assert "98.7%" in html
    assert "interpolated bigram word model" in html


def test_few_rows_have_no_bits():
    few = report(held_out=0, methods=[method("random", 0.5, None)], neighbours=899, recall=1.0)
    html = selection_html(few)
    assert "Too few rows to hold some out." in html
    assert "class='best'" not in html
    assert "nearest rows of each" not in html
    assert "No choices" in selection_html(None)
