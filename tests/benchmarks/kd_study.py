"""Does logit distillation beat SFT? Teacher SmolLM2-135M, students of 24 and of 15 of its layers.

`python -m tests.benchmarks.kd_study --rows answers.json --into study.jsonl`

Every cell (students x methods x seeds) trains through the product's worker: the same rows, 80
updates of 4 rows of at most 160 tokens, all weights, one learning rate per student; a seed decides
the order of the rows. Then it is measured on prompts that no training saw: KL(teacher || student)
in nats and how often both find the same token likeliest, over all tokens of the answers; spread is
the standard deviation over seeds. A finished cell is a line of `--into`, and is not made again: a
study that was stopped or killed goes on with the next cell. `--table` prints what is there.
`--rows` is JSON: a list of objects with `instruction` and `output`.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from distill_studio.distill import worker
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    FeatureConfig,
    RunConfig,
    StudentConfig,
    TeacherConfig,
)
from distill_studio.distill.data import Encoded, cut, encode_sft
from distill_studio.distill.events import EVENTS_FILE, EventWriter, read_events
from distill_studio.distill.losses.mask import learned_targets
from distill_studio.distill.signals.capture import score
from distill_studio.distill.signals.online import DenseTeacher, OnlineTeacher
from distill_studio.distill.student import student_folder
from distill_studio.teachers.models import resolve_model
from tests.tiny_model import assistant, user, write_snapshot

TEACHER = "smollm2-135m-instruct"
UPDATES, BATCH, TOKENS, HELD_OUT = 80, 4, 160, 120
RATES = {24: 1e-4, 15: 3e-4}  # the further from the teacher, the further to go
SEEDS = (1, 2, 3)
LONGEST_PROMPT = 96  # of the 160 tokens, so that every row has an answer to learn
METHODS: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft"},
    "logit": {"method": "logit", "signal": "online"},
    "logit-cache": {"method": "logit", "signal": "cache", "top_k": 64},
    "features": {"method": "logit", "signal": "online", "features": FeatureConfig()},
}
NAMES = {
    "none": "just pruned",
    "sft": "SFT",
    "logit": "logit, teacher online",
    "logit-cache": "logit, stored top 64",
    "features": "logit online + hidden states",
}


@dataclass(frozen=True)
class Figures:
    """Held-out means over tokens."""

    kl: float  # nats, teacher to student
    agreement: float  # share of tokens
    ce: float  # nats, of the answers
    tokens: int


class Study:
    """The rows, the students and the teacher's held-out words."""

    def __init__(self, rows: Path, work: Path, dtype: str) -> None:
        self.work, self.dtype = work, dtype
        work.mkdir(parents=True, exist_ok=True)
        self.base = resolve_model(TEACHER, work / "models")
        self.chat = ChatTokenizer.load(self.base)
        train, self._held = self._split(json.loads(rows.read_text(encoding="utf-8")))
        self.data = write_snapshot(work / "data", train, [])
        (self.data / "validation.parquet").unlink(missing_ok=True)  # nothing is measured in a run
        self._teacher: list[DenseTeacher] = []  # its hidden states of the held-out answers

    def _split(self, found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Encoded]]:
        """Rows to train on, and encoded rows of other prompts."""
        one_each = {row["instruction"].strip().lower(): row for row in found}
        rows = [
            {"prompt": [user(r["instruction"])], "completion": [assistant(r["output"])]}
            for r in one_each.values()
        ]
        short = [r for r in rows if self._prompt_tokens(r) <= LONGEST_PROMPT]
        random.Random(0).shuffle(short)
        held, train = short[:HELD_OUT], short[HELD_OUT : HELD_OUT + UPDATES * BATCH]
        if len(train) < UPDATES * BATCH:
            raise SystemExit(f"{HELD_OUT + UPDATES * BATCH} rows of short prompts are needed")
        numbered = [{"id": str(i), **row} for i, row in enumerate(train)]
        return numbered, [cut(encode_sft(self.chat, row), TOKENS) for row in held]

    def _prompt_tokens(self, row: dict[str, Any]) -> int:
        return len(self.chat.encode(self.chat.render(row["prompt"], answer_next=True)))

    def config(self, layers: int, method: str, seed: int) -> RunConfig:
        """A cell as `run.json`."""
        student = self.work / f"student-{layers}"
        fields: dict[str, Any] = dict(METHODS[method])
        kind = fields.pop("method")
        if kind == "logit":
            teacher = TeacherConfig(folder=str(self.base), id=TEACHER)
            fields |= {"teacher": teacher, "cache_folder": str(self.work / "teacher-cache")}
        return RUN_CONFIGS[kind](
            name=f"{method}-{layers}-{seed}",
            student=StudentConfig(base_folder=str(student), base_id=TEACHER),
            data=DataConfig(folder=str(self.data), name="rows", format="prompt_completion"),
            lora=None,
            max_length=TOKENS,
            learning_rate=RATES[layers],
            max_steps=UPDATES,
            batch_size=BATCH,
            warmup_ratio=0.05,
            save_every=10 * UPDATES,
            seed=seed,
            samples=0,
            dtype=self.dtype,
            **fields,
        )

    def make_student(self, layers: int) -> Path:
        """The teacher without its layers of least block influence, made once."""
        target = self.work / f"student-{layers}"
        if not target.exists():
            making = self.work / f"making-{layers}"
            making.mkdir(exist_ok=True)
            config = self.config(layers, "sft", 0)
            whole = StudentConfig(base_folder=str(self.base), base_id=TEACHER, keep_layers=layers)
            writer = EventWriter(making / EVENTS_FILE)
            pruned = config.model_copy(update={"student": whole})
            made = student_folder(pruned, making, "cpu", torch.float32, writer)
            writer.close()
            made.rename(target)
        return target

    def train(self, layers: int, method: str, seed: int) -> tuple[Path, float]:
        """Train a cell with the worker's own function; (the student's folder, seconds)."""
        folder = self.work / f"run-{method}-{layers}-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        writer = EventWriter(folder / EVENTS_FILE)
        worker.train(self.config(layers, method, seed), folder, writer, threading.Event())
        writer.close()
        steps = [e for e in read_events(folder / EVENTS_FILE)[0] if e.kind == "step"]
        assert len(steps) == UPDATES, len(steps)
        return folder / "model", sum(step.seconds for step in steps)

    def measure(self, folder: Path) -> Figures:
        """A student beside the teacher on the held-out rows, both in fp32."""
        if not self._teacher:
            teacher = self._loaded(self.base)
            self._teacher = [score(teacher, [row])[0] for row in self._held]
        student = self._loaded(folder)
        kl, same, ce, tokens = 0.0, 0, 0.0, 0
        for row, words in zip(self._held, self._teacher, strict=True):
            log_p_NV = words(slice(None))
            log_q_NV = score(student, [row])[0](slice(None))
            targets_N: Tensor = learned_targets(torch.tensor([row.labels]))
            kl += float((log_p_NV.exp() * (log_p_NV - log_q_NV)).sum())
            same += int((log_p_NV.argmax(1) == log_q_NV.argmax(1)).sum())
            ce -= float(log_q_NV.gather(1, targets_N.unsqueeze(1)).sum())
            tokens += len(targets_N)
        return Figures(kl / tokens, same / tokens, ce / tokens, tokens)

    def _loaded(self, folder: Path) -> OnlineTeacher:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return OnlineTeacher(model, model.config.vocab_size)


