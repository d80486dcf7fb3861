"""Curate on a million pairs: `python -m tests.benchmarks.curate --rows 1000000 --json`.

Times every operation of the Curate pages as the app calls them (query, records, JSON): the first
call after a write, when nothing is remembered, then at least 20 more; a threshold that was never
asked for; applying and undoing. Prints p50 and p95 in milliseconds, seconds of single steps, memory
and the load, and ends with 1 when a limit is missed. `--folder` keeps the store for the next time.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.settings import Settings
from distill_studio.services import operations
from distill_studio.services.workspace import STORE_FILE, Workspace
from tests.benchmarks import big_store

PAGE_MS, SLIDER_MS, APPLY_S, MEMORY_MIB = 150.0, 1000.0, 60.0, 2048
LEAST_RUNS = 20
OWNER = Actor(user="owner", role=Role.OWNER)
OPERATIONS = (
    "curate_state", "curate_preview", "curate_dedup_preview", "curate_plan_report",
    "curate_compare", "curate_explain", "curate_history", "diversity_topics", "diversity_points",
    "leaks_packs", "leaks_reports", "leaks_report", "leaks_queue", "references_sets",
    "references_pairs", "report_dataset",
)  # fmt: skip


class Asked:
    """Arguments at random places of the store."""

    def __init__(self, workspace: Workspace) -> None:
        self._rng = random.Random(7)
        rows = workspace.db.rows("SELECT id FROM pairs USING SAMPLE 2000")
        self._ids = [row["id"] for row in rows]
        shown = workspace.curate.dedup_preview(OWNER)
        self._near = [(one.a.pair_id, one.b.pair_id) for one in shown.borderline]
        self._packs = [pack.name for pack in workspace.leaks.packs(OWNER)]
        self._sets = [one.name for one in workspace.references.sets(OWNER)]
        self._thresholds = [0.8 + k / 1000 for k in range(200)]
        self._rng.shuffle(self._thresholds)

    def arguments(self, operation: str) -> dict[str, Any]:
        """Of one call: half the comparisons are of rows that are near."""
        if operation == "curate_explain":
            return {"pair_id": self._rng.choice(self._ids)}
        if operation == "curate_compare":
            a, b = self._rng.choice(self._near)
            return {"a": a, "b": b if self._rng.random() < 0.5 else self._rng.choice(self._ids)}
        if operation == "leaks_report":
            return {"name": self._rng.choice(self._packs), "limit": 12}
        if operation == "references_pairs":
            return {"name": self._rng.choice(self._sets)}
        return {}

    def new_threshold(self) -> float:
        """One that was not asked for yet."""
        return self._thresholds.pop()


class Memory:
    """The most that this process held while it was watched."""

    def __init__(self) -> None:
        self.mib = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look every 20 ms."""
        process, done = psutil.Process(), threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                self.mib = max(self.mib, process.memory_info().rss // 2**20)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def measure(workspace: Workspace, runs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything but the building."""
    asked = Asked(workspace)
    found: dict[str, Any] = {"pages": {}}
    for operation in OPERATIONS:
        forget(workspace)
        first = timed(workspace, operation, asked.arguments(operation))
        times = [timed(workspace, operation, asked.arguments(operation)) for _ in range(runs)]
        found["pages"][operation] = {"first_ms": round(first, 1), **spread(times, PAGE_MS)}
        say(f"{operation} {found['pages'][operation]}")
    for name, operation in (("slider", "curate_dedup_preview"), ("report", "curate_plan_report")):
        timed(workspace, operation, {})
        times = [
            timed(workspace, operation, {"threshold": asked.new_threshold()}) for _ in range(runs)
        ]
        found[name] = spread(times, SLIDER_MS)
        say(f"{name} {found[name]}")
    forget(workspace)
    start = time.perf_counter()
    for operation in OPERATIONS[:4]:  # what the tab asks for when it opens, after a decision
        timed(workspace, operation, {})
    found["open_after_a_write_s"] = round(time.perf_counter() - start, 2)
    found.update(changes(workspace))
    return found


def changes(workspace: Workspace) -> dict[str, Any]:
    """Applying all, another threshold, and taking both back."""
    steps = {
        "apply_s": ("curate_apply", {"threshold": 0.85}),
        "apply_again_s": ("curate_apply", {"threshold": 0.95}),
        "undo_s": ("curate_undo", {}),
        "undo_first_s": ("curate_undo", {}),
    }
    found: dict[str, Any] = {}
    for name, (operation, arguments) in steps.items():
        start = time.perf_counter()
        done = operations.call(workspace, OWNER, operation, arguments)
        found[name] = round(time.perf_counter() - start, 2)
        if operation == "curate_apply":
            found[name.replace("_s", "_rows")] = done["changed"]
    return found


def forget(workspace: Workspace) -> None:
    """A write that changes nothing: what was remembered counts no more."""
    with workspace.db.write() as cursor:
        cursor.execute("UPDATE pairs SET topic = topic WHERE id = ''").fetchall()


def timed(workspace: Workspace, operation: str, arguments: dict[str, Any]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    operations.call(workspace, OWNER, operation, arguments)
    return (time.perf_counter() - start) * 1000


def spread(times_ms: list[float], limit_ms: float) -> dict[str, Any]:
    """p50, p95, the worst, and whether p95 is within the limit."""
    ordered = sorted(times_ms)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {
        "p50_ms": round(ordered[len(ordered) // 2], 1),
        "p95_ms": round(p95, 1),
        "max_ms": round(ordered[-1], 1),
        "is_within": p95 <= limit_ms,
    }


def missed(report: dict[str, Any]) -> list[str]:
    """What is over its limit."""
    over = [name for name, one in report["pages"].items() if not one["is_within"]]
    over += [name for name in ("slider", "report") if not report[name]["is_within"]]
    steps = ("apply_s", "apply_again_s", "undo_s", "undo_first_s")
    over += [name for name in steps if report[name] > APPLY_S]
    return [*over, "memory"] if report["memory_mib"] > MEMORY_MIB else over


def run(folder: Path, rows: int, runs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Build (where the folder holds no store yet) and measure; the whole report."""
    settings = Settings(home=folder, port=0)
    if not (folder / "workspaces" / settings.workspace / STORE_FILE).exists():
        say("building")
        child = multiprocessing.get_context("spawn").Process(
            target=big_store.build, args=(folder, rows)
        )  # in a process of its own, so that its memory does not count
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit("The store could not be built.")
    importlib.import_module("distill_studio.ui.build")  # counts for the web process's memory
    load, memory = os.getloadavg()[0], Memory()
    studio = build_studio(settings, resume_jobs=False)
    try:
        with memory.watched():
            found = measure(studio.workspace(settings.workspace), runs, say)
    finally:
        studio.close()
    report = {
        "rows": rows,
        "runs": runs,
        "cpu_count": os.cpu_count(),
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
        "memory_mib": memory.mib,
        **found,
    }
    return {**report, "over_limit": missed(report)}


def main() -> int:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description="Time the Curate pages on a big store.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=LEAST_RUNS)
    parser.add_argument("--folder", type=Path, help="keep and reuse the store in this folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(
            given.folder or Path(folder),
            given.rows,
            max(LEAST_RUNS, given.runs),
            lambda text: None if given.json else print(text, file=sys.stderr, flush=True),
        )
    print(json.dumps(report, indent=1))
    return 1 if report["over_limit"] else 0


if __name__ == "__main__":
    sys.exit(main())
