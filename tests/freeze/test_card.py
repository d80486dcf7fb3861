"""The card of a snapshot: what is known is written, and the Hub can read it."""

from huggingface_hub import DatasetCard

from distill_studio.freeze.card import dataset_card
from distill_studio.hub.published_card import published_card
from tests.fake_hub.cards import problems_of

MANIFEST = {
    "name": 'odd: "name" #1',
    "workspace": "main",
    "format": "preference",
    "created_at": "2026-01-01T00:00:00+00:00",
    "content_hash": "abc",
    "counts": {"taken": 1500, "left_out": {"pending": 2}},
    "teachers": {
        "a | b": {"rows": 3, "licence_note": "", "models": ["org/model"]},
        "<script>": {"rows": 1, "licence_note": "MIT"},
    },
    "splits": {
        "train": {"file": "train.parquet", "rows": 1400},
        "validation": {"file": "validation.parquet", "rows": 100},
    },
    "sources": {"mails.csv": 3, "": 1},
    "recipes": {"best_of_n": 4},
    "people": 2,
    "agreement": {"items": 40, "percent": 0.9, "alpha": 0.8, "low": 0.7, "high": 0.9},
    "filters": {"in_force": ["Length (At least: 3)"], "gone": {"Too short": 12}},
    "benchmarks": [
        {"name": "GSM8K", "source": "openai/gsm8k", "items": 1319, "leaked": 0, "unchecked": 0}
    ],
}


def test_the_front_matter_is_one_that_the_hub_takes() -> None:
    card = dataset_card(MANIFEST)
    assert problems_of(card, "dataset") == ([], [])
    data = DatasetCard(card).data
    assert data.pretty_name == 'odd: "name" #1'
    assert (data.license, data.license_name) == ("other", "terms-of-the-teachers")
    assert data.size_categories == ["1K<n<10K"]
    assert {"distill-studio", "preference", "dpo"} <= set(data.tags or [])
    files = data.configs[0]["data_files"]
    assert files[1] == {"split": "validation", "path": "validation.parquet"}


def test_everything_that_is_known_is_written() -> None:
    card = dataset_card(MANIFEST, "## Report on the dataset\n\nAll of it.")
    for said in (
        "| mails.csv | 3 |",
        "| not named | 1 |",
        "| best\\_of\\_n | 4 |",
        "| a \\| b | org/model | 3 | not stated |",
        "| \\<script\\> | not recorded | 1 | MIT |",
        "- Length (At least: 3)",
        "| Too short | 12 |",
        "| GSM8K | openai/gsm8k | 1,319 | 0 | 0 |",
        "2 people decided on these rows. Where two or more decided on the same row of the workspace"
        " (40 rows), they agreed on 90%; Krippendorff's alpha is 0.80 (95% interval 0.70 to 0.90).",
        "All of it.",
    ):
        assert said in card, said


def test_a_manifest_that_knows_less_gives_a_shorter_card() -> None:
    old = {
        key: value
        for key, value in MANIFEST.items()
        if key not in ("sources", "recipes", "people", "agreement", "filters", "benchmarks")
    }
    card = dataset_card(old)
    assert problems_of(card, "dataset") == ([], [])
    for title in ("Where the rows come from", "How they were made", "## People", "## Filters"):
        assert title not in card
    assert "Not checked against any benchmark." in card


def test_a_licence_is_chosen_and_models_are_told_at_the_push() -> None:
    card = published_card(dataset_card(MANIFEST), "cc-by-4.0", [("first", "SFT", "2 to 1")])
    data = DatasetCard(card).data
    assert data.license == "cc-by-4.0"
    assert "license_name" not in data.to_dict()
    assert data.pretty_name == 'odd: "name" #1'
    assert "## Models trained on it" in card
    assert "| first | SFT | 2 to 1 |" in card
    assert problems_of(card, "dataset") == ([], [])
    same = published_card(dataset_card(MANIFEST), "")
    assert DatasetCard(same).data.to_dict() == DatasetCard(dataset_card(MANIFEST)).data.to_dict()


def test_near_duplicates_are_vouched_for_as_far_as_they_were_looked_for() -> None:
    def said(rows: int) -> str:
        return dataset_card(MANIFEST | {"near_checked": {"rows": rows, "of": 1500}})

    assert "or near-duplicate text are all on one side of the split. `mani" in said(1500)
    assert "split. 3 of the 1,500 answers were not compared." in said(1497)
    assert "No search for near-duplicates had looked at them" in said(0)
    assert "text that was found are all" in dataset_card(MANIFEST)
