"""Looking rows up in snapshots' files: across row groups, and in files that are replaced."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill_studio.freeze.finder import RowFinder

PROMPT = [{"role": "user", "content": "Why?"}]


def write(path: Path, ids: list[str], **options: object) -> Path:
    """As a freeze does, in groups of ten rows; `prompt` comes first to show that names count."""
    rows = pa.table({"prompt": [PROMPT] * len(ids), "id": ids})
    path.unlink(missing_ok=True)
    pq.write_table(rows, path, row_group_size=10, **options)
    return path


@pytest.mark.parametrize("statistics", [True, False])
def test_rows_are_found_in_every_group_and_others_are_not(tmp_path, statistics):
    ids = [f"r{n:03}" for n in range(0, 100, 2)]
    file = write(tmp_path / "train.parquet", ids, write_statistics=statistics)
    finder = RowFinder()
    assert all(finder.find(file, [one]) == {one} for one in ids)
    assert finder.find(file, ["r001", "r050", "r098", "r099", "a", "z"]) == {"r050", "r098"}
    assert finder.find(file, []) == set()


def test_ranges_that_overlap_hide_nothing(tmp_path):
    ids = [f"r{n * 37 % 100:03}" for n in range(100)]
    file = write(tmp_path / "train.parquet", ids)
    assert RowFinder().find(file, ["r000", "r042", "r099", "r100"]) == {"r000", "r042", "r099"}


def test_a_file_that_is_replaced_is_looked_at_again_at_once(tmp_path):
    finder = RowFinder()
    for n in range(20):
        file = write(tmp_path / "train.parquet", [f"x{n:02}"] * 3)
        when = 10**18 + n * 10**6  # a millisecond apart: of a coarse clock's tick all could be
        os.utime(file, ns=(when, when))
        assert finder.find(file, [f"x{n:02}"]) == {f"x{n:02}"}
        assert finder.find(file, [f"x{n - 1:02}"]) == set()


def test_a_row_group_without_the_id_is_not_read(tmp_path, monkeypatch):
    file = write(tmp_path / "train.parquet", [f"r{n:03}" for n in range(100)])
    read = []
    original = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_groups",
        lambda self, groups, **options: read.append(groups) or original(self, groups, **options),
    )
    finder = RowFinder()
    assert finder.find(file, ["r055"]) == {"r055"}
    assert finder.find(file, ["s"]) == set()
    assert read == [[5]]
