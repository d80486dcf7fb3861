"""Every page's query on a big store: `python -m tests.benchmarks.store --rows 100000 --json`.

Builds a workspace of so many pairs with texts of realistic length, then times each operation that
a page calls, at least 20 times, at random keyset positions and filter values. What is timed is the
whole operation: query, records, JSON. Prints p50, p95 and max in milliseconds with the load of
the machine, and ends with 1 when a p95 is over the limit.
"""

import argparse
import hashlib
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_studio.bootstrap import build_studio
from distill_studio.core import embedding_models
from distill_studio.core.actor import Actor, Role
from distill_studio.core.ids import new_id
from distill_studio.core.protocols import FloatMatrix
from distill_studio.core.records import Curation, Job, JobState, Message, Pair, Preference, Seed
from distill_studio.core.settings import Settings
from distill_studio.services import curation_work, operations
from distill_studio.services.workspace import Workspace
from distill_studio.store import jobs, pairs, preferences, seeds
from distill_studio.store.pairs import PairQuery

LIMIT_MS = 100.0
LEAST_RUNS = 20
CANDIDATES = 2  # answers per seed
OWNER = Actor(user="owner", role=Role.OWNER)
TEACHERS = ("gpt-4-1106-preview", "qwen3-32b", "smollm2-135m-instruct", "vicuna-7b")
RECIPES = ("direct", "best_of_n", "import")
CHUNK = 2000


class Texts:
    """Words with the frequencies of a language (Zipf), so that a search finds some rows."""

    def __init__(self, rng: random.Random) -> None:
        letters = "abcdefghijklmnoprstuvw"
        self.words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(20_000)]
        weights = [1 / (rank + 10) for rank in range(len(self.words))]
        self._cumulative = [float(w) for w in np.cumsum(weights)]
        self._rng = rng
        self._last: dict[int, str] = {}

    def text(self, mean_words: int) -> str:
        """A text of about `mean_words` words; lengths vary as real ones do (log-normal).

        One in ten is a near-duplicate of the one before.
        """
        length = max(3, min(2000, int(self._rng.lognormvariate(0, 0.7) * mean_words)))
        made = " ".join(self._rng.choices(self.words, cum_weights=self._cumulative, k=length))
        if mean_words in self._last and self._rng.random() < 0.1:
            made = f"{self._last[mean_words]} {self._rng.choice(self.words)}"
        self._last[mean_words] = made
        return made

    def rare_word(self) -> str:
        """Something to search for."""
        return self._rng.choice(self.words[500:])


