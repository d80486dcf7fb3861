"""A run by the worker, in this process: `run_worker`, `run_well`, and its events of a kind."""

from pathlib import Path
from typing import Any

from distill_studio.distill import worker
from distill_studio.distill.events import EVENTS_FILE, read_events


def run_worker(folder: Path) -> list[Any]:
    """Train; the events of all attempts."""
    worker.main([str(folder / "run.json")])
    return read_events(folder / EVENTS_FILE)[0]


def run_well(folder: Path) -> list[Any]:
    """The same of a run that is to end well."""
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
    return events


def kinds(events: list[Any], kind: str) -> list[Any]:
    """Those of a kind, in their order."""
    return [event for event in events if event.kind == kind]
