"""All near pairs of N vectors, ours against a full tiled product and DuckDB SQL.

`python -m tests.benchmarks.dedup --rows 20000 --json`

Vectors: clustered, power-law spectrum, 384 dimensions, 15% planted at cosine .90 to .99 to another
row and 10% at .80 to .90, fixed seed. Sides alternate; medians and spread of at least five runs.
Each side gets two threads. SQL runs on the first `--sql-rows` rows only (it needs minutes beyond).
`--store` runs the search through the store as the app does: vectors read from DuckDB, pairs
written to it.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.dedup.groups import Contender, Edges, keep_first
from distill_studio.curate.dedup.search import NearSearch
from distill_studio.curate.dedup.vectors import MemorySource, WindowedVectors
from distill_studio.services import curation_work
from distill_studio.store import embeddings
from distill_studio.store.database import Database

DIM = 384
SEED = 20
TILE = 2048
Pairs = set[tuple[int, int]]


def planted(rows: int) -> FloatMatrix:
    """(rows, DIM) unit vectors, as the module says."""
    rng = np.random.default_rng(SEED)
    spectrum = np.arange(1, DIM + 1) ** -0.5
    centres = rng.standard_normal((max(4, rows // 50), DIM)) * spectrum
    x = 0.6 * centres[rng.integers(0, len(centres), rows)]
    x += rng.standard_normal((rows, DIM)) * spectrum
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    count = rows // 4
    copies = rng.permutation(rows)[:count]
    sources = rng.integers(0, rows, count)
    is_near = rng.random(count) < 0.6
    cosine = np.where(is_near, rng.uniform(0.9, 0.99, count), rng.uniform(0.8, 0.9, count))
    away = rng.standard_normal((count, DIM))
    away -= np.sum(away * x[sources], axis=1, keepdims=True) * x[sources]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    x[copies] = cosine[:, None] * x[sources] + np.sqrt(1 - cosine**2)[:, None] * away
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def ours(vectors: FloatMatrix, floor: float) -> Pairs:
    """The search of the app, vectors in memory."""
    counts = np.ones(len(vectors), dtype=np.int64)
    source = MemorySource((WindowedVectors(vectors, counts, vectors[:0]),))
    found: Pairs = set()
    for tile in NearSearch(source, floor).run():
        found.update(zip(tile.a.tolist(), tile.b.tolist(), strict=True))
    return found


def full_product(vectors: FloatMatrix, floor: float) -> Pairs:
    """Every product in float32, upper triangle, numpy's own threads; near ones again in float64."""
    found: Pairs = set()
    for start in range(0, len(vectors), TILE):
        rows = vectors[start : start + TILE]
        for first in range(0, start + len(rows), TILE):
            columns = vectors[first : first + TILE]
            near = np.flatnonzero(rows @ columns.T >= floor - 1e-5)
            i, j = np.divmod(near, len(columns))
            older = j + first < i + start
            i, j = i[older], j[older]
            exact = np.einsum("pd,pd->p", rows[i].astype(np.float64), columns[j].astype(np.float64))
            keep = np.round(exact, 6) >= floor
            found.update(zip((j[keep] + first).tolist(), (i[keep] + start).tolist(), strict=True))
    return found


def in_sql(vectors: FloatMatrix, floor: float) -> Pairs:
    """A self-join in DuckDB."""
    with duckdb.connect() as connection:
        flat = pa.array(vectors.reshape(-1))
        connection.register(
            "incoming",
            pa.table({
                "n": np.arange(len(vectors)),
                "v": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            }),
        )
        connection.execute("SET threads = 2")
        connection.execute(
            f"CREATE TABLE vectors AS SELECT n, v::FLOAT[{vectors.shape[1]}] AS v FROM incoming"
        ).fetchall()
        rows = connection.execute(
            """SELECT a.n, b.n FROM vectors a, vectors b
            WHERE a.n < b.n AND array_inner_product(a.v, b.v) >= ?""",
            [floor],
        ).fetchall()
        return {(int(a), int(b)) for a, b in rows}


def through_the_store(vectors: FloatMatrix, floor: float) -> Pairs:
    """Ours as the app runs it: units read from DuckDB block by block, pairs written."""
    with tempfile.TemporaryDirectory() as folder:
        db = Database(Path(folder) / "studio.duckdb")
        try:
            return _stored_search(db, vectors, floor)
        finally:
            db.close()


