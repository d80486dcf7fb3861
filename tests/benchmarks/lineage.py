"""A row's and a model's lineage on a big store: `python -m tests.benchmarks.lineage --rows 100000`.

The store: so many accepted answers, two to a prompt, each with its prompt and its decision, and a
preference for each prompt. Frozen: all answers, half of them, all preferences, and some smaller
ones; on each snapshot a run, and runs that go on from those. The folders of snapshots are written
here in the layout of `freeze/folder.py` (Parquet in groups of 1,000 rows), but without the hashes
of a real freeze, which would take most of the time and are not read.

Timed is the whole operation, as the API calls it: each row at random, each run in turn. Prints JSON
and ends with 1 where a row's p95 is over the limit of 100 ms.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import pyarrow.parquet as pq

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Run, RunState, Snapshot
from distill_studio.core.settings import Settings
from distill_studio.freeze.folder import SPLITS
from distill_studio.freeze.formats import PREFERENCE
from distill_studio.services import operations
from distill_studio.services.workspace import Workspace
from distill_studio.store import runs, snapshots
from distill_studio.store.database import Database
from tests.benchmarks import million

LIMIT_MS = 100.0
GROUP_ROWS = 1000  # as freeze_rows pages
SMALL = 8  # snapshots beside the big ones
OWNER = Actor(user="owner", role=Role.OWNER)
# $every: one answer in so many; $side: 'NOT' for the train split, '' for one row in a hundred
_ANSWERS = Template("""SELECT id, [{'role': 'user', 'content': prompt}] AS prompt,
[{'role': 'assistant', 'content': answer}] AS completion FROM pairs
WHERE sample % $every = 0 AND $side (hash(id) % 100 = 0) ORDER BY id""")
_PREFERENCES = Template("""SELECT f.id, [{'role': 'user', 'content': c.prompt}] AS prompt,
[{'role': 'assistant', 'content': c.answer}] AS chosen,
[{'role': 'assistant', 'content': r.answer}] AS rejected FROM preferences f
JOIN pairs c ON c.id = f.chosen_pair_id JOIN pairs r ON r.id = f.rejected_pair_id
WHERE $side (hash(f.id) % 100 = 0) ORDER BY f.id""")


def fill(home: Path, rows: int) -> None:
    """Answers with all that lineage reads of them."""
    million.fill(home, rows)
    studio = build_studio(Settings(home=home, port=0), resume_jobs=False)
    try:
        workspace = studio.workspace("main")
        _said(workspace.db)
        _freeze(workspace, "all", "prompt_completion", _ANSWERS, every=1)
        _freeze(workspace, "half", "prompt_completion", _ANSWERS, every=2)
        _freeze(workspace, "compared", PREFERENCE, _PREFERENCES, every=1)
        for n in range(SMALL):
            _freeze(workspace, f"small-{n}", "prompt_completion", _ANSWERS, every=50 * (n + 1))
        workspace.db.checkpoint()
    finally:
        studio.close()


def _said(db: Database) -> None:
    """A prompt for each two answers, a decision for each, a preference for each prompt."""
    with db.write() as cursor:
        cursor.execute(
            """INSERT INTO seeds (id, messages, prompt, topic, source, content_hash, created_at)
            SELECT seed_id, first(messages), first(prompt), 'topic', 'file', md5(seed_id),
            min(created_at) FROM pairs GROUP BY seed_id ORDER BY min(id)"""
        ).fetchall()
        cursor.execute(
            """INSERT INTO decisions (user_name, id, pair_id, kind, made_at)
            SELECT 'owner', 'decision ' || sample, id, 'accept', created_at FROM pairs
            ORDER BY id"""
        ).fetchall()
        cursor.execute(
            """INSERT INTO preferences (id, seed_id, chosen_pair_id, rejected_pair_id, outcome,
            user_name, source, created_at)
            SELECT 'f' || a.id, a.seed_id, a.id, b.id, 'win', 'owner', 'person', a.created_at
            FROM pairs a JOIN pairs b ON b.sample = a.sample + 1
            WHERE a.sample % 2 = 0 ORDER BY a.id"""
        ).fetchall()


def _freeze(workspace: Workspace, name: str, row_format: str, sql: Template, every: int) -> None:
    """A snapshot's files and its row, and two runs: one on it, one that goes on from that."""
    folder = workspace.folder / "snapshots" / name
    folder.mkdir(parents=True)
    counts = {}
    for split, side in zip(SPLITS, ("NOT", ""), strict=True):
        made = workspace.db.arrow(sql.substitute(every=every, side=side))
        counts[split] = made.num_rows
        file = folder / f"{split}.parquet"
        pq.write_table(made, file, row_group_size=GROUP_ROWS, compression="zstd")
    snapshot = Snapshot(
        name=name,
        format=row_format,
        content_hash=name,
        train_rows=counts["train"],
        validation_rows=counts["validation"],
    )
    snapshots.insert(workspace.db, snapshot)
    for run, base in ((f"on-{name}", "smollm2"), (f"then-{name}", f"run:on-{name}")):
        config = {"student": {"base_id": base}}
        runs.insert(
            workspace.db,
            Run(
                name=run, method="sft", snapshot_id=snapshot.id, config=config, state=RunState.DONE
            ),
        )