class HashedVectors:
    """An embedder without a model: equal beginnings give equal vectors."""

    model = embedding_models.FULL  # what the settings in force name
    dim = 64

    def windows(self, text: str) -> list[str]:
        """One window a text."""
        return [text]

    def embed(self, texts: Sequence[str]) -> FloatMatrix:
        """(N, 64) unit vectors."""
        seeds_ = [hashlib.md5(t[:60].encode()).digest() for t in texts]
        rows = [
            np.random.default_rng(int.from_bytes(s[:8])).standard_normal(self.dim) for s in seeds_
        ]
        matrix = np.asarray(rows, dtype=np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def build(workspace: Workspace, rows: int, rng: random.Random, say: Callable[[str], None]) -> None:
    """Fill a workspace: seeds, candidates, decisions, preferences, jobs."""
    texts = Texts(rng)
    topics = [f"topic {n}" for n in range(40)]
    job_ids = _jobs(workspace)
    made: list[Seed] = []
    begin = time.perf_counter()
    for start in range(0, rows // CANDIDATES, CHUNK):
        count = min(CHUNK, rows // CANDIDATES - start)
        chunk = [_seed(texts, rng, topics) for _ in range(count)]
        seeds.insert(workspace.db, chunk)
        pairs.insert(
            workspace.db,
            [_pair(texts, rng, seed, n, job_ids) for seed in chunk for n in range(CANDIDATES)],
        )
        made += chunk
    say(f"{rows} pairs in {time.perf_counter() - begin:.0f} s")
    begin = time.perf_counter()
    _decide(workspace)
    _prefer(workspace, rng)
    say(f"decisions and preferences in {time.perf_counter() - begin:.0f} s")


def curate(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Measure and compare what is not yet."""
    begin = time.perf_counter()
    curation_work.measure_rows(workspace.db)
    embedder = HashedVectors()
    curation_work.embed_texts(workspace.db, embedder, "both")
    near = curation_work.find_near(workspace.db, embedder, "both", 0.8)
    curation_work.find_near(workspace.db, embedder, "prompt", 0.8)
    say(f"curation in {time.perf_counter() - begin:.0f} s ({near} near pairs)")
    workspace.db.checkpoint()


def _jobs(workspace: Workspace) -> list[str]:
    made = [
        Job(kind="generate", title=f"Direct answer: run {n}", state=JobState.DONE, user="owner")
        for n in range(200)
    ]
    for job in made:
        jobs.insert(workspace.db, job)
        jobs.log(workspace.db, job.id, "started")
    return [job.id for job in made]


def _seed(texts: Texts, rng: random.Random, topics: list[str]) -> Seed:
    message = Message(role="user", content=texts.text(40))
    return Seed(messages=(message,), topic=rng.choice(topics), source=f"file-{rng.randint(1, 9)}")


def _pair(texts: Texts, rng: random.Random, seed: Seed, n: int, job_ids: list[str]) -> Pair:
    return Pair(
        seed_id=seed.id,
        messages=seed.messages,
        answer=texts.text(150),
        topic=seed.topic,
        source=seed.source,
        teacher=rng.choice(TEACHERS),
        model="m",
        recipe=rng.choice(RECIPES),
        job_id=rng.choice(job_ids),
        sample=n,
        finish_reason="stop",
        completion_tokens=rng.randint(20, 800),
        curation=rng.choices(list(Curation), weights=(85, 10, 5))[0],
        judge_score=rng.random(),
    )


def _decide(workspace: Workspace) -> None:
    """Two bulks and some thousand single decisions, as people leave them."""
    for teacher, kind in ((TEACHERS[0], "accept"), (TEACHERS[3], "reject")):
        query = {"teacher": teacher, "status": "pending"}
        arguments = {"query": query, "kind": kind, "bulk_id": new_id(), "reason": ""}
        operations.call(workspace, OWNER, "review_bulk", arguments)
    some = pairs.page(workspace.db, PairQuery(teacher=TEACHERS[1], limit=5000))
    decisions = [{"id": new_id(), "pair_id": p.id, "kind": "accept"} for p in some[::2]]
    for start in range(0, len(decisions), 100):
        batch = decisions[start : start + 100]
        operations.call(workspace, OWNER, "review_decide", {"decisions": batch})


def _prefer(workspace: Workspace, rng: random.Random) -> None:
    some = pairs.page(workspace.db, PairQuery(limit=10_000))
    made = [
        Preference(
            seed_id=left.seed_id,
            chosen_pair_id=left.id,
            rejected_pair_id=right.id,
            outcome=rng.choice(("win", "win", "tie")),
            user="owner",
            source="person",
        )
        for left, right in zip(some[::2], some[1::2], strict=True)
    ]
    preferences.insert(workspace.db, made)


@dataclass
class Positions:
    """Random places in the store to ask for."""

    rng: random.Random
    texts: Texts
    pair_ids: list[str]
    seed_ids: list[str]
    job_ids: list[str]

    @classmethod
    def of(cls, workspace: Workspace, rng: random.Random) -> "Positions":
        """Some thousand ids of each kind."""

        def ids(table: str) -> list[str]:
            rows = workspace.db.rows(f"SELECT id FROM {table} USING SAMPLE 2000")
            return [row["id"] for row in rows]

        return cls(rng, Texts(rng), ids("pairs"), ids("seeds"), ids("jobs"))

    def pair_query(self, **fields: Any) -> dict[str, Any]:
        """A page of 50 pairs from a random place on, in either direction."""
        paging = {"after": self.rng.choice(self.pair_ids), "newest_first": self.rng.random() < 0.5}
        return {"query": fields | paging | {"limit": 50}}


Ask = tuple[str, str, Callable[[Positions], dict[str, Any]]]


def asks() -> Iterator[Ask]:
    """(label, operation, arguments) of every query that a page makes."""

    def pick(values: Sequence[str]) -> Callable[[Positions], str]:
        return lambda at: at.rng.choice(values)

    topic = pick([f"topic {n}" for n in range(40)])
    source = pick([f"file-{n}" for n in range(1, 10)])
    nothing: Callable[[Positions], dict[str, Any]] = lambda _: {}  # noqa: E731
    for name in (
        "overview_counts", "overview_next_step", "seeds_facets", "generate_facets",
        "generate_count", "generate_jobs", "teachers_page", "review_facets", "review_progress",
        "review_recent", "review_reasons", "prefer_progress", "prefer_recent",
        "prefer_consistency", "curate_state", "curate_history", "curate_preview",
        "curate_dedup_preview", "freeze_page", "export_page", "distill_page", "evaluate_models",
        "evaluate_page", "evaluate_examples", "jobs_page",
    ):  # fmt: skip
        yield name, name, nothing
    yield "jobs_page active", "jobs_page", lambda _: {"active": True}
    yield "jobs_events", "jobs_events", lambda at: {"job_id": at.rng.choice(at.job_ids)}
    yield "seeds_page", "seeds_page", lambda at: {"after": at.rng.choice(at.seed_ids)}
    yield "seeds_page topic", "seeds_page", lambda at: {
        "after": at.rng.choice(at.seed_ids), "topic": topic(at), "source": source(at),
    }  # fmt: skip
    yield "seeds_page search", "seeds_page", lambda at: {"search": at.texts.rare_word()}
    yield "seeds_count search", "seeds_count", lambda at: {"search": at.texts.rare_word()}
    yield "generate_count topic", "generate_count", lambda at: {"seeds": {"topic": topic(at)}}
    yield "generate_recent", "generate_recent", lambda at: {"job_id": at.rng.choice(at.job_ids)}
    yield "generate_reasons", "generate_reasons", lambda at: {"job_id": at.rng.choice(at.job_ids)}
    yield "review_queue first", "review_queue", nothing
    yield "review_get", "review_get", lambda at: {"pair_id": at.rng.choice(at.pair_ids)}
    yield "review_history", "review_history", lambda at: {"pair_id": at.rng.choice(at.pair_ids)}
    yield "curate_explain", "curate_explain", lambda at: {"pair_id": at.rng.choice(at.pair_ids)}
    yield "prefer_queue", "prefer_queue", nothing
    yield "prefer_page", "prefer_page", lambda _: {"query": {"limit": 50, "newest_first": True}}
    yield "prefer_count", "prefer_count", lambda _: {"query": {"outcome": "win"}}
    yield from _pair_asks(topic, source)


def _pair_asks(topic: Callable[[Positions], str], source: Callable[[Positions], str]) -> list[Ask]:
    filters: dict[str, Callable[[Positions], dict[str, Any]]] = {
        "all": lambda _: {},
        "status": lambda at: {"status": at.rng.choice(("pending", "accepted", "rejected"))},
        "curation": lambda at: {"curation": at.rng.choice(("kept", "filtered", "duplicate"))},
        "teacher": lambda at: {"teacher": at.rng.choice(TEACHERS)},
        "recipe": lambda at: {"recipe": at.rng.choice(RECIPES)},
        "topic": lambda at: {"topic": topic(at)},
        "source": lambda at: {"source": source(at)},
        "job": lambda at: {"job_id": at.rng.choice(at.job_ids)},
        "seed": lambda at: {"seed_id": at.rng.choice(at.seed_ids)},
        "status and topic": lambda at: {"status": "pending", "topic": topic(at)},
        "search": lambda at: {"search": at.texts.rare_word()},
        "search for a phrase": lambda at: {"search": at.texts.text(3)},  # as good as never there
    }
    found: list[Ask] = []
    for label, fields in filters.items():
        found.append((
            f"review_page {label}",
            "review_page",
            lambda at, fields=fields: at.pair_query(**fields(at)),
        ))
        found.append((
            f"review_count {label}",
            "review_count",
            lambda at, fields=fields: {"query": fields(at)},
        ))
    return found


def measure(
    workspace: Workspace,
    at: Positions,
    runs: int,
    only: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Label -> p50, p95, max and mean processor time in milliseconds."""
    known = operations.operations()
    found: dict[str, Any] = {}
    for label, operation, arguments in asks():
        if not re.search(only, label):
            continue
        if operation not in known:
            raise SystemExit(f"There is no operation {operation}: mend the benchmark.")
        operations.call(workspace, OWNER, operation, arguments(at))  # once cold
        times_ms, cpu_ms = [], []
        for _ in range(runs):
            given = arguments(at)
            start, cpu_start = time.perf_counter(), time.process_time()
            operations.call(workspace, OWNER, operation, given)
            times_ms.append((time.perf_counter() - start) * 1000)
            cpu_ms.append((time.process_time() - cpu_start) * 1000)
        times_ms.sort()
        p95 = times_ms[min(len(times_ms) - 1, int(0.95 * len(times_ms)))]
        found[label] = {
            "p50_ms": round(times_ms[len(times_ms) // 2], 1),
            "p95_ms": round(p95, 1),
            "max_ms": round(times_ms[-1], 1),
            "cpu_ms": round(sum(cpu_ms) / len(cpu_ms), 1),  # of all threads; other load apart
            "is_within": p95 <= LIMIT_MS,
        }
        if p95 > LIMIT_MS:
            say(f"{label}: {found[label]}")
    return found


def run(home: Path, rows: int, runs: int, only: str = "", quiet: bool = False) -> dict[str, Any]:
    """Build (where `home` holds no such store yet) and measure; the whole report."""

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    rng = random.Random(7)
    settings = Settings(home=home, port=0)
    studio = build_studio(settings, resume_jobs=False)
    try:
        workspace = studio.workspace(settings.workspace)
        if not pairs.count(workspace.db, PairQuery()):
            build(workspace, rows, rng, say)
        curate(workspace, say)
        load_before = os.getloadavg()[0]
        queries = measure(workspace, Positions.of(workspace, rng), runs, only, say)
        return {
            "rows": pairs.count(workspace.db, PairQuery()),
            "runs": runs,
            "limit_ms": LIMIT_MS,
            "cpu_count": os.cpu_count(),
            "load_average": [round(load_before, 2), round(os.getloadavg()[0], 2)],
            "store_mib": round((workspace.folder / "studio.duckdb").stat().st_size / 2**20),
            "over_limit": [label for label, q in queries.items() if not q["is_within"]],
            "queries": queries,
        }
    finally:
        studio.close()


def main() -> int:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description="Time every page's query on a big store.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--only", default="", help="only labels that match this regular expression")
    parser.add_argument("--home", type=Path, help="keep and reuse the store in this folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    runs = max(LEAST_RUNS, given.runs)
    with tempfile.TemporaryDirectory() as folder:
        report = run(given.home or Path(folder), given.rows, runs, given.only, given.json)
    if given.json:
        print(json.dumps(report, indent=1))
    else:
        for label, query in sorted(report["queries"].items(), key=lambda q: -q[1]["p95_ms"]):
            mark = "" if query["is_within"] else "  OVER"
            figures = (query["p95_ms"], query["p50_ms"], query["cpu_ms"])
            print(*(f"{figure:8.1f}" for figure in figures), f" {label}{mark}")
        print(
            f"p95, p50, processor time in ms; {report['rows']} rows, load {report['load_average']}"
        )
    return 1 if report["over_limit"] else 0


if __name__ == "__main__":
    sys.exit(main())
