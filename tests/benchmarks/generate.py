"""A studio job against a bare client, and the store alone: `python -m tests.benchmarks.generate`.

Parts, each printed as JSON with `--json`:
- `vllm`: 200 seeds to a real vLLM server (`--url`, `--model`; or one started here from
  `.venv-vllm`), studio job with every reply stored vs. a bare asyncio client of the openai
  library, same requests, alternating; medians of answers per second and their ratio.
- `stub`: the same against a server (a process of its own) that answers in 20 ms, 256 in flight.
- `store`: replies per second that `generation.commit` takes, in groups of 200.
- `queue`: 100,000 seeds against the stub: memory growth, first reply, cancel.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.ids import new_id
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import (
    JobState,
    Message,
    Pair,
    Seed,
    TeacherConfig,
    TeacherKind,
    UnitRows,
)
from distill_studio.core.settings import Settings
from distill_studio.generate.effects import Ask
from distill_studio.generate.recipes.base import request_for
from distill_studio.services.generation_plan import GenerationPlan
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.services.workspace import Workspace
from distill_studio.store import generation
from distill_studio.store import seeds as seeds_table
from distill_studio.store.database import Database
from distill_studio.store.generation import SeedFilter
from distill_studio.teachers.openai_compatible import OpenAIChatModel

OWNER = Actor(user="owner", role=Role.OWNER)
GROUP = 200
LIMITS = {"vllm": 0.95, "stub": 0.8, "store": 2000.0}
_CHUNK = 5000


def make_seeds(count: int, rng: random.Random) -> list[Seed]:
    """Seeds of which no two are alike."""
    things = ("rivers", "planets", "bridges", "recipes", "birds", "machines", "poems", "islands")
    return [
        Seed(
            messages=(
                Message(role="user", content=f"Write about {rng.choice(things)}, number {i}."),
            )
        )
        for i in range(count)
    ]


@contextmanager
def workspace_at(folder: Path) -> Iterator[Workspace]:
    """A studio's workspace in a new data folder."""
    cache = Path(os.environ.get("DISTILL_STUDIO_CACHE", folder / "cache"))
    studio = build_studio(Settings(home=folder / "home", cache=cache))
    try:
        yield studio.workspace("main")
    finally:
        studio.close()


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def studio_rate(workspace: Workspace, teacher: str, sampling: SamplingParams) -> float:
    """Answers per second of one job over all seeds, from its start to its end."""
    began = time.perf_counter()
    job = workspace.generate.start(
        OWNER,
        GenerationWish(
            teachers=[teacher], sampling=sampling, seeds=SeedFilter(only_unanswered=False)
        ),
    )
    ended = workspace.jobs.wait(OWNER, job.id, timeout_s=900)
    took = time.perf_counter() - began
    if ended.state is not JobState.DONE or ended.result["failed"]:
        raise RuntimeError(f"the job ended {ended.state}: {ended.error} {ended.result}")
    return float(ended.result["answered"]) / took


def bodies(workspace: Workspace, teacher: str, sampling: SamplingParams) -> list[dict[str, Any]]:
    """The very requests that a job over all seeds sends."""
    model = OpenAIChatModel(workspace.teachers.config(teacher))
    plan = GenerationPlan(teachers=(teacher,), recipe="direct", sampling=sampling)
    settings = plan.settings()
    found = []
    for unit in plan.units_for(0, seeds_table.page(workspace.db, limit=100_000)):
        ask = next(plan.recipe_object.steps(unit, settings))
        assert isinstance(ask, Ask)
        found.append(model.body(request_for(unit, ask, settings)))
    return found


async def bare_rate(url: str, requests: Sequence[dict[str, Any]], in_flight: int) -> float:
    """Answers per second of a bare client with so many requests in flight."""
    import httpx2
    import openai

    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    http = httpx2.AsyncClient(limits=limits, trust_env=False, timeout=600)
    async with openai.AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, http_client=http
    ) as client:
        pending = iter(requests)

        async def worker() -> None:
            for body in pending:
                done = await client.chat.completions.create(**body)
                if not done.choices[0].message.content:
                    raise RuntimeError("an empty answer")

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return len(requests) / (time.perf_counter() - began)


