"""Packing: rows laid end to end, so that a batch holds little padding. Torch-free: `lay(...)`.

The rows of a batch stay the same rows; they are read as fewer, longer sequences of at most the
run's longest length. Where a model keeps such rows apart is measured by `trainers/packed.py`; what
`config.json` tells beforehand is refused here.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill_studio.distill.config import AnswerRun, LogitRun, RunConfig
from distill_studio.distill.findings import Finding
from distill_studio.distill.pairing import is_across

WAY_OUT = "Turn packing off: rows are then padded to one length, and nothing else changes."
_ATTENTION = "attention"  # in the name of every kind of layer that can keep rows apart
_NOT_ATTENTION = ("linear_attention", "lightning_attention")  # a state that runs on, all the same
_STATES = ("mamba", "rwkv", "xlstm", "recurrent", "ssm")  # in the name of a model
_TRIED = 8  # counts of sequences beyond the fewest that are tried


def lay(lengths: Sequence[int], longest: int, hidden: int) -> list[list[int]]:
    """Which rows of a batch go into which sequence: the quickest layout found.

    Rows go, longest first, to the shortest of so many sequences, for several counts of them; one
    row each is among these, so a packed batch is never larger than a padded one. A token costs
    1 + T / (6 H) in a sequence of T: attention is worked out over all of it (4 T H operations a
    layer beside some 24 H^2), whatever the mask then hides.

    Args:
        lengths: Tokens of each row, in the batch's order.
        longest: Most tokens of a sequence; a longer row stands alone.
        hidden: Width H of the model; 0 counts padding alone.

    Returns:
        Numbers of rows by sequence, each in the batch's order; an empty list for no rows.
    """
    total = sum(lengths)
    fewest = max(1, -(-total // max(longest, 1)))
    counts = [*range(fewest, min(fewest + _TRIED, len(lengths))), len(lengths)]
    best: tuple[float, list[list[int]]] | None = None
    for count in counts:
        sequences, width = _spread(lengths, count)
        if width > longest and count < len(lengths):
            continue
        cost = count * width * (1.0 + width / (6.0 * hidden) if hidden else 1.0)
        if best is None or cost <= best[0]:
            best = (cost, sequences)
    return best[1] if best and lengths else []


def _spread(lengths: Sequence[int], count: int) -> tuple[list[list[int]], int]:
    """(rows by sequence, tokens of the longest sequence) over `count` sequences."""
    sequences: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for row in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        place = min(range(count), key=filled.__getitem__)
        sequences[place].append(row)
        filled[place] += lengths[row]
    kept = sorted(sorted(sequence) for sequence in sequences if sequence)
    return kept, max(filled, default=0)


def is_packed(config: RunConfig) -> bool:
    """True when a run packs its rows."""
    return isinstance(config, AnswerRun) and config.packing


def packing_findings(config: RunConfig, costs: Sequence[int], hidden: int) -> list[Finding]:
    """What packing saves on these rows, or why it is refused.

    Args:
        config: The run.
        costs: Tokens of the rows looked at, after cutting.
        hidden: Width of the student.
    """
    if not is_packed(config):
        return []
    for whose, folder in _folders(config):
        if kind := running_state(folder):
            message = (
                f"The {whose} cannot keep packed rows apart: it has {kind}, whose state runs on"
                " from one row into the next."
            )
            return [Finding(level="error", code="packing", message=message, hint=WAY_OUT)]
    batches = [costs[n : n + config.batch_size] for n in range(0, len(costs), config.batch_size)]
    if not batches:
        return []
    padded = sum(len(batch) * max(batch) for batch in batches)
    laid = sum(_area(batch, config.max_length, hidden) for batch in batches)
    message = (
        f"Packed, batches of {config.batch_size} rows are read as {laid / padded:.0%} of the tokens"
        " that they have padded. Updates have the same rows and the same loss; before the first,"
        " it is measured whether the model keeps the rows apart."
    )
    hint = "A larger batch size has more to save." if config.batch_size < 4 else ""
    return [Finding(level="info", code="packing", message=message, hint=hint)]


def _area(batch: Sequence[int], longest: int, hidden: int) -> int:
    sequences = lay(batch, longest, hidden)
    return len(sequences) * max(sum(batch[row] for row in sequence) for sequence in sequences)


def _folders(config: RunConfig) -> list[tuple[str, Path]]:
    found = [("student", Path(config.student.base_folder))]
    if isinstance(config, LogitRun) and config.signal == "online" and not is_across(config):
        found += [("teacher", Path(one.folder)) for one in config.teachers if one.folder]
    return found


def running_state(folder: Path) -> str:
    """What of a model, by its `config.json`, runs on from row to row; '' where nothing is known."""
    file = folder / "config.json"
    if not file.exists():
        return ""
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    config = config.get("text_config") or config
    kinds = {str(k) for k in config.get("layer_types") or config.get("layers_block_type") or ()}
    odd = sorted(k for k in kinds if _ATTENTION not in k or k in _NOT_ATTENTION)
    if odd:
        return f"layers of the kind {', '.join(odd)}"
    name = str(config.get("model_type", ""))
    return f"layers of the kind {name}" if any(word in name for word in _STATES) else ""
