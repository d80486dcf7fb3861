"""A snapshot's folder: whole or not there, verified, the same hash for the same rows."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.core.errors import Conflict, NotFound
from distill_studio.freeze.folder import SnapshotWriter, read_manifest, read_rows, verify
from distill_studio.freeze.formats import FORMATS

FACTS = {
    "name": "first",
    "workspace": "main",
    "format": "messages",
    "created_at": "2026-01-01T00:00:00+00:00",
    "counts": {"taken": 3, "left_out": {"pending": 2}},
    "teachers": {"a | b": {"rows": 3, "licence_note": ""}},
}


def said(text: str) -> dict:
    return {"messages": [{"role": "user", "content": text}]}


def row(number: int, text: str = "hi") -> dict:
    return {"id": str(number)} | said(f"{text} {number}")


def write(folder: Path, train: list[dict], validation: list[dict]) -> dict:
    writer = SnapshotWriter(folder, FORMATS["messages"])
    for page in (train[:2], train[2:]):
        writer.add("train", page)
    writer.add("validation", validation)
    return writer.finish(FACTS)


def test_round_trip_paging_and_read_only(tmp_path: Path) -> None:
    rows = [row(n) for n in range(7)]
    manifest = write(tmp_path / "first", rows, [row(9)])
    assert read_rows(tmp_path / "first", "train", 0, 100) == rows
    assert read_rows(tmp_path / "first", "train", 1, 4) == rows[1:5]
    assert read_rows(tmp_path / "first", "train", 7, 4) == []
    assert manifest["splits"]["validation"]["row_ids"] == ["9"]
    assert read_manifest(tmp_path / "first") == manifest
    for path in (tmp_path / "first").iterdir():
        assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "first", [row(1)], [])
    verify(tmp_path / "first")
    path = tmp_path / "first" / "train.parquet"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Conflict, match=r"train\.parquet of the snapshot 'first'"):
        verify(tmp_path / "first")
    os.unlink(path)
    with pytest.raises(Conflict):
        verify(tmp_path / "first")
    with pytest.raises(NotFound):
        verify(tmp_path / "second")


def test_an_unfinished_folder_leaves_nothing(tmp_path: Path) -> None:
    writer = SnapshotWriter(tmp_path / "first", FORMATS["messages"])
    writer.add("train", [row(1)])
    writer.discard()
    assert list(tmp_path.iterdir()) == []


TEXTS = st.lists(st.text(max_size=20), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(TEXTS, st.randoms(use_true_random=False))
def test_same_rows_same_hash(tmp_path_factory: pytest.TempPathFactory, texts, order) -> None:
    folder = tmp_path_factory.mktemp("hash")
    rows = [
        {"id": f"a{n}", "messages": [{"role": "user", "content": t}]} for n, t in enumerate(texts)
    ]
    other = [{**r, "id": f"b{r['id']}"} for r in order.sample(rows, len(rows))]
    first = write(folder / "one", rows, [])["content_hash"]
    assert write(folder / "two", other, [])["content_hash"] == first
    assert write(folder / "three", [*rows, row(1, "more")], [])["content_hash"] != first
    assert write(folder / "four", rows, [row(1, "more")])["content_hash"] != first


def test_the_card_names_splits_and_terms(tmp_path: Path) -> None:
    write(tmp_path / "first", [row(1)], [row(2)])
    card = (tmp_path / "first" / "README.md").read_text(encoding="utf-8")
    assert "  - split: validation\n    path: validation.parquet\n" in card
    assert "| a \\| b | not recorded | 3 | not stated |" in card
    assert "- pending: 2" in card
