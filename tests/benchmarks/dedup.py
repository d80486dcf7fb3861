"""All near pairs of N vectors: ours against a full tiled product, SemHash and DuckDB SQL.

`python -m tests.benchmarks.dedup --rows 100000 --json --rivals FOLDER`

Vectors: clustered, power-law spectrum, 384 dimensions; 15% planted at cosine .90 to .99 to another
row and 10% at .80 to .90, fixed seed; or, with `--texts FILES`, those of the app's own embedding
model for the texts in JSON files and edits of them (`dedup_texts`). Each run of a side is a process
of its own (`dedup_sides`), so that its peak memory is its own; sides take turns, each has two
threads on the same two processors. Medians and spread of `--runs`. A slow rival takes many minutes:
each run is told as it ends, and with `--folder` it is kept, so that the same command goes on where
a stopped one was.

Up to 200,000 rows recall is against the full product; beyond, where the app searches by clusters,
against a full product of `--sample` random rows with all. SemHash runs where it can be imported:
`pip install --no-deps --target FOLDER -r tests/benchmarks/dedup_rivals.txt` and `--rivals FOLDER`.
SQL runs on the first `--sql-rows` rows only (it needs minutes beyond). `--sides store` runs the
search through the store as the app does: vectors read from DuckDB, pairs written to it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.dedup.recall import estimate
from distill_studio.services.curation_work import pair_keys
from tests.benchmarks.dedup_sides import PROCESSORS, SIDES, IntArray
from tests.benchmarks.dedup_texts import embedded

DIM = 384
SEED = 20
IN_FLOAT64 = 200_000  # rows; beyond, the vectors are made in float32 to fit in memory
FULL_ROWS = 200_000  # beyond, a full product takes many minutes
THREADS = str(PROCESSORS)


def planted(rows: int) -> FloatMatrix:
    """(rows, DIM) unit vectors, as the module says."""
    rng = np.random.default_rng(SEED)
    real = np.float64 if rows <= IN_FLOAT64 else np.float32
    spectrum = (np.arange(1, DIM + 1) ** -0.5).astype(real)
    centres = rng.standard_normal((max(4, rows // 50), DIM), real) * spectrum
    x = centres[rng.integers(0, len(centres), rows)]
    x *= real(0.6)
    noise = rng.standard_normal((rows, DIM), real)
    noise *= spectrum
    x += noise
    del noise
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    count = rows // 4
    copies = rng.permutation(rows)[:count]
    sources = rng.integers(0, rows, count)
    is_near = rng.random(count) < 0.6
    cosine = np.where(is_near, rng.uniform(0.9, 0.99, count), rng.uniform(0.8, 0.9, count))
    away = rng.standard_normal((count, DIM), real)
    away -= np.sum(away * x[sources], axis=1, keepdims=True) * x[sources]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    x[copies] = cosine[:, None] * x[sources] + np.sqrt(1 - cosine**2)[:, None] * away
    del away
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def one_run(name: str, folder: Path, floor: float, rivals: str) -> dict[str, Any]:
    """Seconds, CPU seconds, peak memory and load of one side in a process of its own."""
    vectors, found = str(folder / "vectors.npy"), str(folder / f"{name}.npy")
    command = [sys.executable, "-m", "tests.benchmarks.dedup_sides", name, vectors, str(floor)]
    environment = {"OMP_NUM_THREADS": THREADS, "OPENBLAS_NUM_THREADS": THREADS}
    done = subprocess.run(
        [*command, found, "--rivals", rivals],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


class Kept:
    """The vectors of a benchmark and its runs so far, in a folder.

    Raises:
        SystemExit: The folder is of a benchmark of other vectors.
    """

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._lines = folder, folder / "runs.jsonl"
        made_of = {
            "rows": options.rows,
            "floor": options.floor,
            "texts": sorted(path.name for path in options.texts or ()),
        }
        about, vectors = folder / "about.json", folder / "vectors.npy"
        if about.exists() and json.loads(about.read_text()) != made_of:
            raise SystemExit(f"{folder} holds another benchmark: {about.read_text()}")
        if not about.exists():
            made = embedded(options.texts, options.rows) if options.texts else planted(options.rows)
            np.save(vectors, made)
            about.write_text(json.dumps(made_of))
        self.vectors: FloatMatrix = np.load(vectors)

    def runs(self) -> list[dict[str, Any]]:
        """Finished runs, oldest first, each with its `side`."""
        if not self._lines.exists():
            return []
        return [json.loads(line) for line in self._lines.read_text().splitlines()]

    def take_turns(self, names: Sequence[str], options: argparse.Namespace) -> None:
        """Run the sides in turns until each has `--runs`; every other round the other way round."""
        for turn in range(options.runs):
            for name in names if turn % 2 == 0 else reversed(names):
                if sum(run["side"] == name for run in self.runs()) > turn:
                    continue
                measured = one_run(name, self.folder, options.floor, options.rivals)
                line = json.dumps({"side": name, **measured})
                with self._lines.open("a") as lines:
                    lines.write(f"{line}\n")
                print(f"round {turn + 1}: {line}", file=sys.stderr, flush=True)


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians, spread, the highest peak, the load before each run."""
    seconds = [run["s"] for run in runs]
    return {
        "median_s": round(statistics.median(seconds), 3),
        "min_s": round(min(seconds), 3),
        "max_s": round(max(seconds), 3),
        "cpu_s": round(statistics.median(run["cpu_s"] for run in runs), 3),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "load": [round(run["load"], 1) for run in runs],
    }


