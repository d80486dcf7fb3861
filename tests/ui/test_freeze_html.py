"""What the Freeze tab shows, with hostile texts."""

from distill_studio.services.freeze import FreezePreview
from distill_studio.ui.panels.freeze_html import preview_html

EVIL = "<img src=x onerror=alert(1)>"


def test_a_warning_that_names_a_place_on_curate_goes_there() -> None:
    preview = FreezePreview(
        format="messages", rows=2, train_rows=2, validation_rows=0, groups=2, left_out={},
        teachers={}, examples=[],
        warnings=[
            f"Not checked against {EVIL}: 1 row (Curate, leaks).",
            "Not compared: 2 answers (Curate, Find near-duplicates).",
            "The teachers have different terms (Curate).",
        ],
    )  # fmt: skip
    html = preview_html(preview)
    assert 'data-place="curate-leaks-box">Curate, leaks</button>).' in html
    assert 'data-place="curate-find">Curate, Find near-duplicates</button>).' in html
    assert html.count("<button") == 2
    assert EVIL not in html
