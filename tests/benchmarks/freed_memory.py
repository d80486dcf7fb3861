"""What it brings that the worker keeps freed memory: seconds of an update on a CPU.

`python -m tests.benchmarks.freed_memory --json`

The starter model learns by SFT and by logit distillation from itself, 4 rows of 160 tokens an
update, in fresh processes that keep what was freed or leave malloc as it is, in turn. The median
over a process's updates but the first three is its figure; printed are medians over processes,
their spread, page faults and the most memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from distill_studio.distill import worker
from distill_studio.distill.config import RUN_CONFIGS, DataConfig, StudentConfig, TeacherConfig
from distill_studio.distill.events import EVENTS_FILE, EventWriter, Step, read_events
from distill_studio.distill.freed_memory import keep_freed_memory
from distill_studio.teachers.models import resolve_model
from tests.tiny_model import assistant, user, write_snapshot

STARTER = "smollm2-135m-instruct"
UPDATES, UNCOUNTED, BATCH, TOKENS = 10, 3, 4, 160
_TEXT = "The river runs past the old mill and the children count the boats in spring. " * 12


def train(work: Path, method: str, *, keeps: bool) -> dict[str, Any]:
    """Some updates in this process."""
    if keeps:
        keep_freed_memory()
    base = resolve_model(STARTER, work / "models")
    rows = [
        {"id": str(i), "prompt": [user(f"Tell {i}")], "completion": [assistant(_TEXT)]}
        for i in range(UPDATES * BATCH)
    ]
    fields: dict[str, Any] = {}
    if method == "logit":
        fields["teacher"] = TeacherConfig(folder=str(base), id=STARTER)
    config = RUN_CONFIGS[method](
        name=method,
        student=StudentConfig(base_folder=str(base), base_id=STARTER),
        data=DataConfig(
            folder=str(write_snapshot(work / "data", rows, [])),
            name="rows",
            format="prompt_completion",
        ),
        lora=None,
        max_length=TOKENS,
        learning_rate=1e-5,
        max_steps=UPDATES,
        batch_size=BATCH,
        samples=0,
        **fields,
    )
    folder = work / "run"
    folder.mkdir()
    writer = EventWriter(folder / EVENTS_FILE)
    worker.train(config, folder, writer, threading.Event())  # type: ignore[arg-type]  # of the union
    writer.close()
    steps = [e.seconds for e in read_events(folder / EVENTS_FILE)[0] if isinstance(e, Step)]
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "update_s": statistics.median(steps[UNCOUNTED:]),
        "page_faults": used.ru_minflt,
        "peak_mib": used.ru_maxrss // 1024,
    }


def in_a_process(models: Path, method: str, *, keeps: bool) -> dict[str, Any]:
    """The same in a fresh one."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").symlink_to(models)
        command = [sys.executable, "-m", "tests.benchmarks.freed_memory", "--child", folder]
        command += ["--methods", method] + (["--keeps"] if keeps else [])
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def summary(ours: list[dict[str, Any]], plain: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, spread and the share of the time that is left."""
    sides = {"kept": ours, "left": plain}
    figures: dict[str, Any] = {}
    for name, side in sides.items():
        seconds = sorted(one["update_s"] for one in side)
        figures[name] = {
            "update_s": statistics.median(seconds),
            "from": seconds[0],
            "to": seconds[-1],
            "page_faults": statistics.median(one["page_faults"] for one in side),
            "peak_mib": max(one["peak_mib"] for one in side),
        }
    figures["share_of_time"] = figures["kept"]["update_s"] / figures["left"]["update_s"]
    return figures


def main() -> int:
    """Alternate, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--methods", nargs="+", default=["sft", "logit"], choices=["sft", "logit"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one document and nothing else")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keeps", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(args.child, args.methods[0], keeps=args.keeps)))
        return 0
    found: dict[str, Any] = {"rounds": args.rounds, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        resolve_model(STARTER, models)
        for method in args.methods:
            kept, left = [], []
            for number in range(args.rounds):
                kept.append(in_a_process(models, method, keeps=True))
                left.append(in_a_process(models, method, keeps=False))
                print(method, number + 1, kept[-1], left[-1], file=sys.stderr, flush=True)
            found[method] = summary(kept, left)
    print(json.dumps(found, indent=None if args.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