def keys(pairs: IntArray) -> IntArray:
    """One number per pair."""
    return pair_keys(pairs[:, 0], pairs[:, 1])


def against_all(found: IntArray, truth: IntArray) -> dict[str, Any]:
    """Recall against all pairs."""
    hits = int(np.isin(keys(truth), keys(found)).sum())
    return {
        "recall": hits / max(1, len(truth)),
        "false_pairs": len(found) - hits,
        "pairs": len(found),
    }


def against_sample(
    found: IntArray, vectors: FloatMatrix, floor: float, sample: int
) -> dict[str, Any]:
    """Recall by full products of a random sample of rows with all older rows."""
    rows = np.sort(np.random.default_rng(99).choice(len(vectors), sample, replace=False))
    parts = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(vectors), 16_384):
        i, j = np.nonzero(vectors[rows] @ vectors[start : start + 16_384].T >= floor - 1e-5)
        a, b = j + start, rows[i]
        a, b = a[a < b], b[a < b]
        exact = np.einsum("pd,pd->p", vectors[a].astype(np.float64), vectors[b].astype(np.float64))
        keep = np.round(exact, 6) >= floor
        parts.append(np.stack([a[keep], b[keep]], axis=1))
    truth = np.concatenate(parts)
    recall = estimate(np.isin(keys(truth), keys(found)), truth[:, 1])
    return {
        "recall": round(recall.share, 5),
        "interval": [round(recall.low, 5), round(recall.high, 5)],
        "sampled_pairs": recall.pairs,
        "pairs": len(found),
    }


def quality(name: str, found: IntArray, truth: IntArray) -> dict[str, Any]:
    """What a side that only says which rows stay leaves behind."""
    if name == "semhash":
        both = np.isin(truth[:, 0], found) & np.isin(truth[:, 1], found)
        return {"kept": len(found), "near_pairs_left": int(both.sum())}
    return against_all(found, truth)


def has_semhash(rivals: str) -> bool:
    """Whether SemHash can be imported."""
    code = f"import sys; sys.path.append({rivals!r}); import semhash"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def chosen_sides(options: argparse.Namespace, rows: int) -> list[str]:
    """The sides asked for, else those that end within minutes."""
    if options.sides:
        return str(options.sides).split(",")
    if rows > FULL_ROWS:
        return ["ours"]
    return ["ours", "full_product", *(["semhash"] if has_semhash(options.rivals) else [])]


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, as one JSON object."""
    kept = Kept(folder, options)
    vectors = kept.vectors
    names = chosen_sides(options, len(vectors))
    kept.take_turns(names, options)
    runs = {name: [run for run in kept.runs() if run["side"] == name] for name in names}
    found = {name: np.load(folder / f"{name}.npy") for name in names}
    truth = found.get("full_product")
    sides: dict[str, Any] = {}
    for name in names:
        sides[name] = summary(runs[name])
        if truth is not None:
            sides[name] |= quality(name, found[name], truth)
        elif name != "semhash":
            sides[name] |= against_sample(found[name], vectors, options.floor, options.sample)
    result: dict[str, Any] = {
        "rows": len(vectors),
        "vectors": "texts" if options.texts else "planted",
        "floor": options.floor,
        "runs": options.runs,
        "cpus": os.cpu_count(),
        "threads": int(THREADS),
        "sides": sides,
    }
    for name in names:
        if name != "ours" and "ours" in sides:
            share = sides["ours"]["median_s"] / max(1e-9, sides[name]["median_s"])
            cpu_share = sides["ours"]["cpu_s"] / max(1e-9, sides[name]["cpu_s"])
            result[f"ours_to_{name}"] = {"s": round(share, 3), "cpu_s": round(cpu_share, 3)}
    if options.sql_rows:
        result["sql"] = in_sql(vectors[: options.sql_rows], options, folder)
    return result


def in_sql(small: FloatMatrix, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """DuckDB's self-join on the first rows, and ours on the same."""
    part = folder / "sql"
    part.mkdir(exist_ok=True)
    np.save(part / "vectors.npy", small)
    sql, ours = (one_run(name, part, options.floor, "") for name in ("sql", "ours"))
    found = (np.sort(keys(np.load(part / f"{name}.npy"))) for name in ("sql", "ours"))
    return {
        "rows": len(small),
        "sql_s": round(sql["s"], 3),
        "ours_s": round(ours["s"], 3),
        "same_pairs": bool(np.array_equal(*found)),
    }


def main() -> int:
    """Print the figures; 1 when the exact search missed a pair or found a false one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--texts", type=Path, nargs="+", help="JSON or JSONL files of real texts")
    parser.add_argument("--sides", default="", help=f"of {', '.join(SIDES)}; with commas")
    parser.add_argument("--sql-rows", type=int, default=2_000, help="0 leaves SQL out")
    parser.add_argument("--floor", type=float, default=0.9)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sample", type=int, default=2_000, help="rows that judge beyond 200,000")
    parser.add_argument("--rivals", default="", help="a folder with SemHash")
    parser.add_argument("--folder", type=Path, help="keep vectors and runs, and go on from them")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(options, options.folder or Path(folder))
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    ours = result["sides"].get("ours", {})
    least = 1.0 if "full_product" in result["sides"] else 0.995
    return int(ours.get("recall", 1.0) < least or ours.get("false_pairs", 0) > 0)


if __name__ == "__main__":
    sys.exit(main())
