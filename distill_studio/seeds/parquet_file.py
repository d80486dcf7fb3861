"""Parquet, batch by batch. A row group that cannot be read costs that group only."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds.source import SourceRow

_BATCH_ROWS = 1000


def read_parquet(path: Path) -> Iterator[SourceRow]:
    """Yield each row; `line` is the number of the row.

    Raises:
        InvalidInput: The file is no Parquet, or its footer is damaged.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as err:
        raise InvalidInput(
            f"{path.name} is no readable Parquet file ({_first_line(err)}).",
            "Is it cut off, or does it hold something else under this name?",
        ) from err
    with file:
        start = 1
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            yield from _read_group(file, group, start, rows)
            start += rows


def _read_group(file: pq.ParquetFile, group: int, start: int, rows: int) -> Iterator[SourceRow]:
    number = start
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group]):
            for values in batch.to_pylist():
                yield SourceRow(number, values=values)
                number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
        last = start + rows - 1
        yield SourceRow(
            number, problem=f"Rows {number} to {last} cannot be read ({_first_line(err)})."
        )


def _first_line(err: Exception) -> str:
    return str(err).splitlines()[0][:200].rstrip(".") if str(err) else type(err).__name__
