"""What our trainers cost beside bare TRL, and a stored teacher beside one that is asked.

`python -m tests.benchmarks.trainers --json`

- `sft`, `dpo`: updates per second of our trainer, driven by the worker's own code with its events,
  as a share of TRL's trainer on the same tokens with the same arguments. At least 0.97 is wanted.
- `logit`: an update from a warm cache, against an update with the teacher online less the teacher's
  forward. At most 1.1 is wanted, for students of 24 and 15 of the starter model's layers.

All sides are in this process; they make updates in turn on the same batches, so that a busy
machine slows both; ratios are those of medians over all rounds, the spread is the interquartile
range of the ratios of single rounds.
"""

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    LoraConfig,
    RunConfig,
    StudentConfig,
    TeacherConfig,
)
from distill_studio.distill.events import EVENTS_FILE, EventWriter
from distill_studio.distill.losses.mask import learned_positions
from distill_studio.distill.student import load_model, student_folder
from distill_studio.distill.trainers import build_trainer
from distill_studio.distill.trainers.callback import EventCallback
from distill_studio.distill.trainers.setup import Setup, shared_arguments
from distill_studio.teachers.models import resolve_model
from tests.tiny_model import assistant, user, write_snapshot

STUDENT = "smollm2-135m-instruct"
LEAST_SHARE, MOST_TIME = 0.97, 1.1
BATCH, TOKENS = 4, 160
_TEXT = (
    "The river runs past the old mill and the children count the boats that come down from the"
    " hills in spring when the snow melts and the water is high and cold and full of branches "
)


class Side:
    """A trainer whose updates are made one at a time: `step()` gives the seconds of one."""

    def __init__(self, trainer: Any, updates: int) -> None:
        self._go = threading.Semaphore(0)
        self._done = threading.Semaphore(0)
        self.seconds: list[float] = []
        side = self
        original = trainer.training_step

        def training_step(*args: Any, **kwargs: Any) -> Any:
            side._done.release()  # what the last update took is over
            side._go.acquire()
            return original(*args, **kwargs)

        trainer.training_step = training_step
        self._thread = threading.Thread(target=trainer.train, daemon=True)
        self._thread.start()
        self._done.acquire()  # it stands before its first update

    def step(self) -> float:
        """One update: forward, backward, optimiser, log, event, and the next batch."""
        start = time.perf_counter()
        self._go.release()
        self._done.acquire()
        return time.perf_counter() - start


class Bench:
    """Models, rows and configs."""

    def __init__(self, work: Path, updates: int, dtype: str, student: str = STUDENT) -> None:
        self.work, self.updates, self.dtype = work, updates, dtype
        self.base = resolve_model(student, work / "models")
        self.chat = ChatTokenizer.load(self.base)
        self.tokenizer = AutoTokenizer.from_pretrained(self.base)
        rows = (updates + 2) * BATCH
        answers = [(_TEXT * 9)[n % 40 :][:900] for n in range(rows)]
        pairs = [
            {"id": str(n), "prompt": [user(f"Tell me more, {n}")], "completion": [assistant(text)]}
            for n, text in enumerate(answers)
        ]
        self.answers = write_snapshot(work / "answers", pairs, pairs[:1])
        preferences = [
            {
                "id": str(n),
                "prompt": [user(f"Tell me more, {n}")],
                "chosen": [assistant(text)],
                "rejected": [assistant(text[::-1][:700])],
            }
            for n, text in enumerate(answers)
        ]
        self.preferences = write_snapshot(work / "preferences", preferences, preferences[:1])
        for folder in (self.answers, self.preferences):
            (folder / "validation.parquet").unlink()

    def config(self, method: str, layers: int | None = None, **fields: Any) -> RunConfig:
        """A run over the bench's rows."""
        data = self.preferences if method == "dpo" else self.answers
        shape = "preference" if method == "dpo" else "prompt_completion"
        if method == "logit":
            teacher = TeacherConfig(folder=str(self.base), id=STUDENT)
            fields |= {"teacher": teacher, "cache_folder": str(self.work / "caches")}
        return RUN_CONFIGS[method](
            **{
                "name": method,
                "student": StudentConfig(
                    base_folder=str(self.base), base_id=STUDENT, keep_layers=layers
                ),
                "data": DataConfig(folder=str(data), name="bench", format=shape),
                "lora": LoraConfig(),
                "max_length": TOKENS,
                "learning_rate": 1e-4,
                "max_steps": self.updates,
                "batch_size": BATCH if method != "dpo" else BATCH // 2,
                "save_every": 100_000,
                "samples": 0,
                "dtype": self.dtype,
                "device": "cpu",
            }
            | fields
        )

    def setup(self, config: RunConfig, name: str) -> tuple[Setup, EventWriter]:
        """As the worker makes it."""
        folder = self.work / name
        folder.mkdir()
        writer = EventWriter(folder / EVENTS_FILE)
        dtype = torch.bfloat16 if self.dtype == "bf16" else torch.float32
        base = student_folder(config, folder, "cpu", dtype, writer)
        model = load_model(base, dtype if config.lora else torch.float32, "cpu")
        setup = Setup(
            config, folder, model, self.tokenizer, self.chat, "cpu", dtype == torch.bfloat16
        )
        return setup, writer

    def ours(self, config: RunConfig, name: str) -> Any:
        """Our trainer, with its events."""
        setup, writer = self.setup(config, name)
        callback = EventCallback(writer, threading.Event(), "cpu", [], 1, self.tokenizer)
        setup.callbacks.append(callback)
        torch.manual_seed(config.seed)
        return build_trainer(setup)

    def bare(self, method: str, ours: Any, name: str) -> Any:
        """TRL's own trainer on the tokens that ours has, with the same arguments."""
        config = self.config(method)
        setup, _ = self.setup(config, name)
        setup.train_rows = len(ours.train_dataset)
        torch.manual_seed(config.seed)
        shared = shared_arguments(setup)
        common = {
            "model": setup.model,
            "train_dataset": ours.train_dataset,
            "processing_class": self.tokenizer,
            "peft_config": ours.model.peft_config["default"],
        }
        if method == "sft":
            kwargs = {"skip_prepare_dataset": True}
            args = SFTConfig(**shared, max_length=None, packing=False, dataset_kwargs=kwargs)
            return SFTTrainer(args=args, **common)
        return _PreparedDpo(
            args=DPOConfig(**shared, max_length=config.max_length, beta=config.beta), **common
        )