def against_bare(
    url: str, model: str, *, seeds: int, in_flight: int, rounds: int, tokens: int
) -> dict[str, Any]:
    """Studio job and bare client in turns; who begins alternates too."""
    sampling = SamplingParams(temperature=0.7, max_tokens=tokens)
    rates: dict[str, list[float]] = {"studio": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder, workspace_at(Path(folder)) as workspace:
        seeds_table.insert(workspace.db, make_seeds(seeds, random.Random(1)))
        config = TeacherConfig(
            name="it", kind=TeacherKind.OPENAI, model=model, base_url=url, concurrency=in_flight
        )
        workspace.teachers.save(OWNER, config)
        requests = bodies(workspace, "it", sampling)
        asyncio.run(bare_rate(url, requests[:in_flight], in_flight))  # warm, and not counted
        for number in range(rounds):
            for side in ("studio", "bare") if number % 2 == 0 else ("bare", "studio"):
                if side == "studio":
                    rates[side].append(studio_rate(workspace, "it", sampling))
                else:
                    rates[side].append(asyncio.run(bare_rate(url, requests, in_flight)))
                sys.stderr.write(f"round {number + 1}, {side}: {rates[side][-1]:.2f} answers/s\n")
    studio, bare = percentiles(rates["studio"]), percentiles(rates["bare"])
    return {
        "seeds": seeds,
        "in_flight": in_flight,
        "rounds": rounds,
        "studio_per_s": studio,
        "bare_per_s": bare,
        "ratio": round(studio["median"] / bare["median"], 3),
        "load": [round(x, 1) for x in os.getloadavg()],
    }


def store_alone(groups: int) -> dict[str, Any]:
    """Replies per second that the store takes, and how the first and last groups compare."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(3000)]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        db = Database(Path(folder) / "studio.duckdb")
        for _ in range(groups):
            pairs = [
                Pair(
                    seed_id=new_id(),
                    messages=(Message(role="user", content=text(60)),),
                    answer=text(130),
                    job_id="job",
                )
                for _ in range(GROUP)
            ]
            ended = [UnitRows(seed_id=p.seed_id, sample=0, pairs=(p,)) for p in pairs]
            began = time.perf_counter()
            generation.commit(db, "job", [], ended)
            took.append(time.perf_counter() - began)
        db.close()
    tenth = max(1, groups // 10)
    return {
        "rows": groups * GROUP,
        "per_s": round(groups * GROUP / sum(took), 1),
        "group_ms_first_tenth": round(1000 * statistics.median(took[:tenth]), 1),
        "group_ms_last_tenth": round(1000 * statistics.median(took[-tenth:]), 1),
    }


def queue(url: str, seeds: int, watch_s: float) -> dict[str, Any]:
    """Memory, first reply and cancel of a job over very many seeds."""
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder, workspace_at(Path(folder)) as workspace:
        rng = random.Random(2)
        made = make_seeds(seeds, rng)
        for start in range(0, seeds, _CHUNK):
            seeds_table.insert(workspace.db, made[start : start + _CHUNK])
        del made
        config = TeacherConfig(
            name="it", kind=TeacherKind.OPENAI, model="stub", base_url=url, concurrency=64
        )
        workspace.teachers.save(OWNER, config)
        before = process.memory_info().rss
        began = time.perf_counter()
        job = workspace.generate.start(OWNER, GenerationWish(teachers=["it"]))
        while not generation.answered(workspace.db, job.id)["answers"]:
            time.sleep(0.02)
        first_s = time.perf_counter() - began
        most = before
        while time.perf_counter() - began < watch_s:
            most = max(most, process.memory_info().rss)
            time.sleep(0.2)
        answered = generation.answered(workspace.db, job.id)["answers"]
        asked = time.perf_counter()
        workspace.jobs.cancel(OWNER, job.id)
        ended = workspace.jobs.wait(OWNER, job.id, timeout_s=60)
        cancel_s = time.perf_counter() - asked
    return {
        "seeds": seeds,
        "answered": answered,
        "first_reply_s": round(first_s, 2),
        "cancel_s": round(cancel_s, 2),
        "ended": ended.state.value,
        "growth_mib": round((most - before) / 2**20, 1),
    }


@contextmanager
def stub_server() -> Iterator[str]:
    """A server in a process of its own that answers each request after 20 ms."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.stub"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def vllm_at(url: str, model: str) -> Iterator[str]:
    """The address given, or a server started by the studio and stopped at the end."""
    if url:
        yield url
        return
    from distill_studio.teachers.vllm_server import ServerOptions

    with tempfile.TemporaryDirectory() as folder, workspace_at(Path(folder)) as workspace:
        options = ServerOptions(model=model, name="benchmark", max_length=2048)
        job = workspace.servers.start(OWNER, options)
        ended = workspace.jobs.wait(OWNER, job.id, timeout_s=600)
        if ended.state is not JobState.DONE:
            raise RuntimeError(ended.error)
        yield str(ended.result["base_url"])


def main() -> int:
    """Run the parts asked for; 1 when one misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--parts", default="store,stub,queue,vllm")
    parser.add_argument("--url", default="", help="of a vLLM server that runs; else one is started")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=4000, help="of the part stub")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    parts = options.parts.split(",")
    results: dict[str, Any] = {}
    if "store" in parts:
        results["store"] = store_alone(100)
    if {"stub", "queue"} & set(parts):
        with stub_server() as url:
            if "stub" in parts:
                results["stub"] = against_bare(
                    url,
                    "stub",
                    seeds=options.seeds,
                    in_flight=256,
                    rounds=options.rounds,
                    tokens=64,
                )
            if "queue" in parts:
                results["queue"] = queue(url, 100_000, 20.0)
    if "vllm" in parts:
        with vllm_at(options.url, options.model) as url:
            results["vllm"] = against_bare(
                url,
                options.model,
                seeds=200,
                in_flight=32,
                rounds=options.rounds,
                tokens=options.tokens,
            )
    missed = [
        name
        for name, limit in LIMITS.items()
        if name in results and results[name].get("ratio", results[name].get("per_s")) < limit
    ]
    if "queue" in results:
        seen = results["queue"]
        is_short = seen["growth_mib"] < 500 and max(seen["first_reply_s"], seen["cancel_s"]) < 2
        missed += [] if is_short else ["queue"]
    results["missed"] = missed
    print(json.dumps(results, indent=None if options.json else 2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
