"""The sides of the benchmark of near-duplicates, each run in a process of its own.

`python -m tests.benchmarks.dedup_sides NAME VECTORS.npy FLOOR FOUND.npy [--rivals FOLDER]` prints
one JSON object: seconds (without reading the file), CPU seconds, peak memory. It writes what was
found: pairs (P, 2) of units a < b, or for SemHash the numbers of the rows that stay.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill_studio.core.protocols import FloatMatrix
from distill_studio.curate.dedup.clustered import ClusteredSearch
from distill_studio.curate.dedup.search import Found, NearSearch
from distill_studio.curate.dedup.vectors import MemorySource, WindowedVectors
from distill_studio.services import curation_work
from distill_studio.store import embeddings
from distill_studio.store.database import Database

TILE = 2048
PROCESSORS = 2
IntArray = npt.NDArray[np.int64]


def in_memory(vectors: FloatMatrix) -> MemorySource:
    """Units of one window each."""
    counts = np.ones(len(vectors), dtype=np.int64)
    return MemorySource((WindowedVectors(vectors, counts, vectors[:0]),))


def pairs_of(found: Iterable[Found]) -> IntArray:
    """(P, 2) of all tiles."""
    none = np.zeros((0, 2), dtype=np.int64)
    return np.concatenate([none, *(np.stack([tile.a, tile.b], axis=1) for tile in found)])


def ours(vectors: FloatMatrix, floor: float) -> IntArray:
    """The search of the app, vectors in memory: exact, or by clusters where the app does so."""
    if curation_work.is_large(len(vectors), 0):
        return clusters(vectors, floor)
    return pairs_of(NearSearch(in_memory(vectors), floor).run())


def clusters(vectors: FloatMatrix, floor: float) -> IntArray:
    """The search by clusters, whatever the number of rows."""
    return pairs_of(ClusteredSearch(in_memory(vectors), floor).run())


def full_product(vectors: FloatMatrix, floor: float) -> IntArray:
    """Every product in float32, upper triangle, numpy's own threads; near ones again in float64."""
    found = [np.zeros((0, 2), dtype=np.int64)]
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
            found.append(np.stack([j[keep] + first, i[keep] + start], axis=1))
    return np.concatenate(found)


def in_sql(vectors: FloatMatrix, floor: float) -> IntArray:
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
        return np.array(rows, dtype=np.int64).reshape(-1, 2)


def semhash(vectors: FloatMatrix, floor: float) -> IntArray:
    """SemHash with its usearch backend, vectors given; the rows that stay."""
    from semhash import SemHash

    class NoModel:
        def encode(self, *_: Any, **__: Any) -> FloatMatrix:
            raise AssertionError("the vectors are given")

    names = [str(k) for k in range(len(vectors))]
    index = SemHash.from_embeddings(vectors, names, model=NoModel())
    result = index.self_deduplicate(threshold=floor)
    return np.array([int(name) for name in result.selected], dtype=np.int64)


def store(vectors: FloatMatrix, floor: float) -> IntArray:
    """Ours as the app runs it: units read from DuckDB block by block, pairs written.

    The making of the store is not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        db = Database(Path(folder) / "studio.duckdb")
        try:
            _fill(db, vectors)
            _start_clock()

            class Model:
                model, dim = "bench", vectors.shape[1]

            curation_work.find_near(db, Model(), "answer", floor)  # type: ignore[arg-type]
            a, b, _ = embeddings.near_pairs(db, "bench", "answer", floor)
            return np.stack([a, b], axis=1)
        finally:
            db.close()


def _fill(db: Database, vectors: FloatMatrix) -> None:
    """Vectors in random order of their hashes, as texts have them, and the units."""
    count = len(vectors)
    rng = np.random.default_rng(0)
    hashes = np.array([f"{k:032x}" for k in rng.permutation(count)], dtype=object)
    for start in range(0, count, 50_000):
        part = slice(start, start + 50_000)
        ones = [1] * len(hashes[part])
        embeddings.save_vectors(db, "bench", hashes[part].tolist(), ones, vectors[part])
    with db.write() as cursor:
        cursor.register(
            "incoming_units", pa.table({"number": np.arange(count), "hash": pa.array(hashes)})
        )
        cursor.execute(
            "INSERT INTO dedup_units SELECT 'bench', 'answer', number, '', hash FROM incoming_units"
        ).fetchall()
        cursor.unregister("incoming_units")


SIDES: dict[str, Callable[[FloatMatrix, float], IntArray]] = {
    "ours": ours,
    "clusters": clusters,
    "full_product": full_product,
    "sql": in_sql,
    "semhash": semhash,
    "store": store,
}
_clock = [0.0, 0.0]


def _start_clock() -> None:
    _clock[:] = time.perf_counter(), time.process_time()


def peak_mib() -> int:
    """Peak resident memory of this process, without what it inherits from the one before it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def share_processors() -> None:
    """Two processors for every side, also for libraries that count processors, not settings."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])


def main() -> int:
    """Run one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(SIDES))
    parser.add_argument("vectors", type=Path)
    parser.add_argument("floor", type=float)
    parser.add_argument("found", type=Path)
    parser.add_argument("--rivals", default="")
    options = parser.parse_args()
    if options.rivals:
        sys.path.append(options.rivals)
    share_processors()
    vectors = np.load(options.vectors)
    load = os.getloadavg()[0]
    _start_clock()
    found = SIDES[options.name](vectors, options.floor)
    seconds = {
        "s": time.perf_counter() - _clock[0],
        "cpu_s": time.process_time() - _clock[1],
    }
    np.save(options.found, found)
    print(json.dumps({**seconds, "peak_mib": peak_mib(), "load": load}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
