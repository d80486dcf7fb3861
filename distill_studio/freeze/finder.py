"""Which snapshots hold a row, answered in a millisecond a file: `RowFinder.find(file, ids)`.

Of each file the ranges of ids of its row groups are remembered, so that one group of a thousand
rows is read where an id may be, and nothing where it cannot be. Ids grow with age and snapshots are
in their order, so ranges hardly overlap. (DuckDB reads the footer of a million rows again for each
question, 19 ms; its own cache of footers, `parquet_metadata_cache`, misses a file that is replaced
within a second.)
"""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq

_ID = "id"
_MOST_FILES = 10_000  # whose ranges are kept: 100 KiB per million rows
_MOST_FOOTERS = 128  # some MiB per million rows; fewer than a question needs would help nobody

Stamp = tuple[int, int, int]
Range = tuple[str, str] | None


class RowFinder:
    """Remembers what it saw of files; one that changes is looked at again."""

    def __init__(self) -> None:
        self._ranges = lru_cache(maxsize=_MOST_FILES)(self._read_ranges)
        self._footer = lru_cache(maxsize=_MOST_FOOTERS)(_read_footer)

    def find(self, file: Path, ids: Collection[str]) -> set[str]:
        """Those of the ids that a snapshot's file has."""
        facts = file.stat()
        stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        groups = [
            number
            for number, found in enumerate(self._ranges(file, stamp))
            if found is None or any(found[0] <= one <= found[1] for one in ids)
        ]
        if not groups or not ids:
            return set()
        with pq.ParquetFile(file, metadata=self._footer(file, stamp)) as opened:
            there = opened.read_row_groups(groups, columns=[_ID])[_ID].to_pylist()
        return set(ids).intersection(there)

    def _read_ranges(self, file: Path, stamp: Stamp) -> list[Range]:
        """Least and greatest id of each row group; None where the file does not say."""
        footer = self._footer(file, stamp)
        column = footer.schema.names.index(_ID)
        found: list[Range] = []
        for number in range(footer.num_row_groups):
            facts = footer.row_group(number).column(column).statistics
            is_known = facts is not None and facts.has_min_max
            found.append((str(facts.min), str(facts.max)) if is_known else None)
        return found


def _read_footer(file: Path, _stamp: Stamp) -> pq.FileMetaData:
    return pq.read_metadata(file)
