"""What SFT and DPO bring on real rows: held-out curves of SmolLM2-135M.

`python -m tests.benchmarks.real_rows --data FOLDER --into real_rows.jsonl`

Three runs through the product's worker, all weights for SFT, LoRA for DPO:

- `gsm8k`: SFT on worked GSM8K answers (`gsm8k_train_2000.jsonl`);
- `gpt4`: SFT on GPT-4's AlpacaEval answers (`alpaca_eval_gpt4_1106_preview.json`);
- `preferences`: DPO from the student of `gpt4` on AlpacaEval's judgements
  (`alpaca_eval_preferences.jsonl`), the side that the judge preferred as chosen.

An instruction's hash decides whether it is held out, so none that DPO is measured on was learned in
`gpt4`. A finished run is a line of `--into` and is not made again; `--table` prints what is there.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

from distill_studio.distill import worker
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    DataFormat,
    LoraConfig,
    StudentConfig,
)
from distill_studio.distill.events import EVENTS_FILE, Eval, EventWriter, read_events
from distill_studio.teachers.models import resolve_model
from tests.benchmarks.kd_study import TEACHER as STARTER
from tests.tiny_model import assistant, user, write_snapshot

HELD_OUT_SHARE = 0.15
RUNS: dict[str, dict[str, Any]] = {
    "gsm8k": {"method": "sft", "learning_rate": 5e-5, "max_length": 192, "max_steps": 80},
    "gpt4": {"method": "sft", "learning_rate": 5e-5, "max_length": 192, "max_steps": 80},
    "preferences": {
        "method": "dpo",
        "learning_rate": 1e-4,
        "lora": LoraConfig(),
        "batch_size": 2,
        "grad_accumulation": 2,
        "max_length": 256,
        "max_steps": 40,
        "eval_every": 10,
    },
}
NAMES = {
    "gsm8k": "SFT, GSM8K",
    "gpt4": "SFT, GPT-4's answers",
    "preferences": "DPO after it, 400 preferences",
}


def rows_of(data: Path, name: str) -> list[dict[str, Any]]:
    """Rows as a snapshot has them."""
    if name == "gsm8k":
        found = _json_lines(data / "gsm8k_train_2000.jsonl")
        return [_answer(row["question"], row["answer"]) for row in found]
    if name == "gpt4":
        text = (data / "alpaca_eval_gpt4_1106_preview.json").read_text(encoding="utf-8")
        return [_answer(row["instruction"], row["output"]) for row in json.loads(text)]
    rows = []
    for row in _json_lines(data / "alpaca_eval_preferences.jsonl"):
        outputs = [row["output_1"], row["output_2"]]
        better = 0 if row["preference"] < 1.5 else 1  # 1 = the first, 2 = the second
        rows.append({
            "prompt": [user(row["instruction"])],
            "chosen": [assistant(outputs[better])],
            "rejected": [assistant(outputs[1 - better])],
        })
    return rows


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _answer(prompt: str, answer: str) -> dict[str, Any]:
    return {"prompt": [user(prompt)], "completion": [assistant(answer)]}


def is_held_out(row: dict[str, Any]) -> bool:
    """By its instruction alone, so that it is the same in every file."""
    text = row["prompt"][-1]["content"].strip().lower()
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def run(data: Path, work: Path, name: str, threads: int) -> dict[str, Any]:
    """Train, and read the curve from the run's events."""
    rows = [{"id": str(i), **row} for i, row in enumerate(rows_of(data, name))]
    held = [row for row in rows if is_held_out(row)]
    snapshot = write_snapshot(
        work / f"data-{name}", [row for row in rows if not is_held_out(row)], held
    )
    fields = {"lora": None, "batch_size": 4, "eval_every": 20, **RUNS[name]}
    method = fields.pop("method")
    is_dpo = method == "dpo"
    base = work / "run-gpt4" / "model" if is_dpo else resolve_model(STARTER, work / "models")
    data_format: DataFormat = "preference" if is_dpo else "prompt_completion"
    config = RUN_CONFIGS[method](
        name=name,
        student=StudentConfig(base_folder=str(base), base_id=STARTER),
        data=DataConfig(folder=str(snapshot), name=name, format=data_format),
        eval_rows=min(len(held), 64),
        save_every=1000,
        samples=0,
        **fields,
    )
    folder = work / f"run-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    began = time.perf_counter()
    writer = EventWriter(folder / EVENTS_FILE)
    worker.train(config, folder, writer, threading.Event())
    writer.close()
    evals = [e for e in read_events(folder / EVENTS_FILE)[0] if isinstance(e, Eval)]
    return {
        "run": name,
        "train": len(rows) - len(held),
        "held_out": min(len(held), 64),
        "curve": [
            {"step": e.step, "loss": e.loss, "margin": e.margin, "accuracy": e.accuracy}
            for e in evals
        ],
        "learning_rate": config.learning_rate,
        "max_length": config.max_length,
        "rows_per_update": config.batch_size * config.grad_accumulation,
        "seconds": time.perf_counter() - began,
        "load": os.getloadavg()[0],
        "threads": threads or torch.get_num_threads(),
    }


def done_runs(into: Path) -> dict[str, dict[str, Any]]:
    """Lines that are there."""
    lines = into.read_text(encoding="utf-8").splitlines() if into.exists() else []
    return {found["run"]: found for found in map(json.loads, lines)}


def table(found: dict[str, dict[str, Any]]) -> str:
    """The curves, as Markdown."""
    lines = [
        "| run | rows | held out | held-out figure after so many updates |",
        "|---|---|---|---|",
    ]
    for name, label in NAMES.items():
        if name in found:
            one = found[name]
            points = ", ".join(_point(point) for point in one["curve"])
            lines.append(f"| {label} | {one['train']} | {one['held_out']} | {points} |")
    return "\n".join(lines)


def _point(point: dict[str, Any]) -> str:
    if point["margin"] is None:
        return f"{point['step']}: loss {point['loss']:.3f}"
    return f"{point['step']}: margin {point['margin']:.3f}, right {point['accuracy']:.2f}"


def main() -> int:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, help="folder of the three files")
    parser.add_argument("--into", type=Path, required=True, help="results, a line per run")
    parser.add_argument("--work", type=Path, help="models and runs; default: beside --into")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 = all")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    if not args.table:
        if args.data is None:
            parser.error("--data is needed")
        if args.threads:
            torch.set_num_threads(args.threads)
        work = args.work or args.into.with_suffix(".work")
        work.mkdir(parents=True, exist_ok=True)
        for name in RUNS:
            if name in done_runs(args.into):
                continue
            found = run(args.data, work, name, args.threads)
            with args.into.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)
    print(table(done_runs(args.into)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
