"""How a stored signal is written: `begin` a folder, fill `Columns`, `write` a part. Torch-free."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from distill_studio.distill.signals.base import GROUP_ROWS, KEY_FILE, SignalKey

LOWEST: Mapping[str, float] = {"fp16": -65504.0, "fp32": -1e30}  # stands for log 0
_FLOAT = {"fp16": (np.float16, pa.float16()), "fp32": (np.float32, pa.float32())}


def begin(folder: Path, key: SignalKey) -> None:
    """Make the folder of a key, or find it.

    Raises:
        CacheMismatch: The folder holds a signal of another key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key_file = folder / KEY_FILE
    if key_file.exists():
        with suppress(ValidationError):  # an older version's write was cut short by a full disk
            key.refuse_unlike(SignalKey.model_validate_json(key_file.read_bytes()))
            return
    unfinished = key_file.with_suffix(".unfinished")
    unfinished.write_text(key.model_dump_json(indent=2) + "\n", encoding="utf-8")
    unfinished.replace(key_file)


@dataclass
class Columns:
    """Columns of a part, a list per row."""

    key: SignalKey
    values: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, **row: Any) -> None:  # noqa: ANN401
        """One row."""
        for name, value in row.items():
            self.values.setdefault(name, []).append(value)

    def table(self) -> pa.Table:
        """As Parquet wants it."""
        types = {
            "row": pa.int64(),
            "tokens": pa.int32(),
            "covered": pa.float64(),
            "ids": pa.list_(pa.int32()),
            "log_probs": pa.list_(_FLOAT[self.key.dtype][1]),
            "log_z": pa.list_(pa.float32()),
            "log_tail": pa.list_(pa.float32()),
            "counts": pa.list_(pa.uint16()),
        }
        return pa.table({n: pa.array(v, types[n]) for n, v in self.values.items()})


def as_stored(log_probs: np.ndarray, key: SignalKey) -> np.ndarray:
    """Log-probabilities in the key's number format."""
    stored: np.ndarray = np.maximum(log_probs, LOWEST[key.dtype]).astype(_FLOAT[key.dtype][0])
    return stored


def write(table: pa.Table, path: Path) -> None:
    """Write beside its place and move when whole."""
    unfinished = path.with_suffix(".unfinished")
    pq.write_table(table, unfinished, row_group_size=GROUP_ROWS, compression="zstd")
    unfinished.rename(path)


def joined(paths: Sequence[Path]) -> pa.Table:
    """Tables of some rows each as one, in this order."""
    return pa.concat_tables([pq.read_table(path) for path in paths]).combine_chunks()