class _PreparedDpo(DPOTrainer):
    """TRL's, told that its rows are tokens already."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def in_turn(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, a warm-up round left out; who goes first changes."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        order = list(sides) if number % 2 else list(sides)[::-1]
        for name in order:
            seconds = sides[name]()
            if number:
                found[name].append(seconds)
    return found


def share(above: list[float], below: list[float]) -> dict[str, float]:
    """Ratio of medians, and how the ratios of single rounds spread."""
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    quarter = len(ratios) // 4
    return {
        "ratio": statistics.median(above) / statistics.median(below),
        "low": ratios[quarter],
        "high": ratios[-1 - quarter],
    }


def overhead(bench: Bench, method: str, rounds: int) -> dict[str, Any]:
    """Our updates per second as a share of TRL's."""
    ours = bench.ours(bench.config(method), f"{method}-ours")
    bare = bench.bare(method, ours, f"{method}-trl")
    sides = {name: Side(t, bench.updates) for name, t in (("ours", ours), ("trl", bare))}
    found = in_turn({name: side.step for name, side in sides.items()}, rounds)
    speed = share(found["trl"], found["ours"])
    return {
        "ours_s": statistics.median(found["ours"]),
        "trl_s": statistics.median(found["trl"]),
        "share_of_trl": speed,
        "is_met": speed["ratio"] >= LEAST_SHARE,
    }


def stored(bench: Bench, layers: int, rounds: int) -> dict[str, Any]:
    """A cached update against an online one less the teacher's forward, of the same batches."""
    online = bench.ours(bench.config("logit", layers), f"logit-online-{layers}")
    cache = bench.ours(
        bench.config("logit", layers, signal="cache", top_k=64), f"logit-cache-{layers}"
    )
    teacher = online._signal._teacher
    batches = iter(online.get_train_dataloader())

    def forward() -> float:
        batch = next(batches)
        where_BT = learned_positions(batch["labels"])
        start = time.perf_counter()
        teacher.read(batch, where_BT)
        return time.perf_counter() - start

    sides = {"online": Side(online, bench.updates).step, "cache": Side(cache, bench.updates).step}
    found = in_turn(sides | {"teacher": forward}, rounds)
    rest = [a - b for a, b in zip(found["online"], found["teacher"], strict=True)]
    ratio = share(found["cache"], rest)
    return {
        "layers": layers,
        "online_s": statistics.median(found["online"]),
        "teacher_s": statistics.median(found["teacher"]),
        "cache_s": statistics.median(found["cache"]),
        "of_online_less_teacher": ratio,
        "is_met": ratio["ratio"] <= MOST_TIME,
    }


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dtype", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--only", nargs="+", default=["sft", "dpo", "logit-24", "logit-15"])
    parser.add_argument("--student", default=STUDENT, help="a model's folder, of over 24 layers")
    parser.add_argument("--json", action="store_true", help="only the figures")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), args.rounds + 3, args.dtype, args.student)
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            "sft": functools.partial(overhead, bench, "sft", args.rounds),
            "dpo": functools.partial(overhead, bench, "dpo", args.rounds),
            "logit-24": functools.partial(stored, bench, 24, args.rounds),
            "logit-15": functools.partial(stored, bench, 15, args.rounds),
        }
        for what in args.only:
            found[what] = measures[what]()
            if not args.json:
                print(what, json.dumps(found[what]), flush=True)
        found |= {"load": os.getloadavg()[0], "threads": torch.get_num_threads()}
        print(json.dumps(found))
        sys.stdout.flush()
    os._exit(0 if all(v["is_met"] for v in found.values() if isinstance(v, dict)) else 1)


if __name__ == "__main__":
    main()
