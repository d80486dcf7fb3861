"""What the pages show of the Hub: titles, notes and names of others are text."""

from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services.hub_collections import (
    CollectedPack,
    CollectionReport,
    HubCollection,
    HubCollectionItem,
)
from distill_studio.services.hub_data import HubListing
from distill_studio.services.importing import ImportCounts, ImportPreview
from distill_studio.ui.panels import import_html, leaks_html
from distill_studio.ui.panels.seeds_hub import facts_html

EVIL = "<img src=x onerror=alert(1)>"


def test_a_dataset():
    found = HubListing(
        dataset="ann/sums",
        revision=EVIL,
        commit="0123456789abcdef" * 2,
        configs=["a"],
        config="a",
        splits=["train"],
        split="train",
        license=EVIL,
        is_gated=True,
    )
    html = facts_html(found)
    assert "<img" not in html
    assert " is 0123456789ab" in html
    assert "gated" in html
    assert "private" not in html


def test_a_collection_and_what_came_of_it():
    items = [
        HubCollectionItem(dataset=EVIL, note=EVIL, known=["GSM8K"]),
        HubCollectionItem(dataset="ann/m", problem="It is a model."),
    ]
    html = leaks_html.collection_html(HubCollection(title=EVIL, items=items))
    assert "<img" not in html
    assert "GSM8K" in html
    assert "It is a model." in html
    packs = [
        CollectedPack(dataset=EVIL, problem=EVIL),
        CollectedPack(dataset="a/b", name="b", items=1234, is_new=True),
        CollectedPack(dataset="a/c", name="c", items=1),
    ]
    html = leaks_html.collected_html(CollectionReport(title=EVIL, packs=packs))
    assert "<img" not in html
    assert ("not added" in html, "was here already" in html) == (True, True)


def test_an_import_that_stops_at_a_number_of_rows():
    seen = ImportPreview(
        upload_id="",
        file_name="ann/sums@012 (a, train)",
        size_bytes=0,
        format="hub",
        layout="prompts",
        columns={"q": "Why?"},
        mapping=ColumnMapping(prompt="q"),
        examples=[],
        counts=ImportCounts(rows=200, seeds_new=200),
        is_complete=False,
        most_rows=10_000,
    )
    assert import_html.button_text(seen, False) == "Import 10,000 rows at most"
    assert import_html.row_word(seen) == "Row"
    assert "0 B" not in import_html.summary_html(seen)
