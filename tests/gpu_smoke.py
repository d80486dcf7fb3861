"""Five updates of SFT, DPO and logit distillation on an NVIDIA GPU: `make gpu-smoke`.

The starter model, through the product's worker, each method in a process of its own. Says what it
saw; where there is no GPU it says so and ends with 1, since nothing was shown.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from distill_studio.distill.command import CONFIG_FILE, worker_argv, working_folder
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    LoraConfig,
    StudentConfig,
    TeacherConfig,
)
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.teachers.models import resolve_model
from tests.tiny_model import completions, preferences, write_snapshot

MODEL, UPDATES = "smollm2-135m-instruct", 5
NO_GPU = (
    "There is no NVIDIA GPU here (torch.cuda.is_available() is false): nothing was run.\n"
    "The same methods run on the CPU in `make test`.\n"
)


def run(work: Path, base: Path, method: str, **fields: Any) -> str:
    """Train a method; one line of what came of it.

    Raises:
        SystemExit: It failed.
    """
    rows = preferences(24) if method == "dpo" else completions(24)
    shape = "preference" if method == "dpo" else "prompt_completion"
    data = write_snapshot(work / f"data-{method}", rows[:20], rows[20:])
    folder = work / method
    folder.mkdir()
    student = StudentConfig(
        base_folder=str(base), base_id=MODEL, keep_layers=24 if method == "logit" else None
    )
    if method == "logit":
        fields["teacher"] = TeacherConfig(folder=str(base), id=MODEL)
    config = RUN_CONFIGS[method](
        name=method,
        student=student,
        data=DataConfig(folder=str(data), name=method, format=shape),
        lora=LoraConfig(),
        learning_rate=1e-4,
        max_steps=UPDATES,
        batch_size=4,
        max_length=128,
        eval_every=UPDATES,
        device="cuda",
        **fields,
    )
    (folder / CONFIG_FILE).write_text(config.model_dump_json(), encoding="utf-8")
    with (folder / "stdout.log").open("wb") as log:
        subprocess.run(worker_argv(folder), cwd=working_folder(), stdout=log, stderr=log)
    events, _ = read_events(folder / EVENTS_FILE)
    steps = [e for e in events if e.kind == "step"]
    if not events or events[-1].kind != "done" or len(steps) != UPDATES:
        sys.stdout.write((folder / "stdout.log").read_text(errors="replace")[-3000:])
        raise SystemExit(f"{method} failed: {events[-1] if events else 'no word of it'}")
    started = next(e for e in events if e.kind == "started")
    return (
        f"{method:<6} {UPDATES} updates on {started.device} in {started.dtype}: loss"
        f" {steps[0].loss:.3f} -> {steps[-1].loss:.3f}, {steps[-1].seconds:.2f} s and"
        f" {steps[-1].memory_gib:.1f} GiB at the last"
    )


def main() -> int:
    """Run all three."""
    import torch

    if not torch.cuda.is_available():
        sys.stdout.write(NO_GPU)
        return 1
    sys.stdout.write(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}\n")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        base = resolve_model(MODEL, work / "models")
        for method in ("sft", "dpo", "logit"):
            sys.stdout.write(run(work, base, method) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