def timed(ask: Callable[[str], Any], places: Sequence[str]) -> dict[str, float]:
    """p50, p95 and the longest of some calls in milliseconds, after one that does not count."""
    ask(places[0])
    times_ms = []
    for place in places:
        start = time.perf_counter()
        ask(place)
        times_ms.append((time.perf_counter() - start) * 1000)
    times_ms.sort()
    return {
        "p50_ms": round(times_ms[len(times_ms) // 2], 1),
        "p95_ms": round(times_ms[min(len(times_ms) - 1, int(0.95 * len(times_ms)))], 1),
        "max_ms": round(times_ms[-1], 1),
    }


def measure(home: Path, times: int) -> dict[str, Any]:
    """Rows at random, and every run."""
    studio = build_studio(Settings(home=home, port=0), resume_jobs=False)
    try:
        workspace = studio.workspace("main")
        db = workspace.db
        count = db.value("SELECT count(*) FROM pairs")
        offsets = random.Random(7).sample(range(count), min(times, count))
        ids = [db.value("SELECT id FROM pairs WHERE sample = ?", [n]) for n in offsets]
        first = operations.call(workspace, OWNER, "lineage_row", {"pair_id": ids[0]})
        names = [run.name for run in runs.page(db, limit=1000)]

        def row(pair_id: str) -> Any:
            return operations.call(workspace, OWNER, "lineage_row", {"pair_id": pair_id})

        def model(name: str) -> Any:
            return operations.call(workspace, OWNER, "lineage_model", {"run": name})

        return {
            "rows": count,
            "preferences": db.value("SELECT count(*) FROM preferences"),
            "snapshots": db.value("SELECT count(*) FROM snapshots"),
            "runs": len(names),
            "found": {part: len(first[part]) for part in ("snapshots", "models", "decisions")},
            "lineage_row": timed(row, ids),
            "lineage_model": timed(model, names),
            "load": round(os.getloadavg()[0], 2),
        }
    finally:
        studio.close()


def main() -> int:
    """Build where there is none yet, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=200, help="rows to ask for")
    parser.add_argument("--home", type=Path, help="keep the data folder here, or use it again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = args.home or Path(name) / "home"
        start = time.perf_counter()
        if not (home / "workspaces").exists():
            fill(home, args.rows)
        built_s = time.perf_counter() - start
        found = measure(home, args.times) | {"built_s": round(built_s)}
    print(json.dumps(found, indent=1))
    return 0 if found["lineage_row"]["p95_ms"] <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