def _stored_search(db: Database, vectors: FloatMatrix, floor: float) -> Pairs:
    count = len(vectors)
    hashes = [f"{k:032x}" for k in range(count)]
    embeddings.save_vectors(db, "bench", hashes, [1] * count, vectors)
    with db.write() as cursor:
        cursor.register("incoming_units", pa.table({"number": np.arange(count), "hash": hashes}))
        cursor.execute(
            "INSERT INTO dedup_units SELECT 'bench', 'answer', number, '', hash FROM incoming_units"
        ).fetchall()
        cursor.unregister("incoming_units")

    class Model:
        model, dim = "bench", DIM

    started = time.perf_counter()
    curation_work.find_near(db, Model(), "answer", floor)  # type: ignore[arg-type]
    a, b, _ = embeddings.near_pairs(db, "bench", "answer", floor)
    through_the_store.seconds = time.perf_counter() - started  # type: ignore[attr-defined]
    return set(zip(a.tolist(), b.tolist(), strict=True))


def group(pairs: Pairs, rows: int) -> tuple[float, int]:
    """Seconds of one keep-first pass (what a move of the slider costs), and rows removed."""
    a, b = (np.array(side, np.int64) for side in zip(*sorted(pairs), strict=True))
    contenders = [Contender(f"{k:08d}", "", k, "") for k in range(rows)]
    started = time.perf_counter()
    removed = keep_first(contenders, Edges(a, b, np.full(len(a), 0.95))).removed
    return time.perf_counter() - started, len(removed)


def timed(side: Callable[[FloatMatrix, float], Pairs], *args: Any) -> tuple[float, Pairs]:
    """Seconds and what was found."""
    started = time.perf_counter()
    found = side(*args)
    return time.perf_counter() - started, found


def summary(seconds: list[float]) -> dict[str, float]:
    """Median and spread."""
    return {
        "median_s": round(statistics.median(seconds), 3),
        "min_s": round(min(seconds), 3),
        "max_s": round(max(seconds), 3),
    }


def run(rows: int, sql_rows: int, floor: float, runs: int, with_store: bool) -> dict[str, Any]:
    """Everything, as one JSON object."""
    vectors = planted(rows)
    sides: dict[str, Callable[[FloatMatrix, float], Pairs]] = {
        "ours": ours,
        "full_product": full_product,
    }
    if with_store:
        sides["ours_through_duckdb"] = through_the_store
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, Pairs] = {}
    loads = [os.getloadavg()[0]]
    for _ in range(runs):
        for name, side in sides.items():
            spent, found[name] = timed(side, vectors, floor)
            if name == "ours_through_duckdb":  # without the making of the store
                spent = through_the_store.seconds  # type: ignore[attr-defined]
            seconds[name].append(spent)
        loads.append(os.getloadavg()[0])
    result: dict[str, Any] = {
        "rows": rows,
        "floor": floor,
        "runs": runs,
        "pairs": len(found["ours"]),
        "recall": len(found["ours"] & found["full_product"]) / max(1, len(found["full_product"])),
        "false_pairs": len(found["ours"] - found["full_product"]),
        "sides": {name: summary(values) for name, values in seconds.items()},
        "load": [round(load, 1) for load in loads],
        "cpus": os.cpu_count(),
    }
    ours_s, full_s = (result["sides"][name]["median_s"] for name in ("ours", "full_product"))
    result["share_of_full_product"] = round(ours_s / full_s, 3)
    group_s, removed = group(found["ours"], rows)
    result["regroup_s"], result["removed"] = round(group_s, 3), removed
    if sql_rows:
        small = vectors[:sql_rows]
        sql_s, sql_found = timed(in_sql, small, floor)
        small_s, small_found = timed(ours, small, floor)
        result["sql"] = {
            "rows": sql_rows,
            "sql_s": round(sql_s, 3),
            "ours_s": round(small_s, 3),
            "same_pairs": sql_found == small_found,
        }
    result["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


def main() -> int:
    """Print the figures; 1 when a pair was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--sql-rows", type=int, default=2_000, help="0 leaves SQL out")
    parser.add_argument("--floor", type=float, default=0.9)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--store", action="store_true", help="also through DuckDB")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    result = run(options.rows, options.sql_rows, options.floor, options.runs, options.store)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return 0 if result["recall"] == 1.0 and not result["false_pairs"] else 1


if __name__ == "__main__":
    sys.exit(main())
