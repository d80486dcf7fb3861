"""Writes what a teacher says of every learned token to a folder: `capture(...)`.

Per token either its K most likely ids with their log-probabilities over the whole vocabulary and,
for each temperature T, log_z (the logsumexp of all log-probabilities / T) and the log of the mass
outside the K ids; or N ids drawn from its distribution, with counts. A part of 64 rows is written
beside its place and moved when whole, so a capture that was stopped goes on where it was.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill_studio.distill.data import MASKED, Encoded
from distill_studio.distill.losses.mask import learned_positions
from distill_studio.distill.signals.base import PART_ROWS, SignalKey, count_parts, part_path
from distill_studio.distill.signals.ensemble import DenseMixture, EnsembleTeacher
from distill_studio.distill.signals.online import DenseTeacher, OnlineTeacher
from distill_studio.distill.signals.parts import Columns, as_stored, begin, write

AnyTeacher = OnlineTeacher | EnsembleTeacher

_TILE_TOKENS = 128


def capture(
    teacher: AnyTeacher,
    rows: Sequence[Encoded],
    folder: Path,
    key: SignalKey,
    *,
    batch_rows: int = 4,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Write the parts that are missing.

    Args:
        teacher: The model.
        rows: As the trainer will see them.
        folder: For this key alone.
        key: Decides what is kept.
        batch_rows: Rows per forward pass.
        seed: Of the draws; each row draws on its own, so resuming changes nothing.
        progress: Called with (rows done, rows in all) after each part; may raise to stop.

    Raises:
        CacheMismatch: The folder holds a signal of another key.
    """
    begin(folder, key)
    for part in range(count_parts(len(rows))):
        first = part * PART_ROWS
        last = min(first + PART_ROWS, len(rows))
        if not part_path(folder, part).exists():
            progress(first, len(rows))
            _write_part(
                teacher, rows, range(first, last), part_path(folder, part), key, batch_rows, seed
            )
    progress(len(rows), len(rows))


def score(teacher: AnyTeacher, rows: Sequence[Encoded]) -> list[DenseTeacher | DenseMixture]:
    """What the teacher says of the learned tokens of each row, at temperature 1; one pass."""
    longest = max(len(row.input_ids) for row in rows)
    ids_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    labels_BT = torch.full_like(ids_BT, MASKED)
    for b, row in enumerate(rows):
        length = len(row.input_ids)
        ids_BT[b, :length] = torch.tensor(row.input_ids)
        labels_BT[b, :length] = torch.tensor(row.labels)
        mask_BT[b, :length] = 1
    where_BT = learned_positions(labels_BT)
    device = teacher.device
    batch = {"input_ids": ids_BT.to(device), "attention_mask": mask_BT.to(device)}
    return list(teacher.read(batch, where_BT.to(device)).split(where_BT.sum(1).tolist()))


def _write_part(
    teacher: AnyTeacher,
    rows: Sequence[Encoded],
    numbers: range,
    path: Path,
    key: SignalKey,
    batch_rows: int,
    seed: int,
) -> None:
    columns = Columns(key)
    for start in range(numbers.start, numbers.stop, batch_rows):
        batch = range(start, min(start + batch_rows, numbers.stop))
        for number, dense in zip(batch, score(teacher, [rows[n] for n in batch]), strict=True):
            tiles = [dense(slice(i, i + _TILE_TOKENS)) for i in range(0, len(dense), _TILE_TOKENS)]
            record = _top_k if key.kind == "top_k" else _draws
            columns.add(row=number, tokens=len(dense), **record(tiles, key, (seed << 32) + number))
    write(columns.table(), path)


def _top_k(tiles_nV: Sequence[Tensor], key: SignalKey, _seed: int) -> dict[str, Any]:
    ids, log_probs, log_z, log_tail, covered = [], [], [], [], 0.0
    for log_p_nV in tiles_nV:
        head_nK, ids_nK = log_p_nV.topk(min(key.k, log_p_nV.shape[1]), 1)
        z_nS, tail_nS = _at_temperatures(log_p_nV, ids_nK, key.temperatures)
        covered += float((1.0 - tail_nS[:, 0].exp()).sum())
        ids.append(ids_nK)
        log_probs.append(head_nK)
        log_z.append(z_nS)
        log_tail.append(tail_nS)
    return {
        "covered": covered,
        "ids": _flat(ids, np.int32),
        "log_probs": _stored(log_probs, key),
        "log_z": _flat(log_z, np.float32),
        "log_tail": _flat(log_tail, np.float32),
    }


def _at_temperatures(
    log_p_nV: Tensor, ids_nK: Tensor, temperatures: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """(log_z, log of the tail's mass) at each temperature, both (n, temperatures)."""
    outside_nV = log_p_nV.scatter(1, ids_nK, float("-inf"))
    z, tail = [], []
    for temperature in temperatures:
        log_z_n = (log_p_nV / temperature).logsumexp(1)
        z.append(log_z_n)
        tail.append((outside_nV / temperature).logsumexp(1) - log_z_n)
    return torch.stack(z, 1), torch.stack(tail, 1)


def _draws(tiles_nV: Sequence[Tensor], key: SignalKey, seed: int) -> dict[str, Any]:
    """`counts` holds one count per place; unused places have 0."""
    temperature = key.temperatures[0]
    ids, counts, log_probs, covered = [], [], [], 0.0
    for number, log_p_nV in enumerate(tiles_nV):
        generator = torch.Generator(log_p_nV.device).manual_seed(seed + (number << 48))
        log_t_nV = (log_p_nV / temperature).log_softmax(1)
        drawn_nK = log_t_nV.exp().multinomial(key.k, replacement=True, generator=generator)
        ids_nK, counts_nK = _counted(drawn_nK)
        ids.append(ids_nK)
        counts.append(counts_nK)
        log_probs.append(log_t_nV.gather(1, ids_nK))
        covered += float((log_t_nV.gather(1, ids_nK).exp() * (counts_nK > 0)).sum())
    return {
        "covered": covered,
        "ids": _flat(ids, np.int32),
        "log_probs": _stored(log_probs, key),
        "counts": _flat(counts, np.uint16),
    }


def _counted(drawn_nK: Tensor) -> tuple[Tensor, Tensor]:
    """Each drawn id once with its count at its first place; the other places count 0."""
    ids_nK = drawn_nK.sort(1).values
    is_first_nK = torch.ones_like(ids_nK, dtype=torch.bool)
    is_first_nK[:, 1:] = ids_nK[:, 1:] != ids_nK[:, :-1]
    place_nK = is_first_nK.cumsum(1) - 1  # of the id among the different ones
    counts_nK = torch.zeros_like(ids_nK).scatter_add_(1, place_nK, torch.ones_like(ids_nK))
    return torch.zeros_like(ids_nK).scatter_(1, place_nK, ids_nK), counts_nK


def _flat(tiles: Sequence[Tensor], dtype: Any) -> np.ndarray:  # noqa: ANN401  (a numpy type)
    if not tiles:  # a row that teaches nothing
        return np.empty(0, dtype)
    return torch.cat([tile.flatten() for tile in tiles]).cpu().numpy().astype(dtype)


def _stored(tiles: Sequence[Tensor], key: SignalKey) -> np.ndarray:
    if not tiles:
        return as_stored(np.empty(0, np.float32), key)
    return as_stored(torch.cat([tile.flatten() for tile in tiles]).float().cpu().numpy(), key)
