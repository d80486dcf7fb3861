"""What a child of the harness left behind: its events, and its results as scores."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_studio.core.ids import content_hash
from distill_studio.core.records.benchmark import BenchmarkScore

_NO_METRICS = {"alias", "name", "sample_len", "sample_count"}


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Events from the byte `offset` on, and the offset after the last whole line."""
    if not path.is_file():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)


def read_results(path: Path, asked: tuple[str, ...]) -> tuple[list[BenchmarkScore], dict[str, Any]]:
    """The scores and the facts (`packages`, `model`, `seconds`) of a finished run.

    Args:
        path: results.json.
        asked: Names of the tasks as asked for; others are parts of a group.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    scores: list[BenchmarkScore] = []
    for task, figures in found["results"].items():
        for key, value in figures.items():
            metric, _, filter_ = key.partition(",")
            is_figure = isinstance(value, int | float) and not isinstance(value, bool)
            if key in _NO_METRICS or metric.endswith("_stderr") or not is_figure:
                continue
            scores.append(
                BenchmarkScore(
                    task=task,
                    place=len(scores),
                    metric=metric,
                    filter=filter_ or "none",
                    value=value,
                    stderr=_number(figures.get(f"{metric}_stderr,{filter_}")),
                    is_asked=task in asked or not any(task in kids for kids in _groups(found)),
                    **_of_task(found, task, metric),
                )
            )
    return scores, {name: found[name] for name in ("packages", "model", "seconds")}


def _of_task(found: Mapping[str, Any], task: str, metric: str) -> dict[str, Any]:
    leaves = _leaves(found, task)
    counts = [found["n-samples"].get(leaf, {}) for leaf in leaves]
    prints = [found["fingerprints"].get(leaf, "") for leaf in leaves]
    better = found["higher_is_better"].get(task, {}).get(metric)
    return {
        "n": sum(int(count.get("effective", 0)) for count in counts),
        "total": sum(int(count.get("original", 0)) for count in counts),
        "shots": _whole(found["n-shot"].get(task)),
        "version": str(found["versions"].get(task, "")),
        "fingerprint": prints[0] if len(prints) == 1 else content_hash(prints),
        "is_higher_better": better is not False,
    }


def _groups(found: Mapping[str, Any]) -> list[list[str]]:
    return list(found["group_subtasks"].values())


def _leaves(found: Mapping[str, Any], task: str) -> list[str]:
    parts = found["group_subtasks"].get(task)
    if not parts:
        return [task]
    return [leaf for part in parts for leaf in _leaves(found, part)]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) else None
