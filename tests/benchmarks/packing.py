"""What packing saves on real short rows: tokens a second of SFT, packed beside padded.

`python -m tests.benchmarks.packing --rows answers.json`

Both trainers are in this process and make updates of the same rows in turn, so that a busy machine
slows both; who goes first changes. Beside the clock stands the processor's own time, which other
work on the machine does not count in. `--rows` is JSON: a list of objects with `instruction` and
`output`; of these the answers of at most `--words` words are taken, in their order.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from distill_studio.distill.config import DataConfig
from tests.benchmarks.trainers import Bench, Side, share
from tests.tiny_model import assistant, user, write_snapshot


def short_rows(path: Path, words: int, count: int) -> list[dict[str, Any]]:
    """The first `count` rows of at most `words` words, prompt and answer together."""
    found = [
        {"id": str(n), "prompt": [user(row["instruction"])], "completion": [assistant(text)]}
        for n, row in enumerate(json.loads(path.read_text(encoding="utf-8")))
        if (text := row["output"].strip()) and len((row["instruction"] + text).split()) <= words
    ]
    if len(found) < count:
        sys.exit(f"{path.name} has {len(found)} rows of at most {words} words; {count} are needed.")
    return found[:count]


def main() -> int:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--longest", type=int, default=256)
    parser.add_argument("--words", type=int, default=80)
    parser.add_argument("--dtype", choices=["bf16", "fp32"], default="bf16")
    args = parser.parse_args()
    updates = args.rounds + 2
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), updates, args.dtype)
        rows = short_rows(args.rows, args.words, updates * args.batch)
        data = write_snapshot(bench.work / "short", rows, rows[:1])
        (data / "validation.parquet").unlink()
        fields = {
            "data": DataConfig(folder=str(data), name="short", format="prompt_completion"),
            "batch_size": args.batch,
            "max_length": args.longest,
        }
        sides, read = {}, {}
        for what in ("padded", "packed"):
            config = bench.config("sft", packing=what == "packed", **fields)
            trainer = bench.ours(config, what)
            sides[what], read[what] = Side(trainer, updates), trainer
        seconds = in_turn({name: side.step for name, side in sides.items()}, args.rounds)
        tokens = {name: int(trainer._total_train_tokens) for name, trainer in read.items()}
    wall = {name: [pair[0] for pair in pairs] for name, pairs in seconds.items()}
    cpu = {name: [pair[1] for pair in pairs] for name, pairs in seconds.items()}
    found = {
        "gain": share(wall["padded"], wall["packed"]),
        "gain_of_processor_time": share(cpu["padded"], cpu["packed"]),
        "seconds": {name: statistics.median(each) for name, each in wall.items()},
        "processor_seconds": {name: statistics.median(each) for name, each in cpu.items()},
        "tokens_read": tokens,
        "rounds": args.rounds,
        "load": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


def in_turn(
    sides: dict[str, Callable[[], float]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """(seconds by the clock, of the processor) of each side; a warm-up round is left out."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in list(sides) if number % 2 else list(sides)[::-1]:
            before = time.process_time()
            seconds = sides[name]()
            if number:
                found[name].append((seconds, time.process_time() - before))
    return found


if __name__ == "__main__":
    main()