def cells(students: Sequence[int], methods: Sequence[str]) -> list[tuple[int, str, int]]:
    """(layers, method, seed); all of one seed before the next, so that half a study tells."""
    untrained = [(layers, "none", 0) for layers in students]
    return untrained + [(n, m, seed) for seed in SEEDS for n in students for m in methods]


def done_cells(into: Path) -> dict[tuple[int, str, int], dict[str, Any]]:
    """What is there already; a line cut short by a kill is passed over."""
    found = {}
    for line in into.read_text(encoding="utf-8").splitlines() if into.exists() else ():
        try:
            cell = json.loads(line)
        except ValueError:
            continue
        found[cell["layers"], cell["method"], cell["seed"]] = cell
    return found


def run_cell(study: Study, layers: int, method: str, seed: int) -> dict[str, Any]:
    """Train and measure a cell."""
    began, seconds = time.perf_counter(), 0.0
    folder = study.make_student(layers)
    if method != "none":
        folder, seconds = study.train(layers, method, seed)
    figures = study.measure(folder)
    if method != "none":
        shutil.rmtree(folder.parent)
    return {
        "layers": layers,
        "method": method,
        "seed": seed,
        "kl": figures.kl,
        "agreement": figures.agreement,
        "ce": figures.ce,
        "tokens": figures.tokens,
        "held_out": HELD_OUT,
        "updates": UPDATES if method != "none" else 0,
        "learning_rate": RATES[layers],
        "train_s": seconds,
        "whole_s": time.perf_counter() - began,
        "load": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
    }


def table(found: dict[tuple[int, str, int], dict[str, Any]]) -> str:
    """Means and spreads over seeds, as Markdown."""
    lines = [
        "| student | method | seeds | held-out KL to the teacher | top-1 agreement |"
        " cross-entropy |",
        "|---|---|---|---|---|---|",
    ]
    for layers in sorted({key[0] for key in found}, reverse=True):
        for method in NAMES:
            group = [c for (n, m, _), c in found.items() if (n, m) == (layers, method)]
            if group:
                lines.append(
                    f"| {layers} layers | {NAMES[method]} | {len(group)}"
                    f" | {_spread(group, lambda c: c['kl'])}"
                    f" | {_spread(group, lambda c: c['agreement'])}"
                    f" | {_spread(group, lambda c: c['ce'])} |"
                )
    return "\n".join(lines)


def _spread(group: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> str:
    values = [value(cell) for cell in group]
    mean = statistics.mean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def main() -> int:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=Path, help="instructions and answers, JSON")
    parser.add_argument("--into", type=Path, required=True, help="results, one line per cell")
    parser.add_argument("--work", type=Path, help="models and runs; default: beside --into")
    parser.add_argument("--students", type=int, nargs="+", default=[24, 15])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 = all")
    parser.add_argument("--dtype", default="auto", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    if not args.table:
        if args.rows is None:
            parser.error("--rows is needed")
        if args.threads:
            torch.set_num_threads(args.threads)
        work = args.work or args.into.with_suffix(".work")
        study = Study(args.rows, work, args.dtype)
        for layers, method, seed in cells(args.students, args.methods):
            if (layers, method, seed) in done_cells(args.into):
                continue
            found = run_cell(study, layers, method, seed)
            with args.into.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)
    print(table(done_cells(args.into)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
