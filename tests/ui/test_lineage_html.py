"""The drawing of a model's lineage holds names from outside as text."""

from distill_studio.services.lineage import ModelLineage, ModelStep
from distill_studio.ui.panels.lineage_html import lineage_html

EVIL = "<img src=x onerror=alert(1)>"


def step(**fields: object) -> ModelStep:
    facts = {"run": "r", "method": "sft", "state": "done", "base": "b", "teachers": []}
    return ModelStep(**(facts | fields))


def test_every_name_is_text():
    found = ModelLineage(
        steps=[
            step(
                run=EVIL, base=EVIL, teachers=[EVIL], snapshot=EVIL, state=EVIL, rows=1234,
                facts={"teachers": {EVIL: 3}, "people": {EVIL: 2}, "recipes": {}},
            )
        ],
        children=[EVIL],
        pupils=[EVIL],
    )  # fmt: skip
    html = lineage_html(found)
    assert "<img" not in html
    assert html.count("&lt;img") >= 10
    assert "1,234 rows" in html
    assert "<b>taught</b>" in html
    assert "made by" not in html  # nothing to say


def test_a_snapshot_that_is_gone_and_long_lists():
    names = {f"name {n}": n for n in range(9)}
    html = lineage_html(
        ModelLineage(steps=[step(snapshot="s", facts={"sources": names}), step()], children=[])
    )
    assert "and 3 more" in html
    assert "a snapshot that is gone" in html
