"""Choosing rows that cover all: facility location on a sparse graph against other ways.

`python -m tests.benchmarks.selection --rows 100000 --choose 10000 --json`

Vectors: those of the benchmark of near-duplicates (clustered, power-law spectrum, 384 dimensions,
fixed seed). On all rows: ours (the graph's time and the choice's apart), k-centre, random; coverage
is the mean cosine of 5,000 fixed rows to the nearest chosen one. On `--small` rows, where that is
possible, the same objective in full (dense): ours, a naive greedy in numpy, and submodlib (its C++
LazyGreedy over a dense similarity), when it can be imported; `--rivals FOLDER` is put on the path.
The rivals take turns with ours; medians of `--runs`. Two threads each.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.diversity.neighbours import find_neighbours
from distill_studio.curate.diversity.selection import (
    at_random,
    facility_location,
    graph_size,
    k_centre,
    objective,
    without_outliers,
)
from tests.benchmarks.dedup import planted

SAMPLE = 5000
Choice = Callable[[], Any]


def coverage(vectors: FloatMatrix, rows: Any) -> float:
    """Mean cosine of a fixed sample to the nearest chosen row."""
    sample = np.random.default_rng(1).choice(len(vectors), min(SAMPLE, len(vectors)), False)
    best = np.full(len(sample), -1.0)
    for start in range(0, len(rows), 4096):
        part = vectors[rows[start : start + 4096]]
        best = np.maximum(best, (vectors[sample] @ part.T).max(axis=1))
    return round(float(best.mean()), 4)


def naive(vectors: FloatMatrix, count: int) -> Any:
    """Greedy without laziness, every gain anew, on all similarities."""
    alike = np.maximum(vectors @ vectors.T, 0)
    served = np.zeros(len(vectors), dtype=np.float32)
    chosen: list[int] = []
    for _ in range(count):
        gains = np.maximum(alike - served[:, None], 0).sum(axis=0)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        served = np.maximum(served, alike[:, chosen[-1]])
    return np.array(chosen)


def submodlib_lazy(vectors: FloatMatrix, count: int) -> Any:
    """The published library's lazy greedy; ImportError where it is not installed."""
    from submodlib import FacilityLocationFunction

    alike = np.maximum(vectors @ vectors.T, 0)
    function = FacilityLocationFunction(
        n=len(vectors), mode="dense", sijs=alike, separate_rep=False
    )
    found = function.maximize(
        budget=count,
        optimizer="LazyGreedy",
        stopIfZeroGain=False,
        stopIfNegativeGain=False,
        verbose=False,
        show_progress=False,
    )
    return np.array([row for row, _ in found])


def ours_dense(vectors: FloatMatrix, count: int) -> Any:
    """Ours with all similarities in the graph."""
    graph = find_neighbours(vectors, len(vectors) - 1)
    return facility_location(graph, np.ones(len(vectors)), count).rows


def large(vectors: FloatMatrix, count: int, with_k_centre: bool) -> dict[str, Any]:
    """All rows, one run: seconds and coverage by method."""
    quality = np.ones(len(vectors))
    started = time.perf_counter()
    graph = find_neighbours(vectors, graph_size(len(vectors), count))
    graph_s = time.perf_counter() - started
    found: dict[str, Any] = {}
    ways: dict[str, Choice] = {
        "facility_location": lambda: facility_location(graph, quality, count).rows,
        "random": lambda: at_random(len(vectors), count, 0).rows,
    }
    if with_k_centre:
        allowed = without_outliers(graph)
        ways["k_centre"] = lambda: k_centre(vectors, count, allowed=allowed).rows
    for name, choose in ways.items():
        started = time.perf_counter()
        rows = choose()
        found[name] = {
            "choose_s": round(time.perf_counter() - started, 2),
            "coverage": coverage(vectors, rows),
            "sparse_objective": round(objective(graph, quality, rows), 1),
        }
    found["facility_location"]["total_s"] = round(
        graph_s + found["facility_location"]["choose_s"], 2
    )
    return {
        "neighbours": graph.rows.shape[1],
        "recall": round(graph.recall, 4),
        "graph_s": round(graph_s, 2),
        **found,
    }


def small(vectors: FloatMatrix, count: int, runs: int) -> dict[str, Any]:
    """The full objective by each way, taking turns."""
    ways: dict[str, Callable[[FloatMatrix, int], Any]] = {"ours": ours_dense, "naive": naive}
    try:
        submodlib_lazy(vectors[:50], 3)
        ways["submodlib"] = submodlib_lazy
    except ImportError:
        pass
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rows: dict[str, Any] = {}
    for _ in range(runs):
        for name, choose in ways.items():
            started = time.perf_counter()
            rows[name] = choose(vectors, count)
            seconds[name].append(time.perf_counter() - started)
    graph = find_neighbours(vectors, len(vectors) - 1)
    quality = np.ones(len(vectors))
    sparse = facility_location(graph.first(32), quality, count).rows
    rows |= {"ours_sparse_32": sparse, "random": at_random(len(vectors), count, 0).rows}
    return {
        name: {
            "objective": round(objective(graph, quality, chosen), 3),
            **({"median_s": round(statistics.median(seconds[name]), 3)} if name in ways else {}),
        }
        for name, chosen in rows.items()
    }


def main() -> int:
    """Print the figures; 1 when the full objective is not that of the naive greedy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--choose", type=int, default=1_000)
    parser.add_argument("--small", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-k-centre", action="store_true", help="it takes longest")
    parser.add_argument("--rivals", default="", help="a folder with submodlib")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    if options.rivals:
        sys.path.append(options.rivals)
    vectors = planted(options.rows)
    load = os.getloadavg()[0]
    few = max(1, options.small * options.choose // options.rows)
    result = {
        "rows": options.rows,
        "choose": options.choose,
        "large": large(vectors, options.choose, not options.no_k_centre),
        "small_rows": options.small,
        "small_choose": few,
        "small": small(vectors[: options.small], few, options.runs),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "cpus": os.cpu_count(),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    reached = result["small"]
    return 0 if reached["ours"]["objective"] >= 0.9999 * reached["naive"]["objective"] else 1


if __name__ == "__main__":
    sys.exit(main())
