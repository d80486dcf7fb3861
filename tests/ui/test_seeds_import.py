"""Which parts of a row a column can be chosen for, before an import."""

from typing import Any

from distill_studio.seeds.columns import PARTS, ColumnMapping
from distill_studio.services.importing import ImportCounts, ImportPreview
from distill_studio.ui.panels.seeds_import import offered_parts


def preview(columns: list[str], **mapping: Any) -> ImportPreview:
    return ImportPreview(
        upload_id="u", file_name="f", size_bytes=1, format="jsonl", layout="", examples=[],
        columns=dict.fromkeys(columns, "x"), mapping=ColumnMapping(**mapping),
        counts=ImportCounts(), is_complete=True,
    )  # fmt: skip


def test_a_file_whose_columns_are_all_known_asks_little() -> None:
    assert offered_parts(preview(["text"], prompt="text")) == {"prompt", "answer"}
    known = preview(["q", "a", "t"], prompt="q", answer="a", topic="t")
    assert offered_parts(known) == {"prompt", "answer", "topic"}


def test_a_column_without_a_part_may_be_any() -> None:
    assert offered_parts(preview(["text"])) == set(PARTS)
    assert offered_parts(preview(["q", "odd"], prompt="q")) == set(PARTS)
