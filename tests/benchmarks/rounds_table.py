"""What `rounds_study` found, as Markdown: each arm's figures, and arms beside each other by prompt.

A line of the study is one student on all exam prompts. Two students are compared on the same
prompts (`evaluate/paired.py`, Student's t). Pooled over seeds a prompt is one cluster, with as many
differences as there are seeds: prompts are what chance draws, and what seeds differ in is shown
beside it.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_studio.evaluate.paired import Difference, difference

Cell = dict[str, Any]
Found = dict[tuple[int, str], Cell]
NAMES = {
    "round-1": "round 1",
    "feedback": "round 2, what was lost",
    "more": "control: more of the same",
    "blind": "control: practice prompts, loss not looked at",
}
COMPARED = {
    ("feedback", "round-1"): "round 2 − round 1",
    ("more", "round-1"): "more of the same − round 1",
    ("feedback", "more"): "round 2 − more of the same",
    ("feedback", "blind"): "round 2 − loss not looked at",
}


def done_cells(into: Path) -> Found:
    """What is there already; a line cut short by a kill is passed over."""
    found: Found = {}
    for line in into.read_text(encoding="utf-8").splitlines() if into.exists() else ():
        try:
            cell = json.loads(line)
        except ValueError:
            continue
        found[cell["seed"], cell["arm"]] = cell
    return found


def table(found: Found) -> str:
    """Both tables; what is not measured yet is left out."""
    topics = sorted({topic for cell in found.values() for topic in cell["topics"]})
    parts = [_arms(found, topics), _beside(found)]
    return "\n\n".join(part for part in parts if part)


def _arms(found: Found, topics: Sequence[str]) -> str:
    """Means and spreads over seeds of each arm."""
    lines = [
        f"| student | seeds | KL to the teacher | {' | '.join(f'KL, {t}' for t in topics)} |"
        " top-1 agreement | cross-entropy |",
        "|---" * (5 + len(topics)) + "|",
    ]
    for arm, name in NAMES.items():
        group = [cell for (_, one), cell in sorted(found.items()) if one == arm]
        if not group:
            continue
        by_topic = [_spread(group, lambda c, t=t: _mean_of(c, t)) for t in topics]
        figures = [
            _spread(group, lambda c: np.mean(c["kl"])),
            *by_topic,
            _spread(group, lambda c: np.mean(c["agreement"])),
            _spread(group, lambda c: np.mean(c["ce"])),
        ]
        lines.append(f"| {name} | {len(group)} | {' | '.join(figures)} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _mean_of(cell: Cell, topic: str) -> float:
    return float(
        np.mean([v for v, t in zip(cell["kl"], cell["topics"], strict=True) if t == topic])
    )


def _spread(group: Sequence[Cell], value: Callable[[Cell], Any]) -> str:
    values = [float(value(cell)) for cell in group]
    mean = statistics.mean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def _beside(found: Found) -> str:
    """Differences of the KL by prompt: below 0, the first is nearer to the teacher."""
    lines = [
        "| first less second | seed | prompts | KL | 95% | p | nearer on | top-1 |",
        "|---" * 8 + "|",
    ]
    for (first, second), name in COMPARED.items():
        seeds = sorted(s for s, arm in found if arm == first and (s, second) in found)
        pairs = [(found[seed, first], found[seed, second]) for seed in seeds]
        for seed, pair in zip(seeds, pairs, strict=True):
            lines.append(_line(name, str(seed), [pair]))
        if len(pairs) > 1:
            lines.append(_line(name, "**all**", pairs))
    return "\n".join(lines) if len(lines) > 2 else ""


def _line(name: str, seed: str, pairs: Sequence[tuple[Cell, Cell]]) -> str:
    kl, top_1 = compared(pairs, "kl"), compared(pairs, "agreement")
    nearer = np.mean([
        a < b for one, two in pairs for a, b in zip(one["kl"], two["kl"], strict=True)
    ])
    ends = "-" if kl.mean.low is None else f"{kl.mean.low:+.4f} to {kl.mean.high:+.4f}"
    chance = "-" if kl.p_value is None else f"{kl.p_value:.2g}"
    return (
        f"| {name} | {seed} | {len(pairs[0][0]['items'])} | {kl.mean.value:+.4f} | {ends}"
        f" | {chance} | {100 * nearer:.0f}% | {top_1.mean.value:+.4f} |"
    )


def compared(pairs: Sequence[tuple[Cell, Cell]], figure: str) -> Difference:
    """The first students less the second ones, paired by prompt; a prompt is a cluster."""
    for one, two in pairs:
        assert one["items"] == two["items"], "other prompts: no pair"
    clusters = [str(item) for one, _ in pairs for item in one["items"]]
    first, second = (
        np.concatenate([np.asarray(pair[side][figure], dtype=np.float64) for pair in pairs])
        for side in (0, 1)
    )
    return difference(clusters, first, second)
