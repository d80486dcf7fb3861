"""Rows of a large snapshot, tokenised when a batch asks for them: `mapped_rows(...)`.

The frozen Parquet is copied once, as it is, to an Arrow file that is mapped into memory: any row
can be read at once, in any order, so the trainer shuffles and resumes as with rows in memory, and
the first update waits for no other row. A row that cannot be learned is read as one masked token:
a loss is a sum over learned tokens divided by their number, so it changes nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distill_studio.distill.data import MASKED, Encoded, Row

MAPPED_FROM = 20_000  # rows; fewer are tokenised at once, and what is left out is counted
ROW = "row"
_BATCH_ROWS = 1000


def mapped_rows(
    parquet: Path, copy: Path, encode: Callable[[Row], dict[str, Any] | None], pad_id: int
) -> Any:  # noqa: ANN401  (a datasets.Dataset)
    """All rows of `parquet`: `input_ids`, `labels` and `row`, made when they are read.

    Args:
        parquet: A split of a snapshot.
        copy: Where its Arrow file lies, or will.
        encode: Tokens and labels of a row; None where nothing is learned.
        pad_id: Stands for a row where nothing is learned.
    """
    import datasets

    arrow_copy(parquet, copy)
    return datasets.Dataset.from_file(str(copy)).with_transform(_Transform(encode, pad_id))


def arrow_copy(parquet: Path, target: Path) -> None:
    """Write `target` once, with a column `row` that numbers the rows; memory holds some rows."""
    if target.exists():
        return
    unfinished = target.with_name(target.name + ".unfinished")
    with pq.ParquetFile(parquet) as file:
        schema = file.schema_arrow.remove_metadata().append(pa.field(ROW, pa.int64()))
        with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            done = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                numbers = pa.array(range(done, done + batch.num_rows), pa.int64())
                columns = [*batch.columns, numbers]
                writer.write_batch(pa.record_batch(columns, schema=schema))
                done += batch.num_rows
    unfinished.rename(target)


class EncodedRows(Sequence[Encoded]):
    """Rows of several datasets, one after the other, read when they are asked for."""

    def __init__(self, splits: Sequence[Any]) -> None:
        self._splits = list(splits)

    def __len__(self) -> int:
        """Rows in all."""
        return sum(len(split) for split in self._splits)

    def __iter__(self) -> Iterator[Encoded]:
        """All rows, some at a time."""
        for split in self._splits:
            for start in range(0, len(split), _BATCH_ROWS):
                found = split[start : start + _BATCH_ROWS]
                yield from map(Encoded, found["input_ids"], found["labels"])

    def __getitem__(self, number: Any) -> Any:  # noqa: ANN401  (int -> Encoded)
        """One row."""
        for split in self._splits:
            if number < len(split):
                row = split[int(number)]
                return Encoded(row["input_ids"], row["labels"])
            number -= len(split)
        raise IndexError(number)


class _Transform:
    """A batch of columns as rows, encoded."""

    def __init__(self, encode: Callable[[Row], dict[str, Any] | None], pad_id: int) -> None:
        self._encode = encode
        self._nothing = {"input_ids": [pad_id], "labels": [MASKED]}

    def __call__(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Lists of what `encode` gives of each row, and the numbers of the rows."""
        names = [name for name in columns if name != ROW]
        rows = [
            dict(zip(names, values, strict=True))
            for values in zip(*(columns[name] for name in names), strict=True)
        ]
        made = [self._encode(row) or self._nothing for row in rows]
        fields = dict.fromkeys(name for row in made for name in row)
        found = {name: [row.get(name, []) for row in made] for name in fields}
        return found | {ROW: list(columns[ROW])}

    def __reduce__(self) -> tuple[Any, ...]:
        """For the library's fingerprint, which pickles: the model behind `encode` is not told."""
        return (str, (type(self).__name__,))
