"""A teacher's words read from disk, row by row: `CachedTeacher.open(folder, key, rows)`."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from distill_studio.distill.data import Encoded
from distill_studio.distill.losses.sampled_kl import Draws
from distill_studio.distill.losses.sparse_kl import TopK
from distill_studio.distill.signals.base import (
    GROUP_ROWS,
    KEY_FILE,
    PART_ROWS,
    CacheMismatch,
    SignalKey,
    count_parts,
    part_path,
)
from distill_studio.distill.signals.capture import AnyTeacher, score

_KEPT_GROUPS = 64
TOLERANCE = 0.1  # nats: two kernels of one bf16 model differ by less, two models by more


class CachedTeacher:
    """A whole cache; rows are read when they are asked for.

    Args:
        folder: Of the cache.
        key: Its key.
        rows: How many it holds.
    """

    def __init__(self, folder: Path, key: SignalKey, rows: int) -> None:
        self.key = key
        self.rows = rows
        self._folder = folder
        self._group = lru_cache(maxsize=_KEPT_GROUPS)(self._read_group)

    @classmethod
    def open(cls, folder: Path, expected: SignalKey, rows: int) -> "CachedTeacher":
        """The cache in `folder`.

        Raises:
            CacheMismatch: It is missing, unfinished, or was made for something else.
        """
        file = folder / KEY_FILE
        if not file.exists():
            raise CacheMismatch("There is no stored teacher signal.", "Capture it first.")
        expected.refuse_unlike(SignalKey.model_validate_json(file.read_bytes()))
        missing = [p for p in range(count_parts(rows)) if not part_path(folder, p).exists()]
        if missing:
            raise CacheMismatch(
                f"The stored teacher signal lacks {len(missing)} of {count_parts(rows)} parts.",
                "Capture goes on where it stopped.",
            )
        return cls(folder, expected, rows)

    def covered(self) -> float:
        """Mean share of the teacher's probability that the kept ids have, over all tokens."""
        total, tokens = 0.0, 0
        for part in range(count_parts(self.rows)):
            table = pq.read_table(part_path(self._folder, part), columns=["covered", "tokens"])
            total += sum(table["covered"].to_pylist())
            tokens += sum(table["tokens"].to_pylist())
        return total / max(tokens, 1)

    def read(self, numbers: Sequence[int], temperature: float, device: str = "cpu") -> TopK | Draws:
        """What the teacher says of the learned tokens of these rows, one row after the other.

        Raises:
            CacheMismatch: Not captured for this temperature.
        """
        if temperature not in self.key.temperatures:
            raise CacheMismatch(
                f"The stored teacher signal is not for temperature {temperature:g}.",
                f"It was captured for {', '.join(f'{t:g}' for t in self.key.temperatures)}.",
            )
        rows = [self._row(number) for number in numbers]
        ids_NK = self._joined(rows, "ids", self._width(rows), device).long()
        log_probs_NK = self._joined(rows, "log_probs", ids_NK.shape[1], device).float()
        if self.key.kind == "draws":
            counts_NK = self._joined(rows, "counts", ids_NK.shape[1], device).float()
            used = max(1, int((counts_NK > 0).sum(1).max())) if len(counts_NK) else 1
            shares_NK = counts_NK[:, :used] / self.key.k
            return Draws(ids_NK[:, :used], shares_NK, log_probs_NK[:, :used])
        places, at = len(self.key.temperatures), self.key.temperatures.index(temperature)
        log_z_N = self._joined(rows, "log_z", places, device)[:, at]
        log_tail_N = self._joined(rows, "log_tail", places, device)[:, at]
        return TopK(ids_NK, log_probs_NK / temperature - log_z_N.unsqueeze(1), log_tail_N)

    def verify(
        self, teacher: AnyTeacher, rows: Sequence[Encoded], sample: int = 4, seed: int = 0
    ) -> float:
        """Ask the teacher again about some rows; the largest mean difference of a row, in nats.

        Raises:
            CacheMismatch: It says something else than what is stored.
        """
        numbers = np.random.default_rng(seed).permutation(len(rows))[:sample].tolist()
        worst = 0.0
        for number in numbers:
            dense = score(teacher, [rows[number]])[0]
            stored = self.read([number], self.key.temperatures[0])
            if len(dense) != len(stored.ids_NK):
                raise self._unlike(number)
            worst = max(worst, self._difference(dense(slice(None)).cpu(), stored))
            if worst > TOLERANCE:
                raise self._unlike(number)
        return worst

    def _difference(self, log_p_NV: Tensor, stored: TopK | Draws) -> float:
        temperature = self.key.temperatures[0]
        log_t_NV = (log_p_NV.float() / temperature).log_softmax(1)
        gap_NK = (log_t_NV.gather(1, stored.ids_NK) - stored.log_probs_NK).abs()
        weight_NK = stored.log_probs_NK.exp()  # a far id may differ by more: it hardly counts
        return float((gap_NK * weight_NK).sum() / weight_NK.sum().clamp(min=1e-9))

    @staticmethod
    def _unlike(number: int) -> CacheMismatch:
        return CacheMismatch(
            f"The teacher says something else of row {number} than what is stored.",
            "Its files changed, or the stored signal is damaged: delete it and capture anew.",
        )

    def _width(self, rows: Sequence[dict[str, Any]]) -> int:
        return min(self.key.k, self.key.width) if self.key.kind == "top_k" else self.key.k

    @staticmethod
    def _joined(rows: Sequence[dict[str, Any]], name: str, width: int, device: str) -> Tensor:
        flat = np.concatenate([row[name] for row in rows])
        if flat.dtype == np.uint16:
            flat = flat.astype(np.int32)
        return torch.from_numpy(flat).to(device).view(-1, width)

    def _row(self, number: int) -> dict[str, Any]:
        part, place = divmod(number, PART_ROWS)
        found = self._group(part, place // GROUP_ROWS)[place % GROUP_ROWS]
        if found["row"] != number:
            raise CacheMismatch("The stored teacher signal is out of order.", "Capture it anew.")
        return found

    def _read_group(self, part: int, group: int) -> list[dict[str, Any]]:
        with pq.ParquetFile(part_path(self._folder, part)) as file:
            table = file.read_row_group(group)
        columns: dict[str, Callable[[int], Any]] = {}
        for name in table.column_names:
            column = table[name].combine_chunks()
            if name in ("row", "tokens", "covered"):
                values = column.to_pylist()
                columns[name] = values.__getitem__
            else:
                columns[name] = _ListColumn(column)
        return [{name: at(i) for name, at in columns.items()} for i in range(table.num_rows)]


class _ListColumn:
    """A list column of Arrow as one numpy array and its offsets."""

    def __init__(self, column: Any) -> None:  # noqa: ANN401  (a pyarrow ListArray)
        self._values = column.values.to_numpy(zero_copy_only=False)
        self._offsets = column.offsets.to_numpy()

    def __call__(self, index: int) -> np.ndarray:
        """The values of a row."""
        return np.array(self._values[self._offsets[index] : self._offsets[index + 1]])
