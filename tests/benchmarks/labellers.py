"""Many labellers through the real API: `python -m tests.benchmarks.labellers [--json]`.

Twenty accounts log in over HTTP and work at one workspace as the benches do: take a batch under a
lease, decide one record (or vote on one comparison) after the other, keep each decision in an
outbox until the app says that it is stored, send it again after an error. In between the app's
process is killed with -9 twice and started again on the same data. Afterwards:

- every decision that was acknowledged is in the store, under its person, and none is there twice;
- without overlap nobody decided what another had decided, be it a record or two answers;
- `p95_ms` is the time from sending a decision to its answer, tries that found no app left out.

Half a minute by default; `--seconds 300` is the long run. Exit code 1 when something is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from distill_studio.core.records import Message, Pair
from distill_studio.store import pairs
from distill_studio.store.database import Database
from tests.conftest import launch_app

PASSWORD = "correct horse battery"
OPEN = {"DISTILL_STUDIO_PASSWORD": "the studio's own"}
WORKSPACE = "many"
BATCH = 20
LIMIT_P95_MS = 300.0
PENDING = {"status": "pending", "curation": "kept", "limit": BATCH}


@dataclass
class Labeller:
    """One person at one bench."""

    name: str
    bench: str  # review or prefer
    url: str
    pause_s: float
    ready: threading.Barrier
    stop: threading.Event
    acknowledged: dict[str, str] = field(default_factory=dict)  # decision id -> item
    sent: dict[str, str] = field(default_factory=dict)
    times_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    held: list[str] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)

    def work(self) -> None:
        """Until told to stop, and the outbox is empty."""
        chance = random.Random(self.name)
        with httpx.Client(base_url=self.url, timeout=30.0, trust_env=False) as http:
            self._log_in(http)
            self.ready.wait()
            while not self.stop.is_set():
                if len(self.held) < BATCH // 2:
                    self._fetch(http)
                if self.held:
                    self._decide(chance)
                self._flush(http)
                self.stop.wait(chance.uniform(0.5, 1.5) * self.pause_s)
            deadline = time.monotonic() + 60
            while self.outbox and time.monotonic() < deadline:
                self._flush(http)
                time.sleep(0.2)

    def _log_in(self, http: httpx.Client) -> None:
        answer = http.post("/login", data={"user": self.name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text

    def _post(self, http: httpx.Client, operation: str, **arguments: Any) -> Any:
        try:
            answer = http.post(f"/api/{WORKSPACE}/{operation}", json=arguments)
        except httpx.TransportError as err:
            self.errors[type(err).__name__] += 1
            return None
        if answer.status_code != 200:
            self.errors[f"{operation} {answer.status_code}"] += 1
            return None
        return answer.json()

    def _fetch(self, http: httpx.Client) -> None:
        waiting = [item.get("pair_id") or item["task_id"] for item in self.outbox]
        have = [*self.held, *waiting]
        if self.bench == "review":
            found = self._post(http, "review_next", query=PENDING, have=have)
        else:
            found = self._post(http, "prefer_queue", limit=BATCH)
        done = {*self.sent.values(), *self.held}
        self.held += [r["id"] for r in found or [] if r["id"] not in done]

    def _decide(self, chance: random.Random) -> None:
        item = self.held.pop(0)
        made: dict[str, Any] = {"id": str(uuid.uuid4())}
        if self.bench == "review":
            made |= {"pair_id": item, "kind": chance.choice(["accept", "accept", "reject"])}
        else:
            made |= {"task_id": item, "outcome": chance.choice(["left", "right", "tie"])}
        self.sent[made["id"]] = item
        self.outbox.append(made)

    def _flush(self, http: httpx.Client) -> None:
        if not self.outbox:
            return
        operation, key = (
            ("review_decide", "decisions") if self.bench == "review" else ("prefer_vote", "votes")
        )
        began = time.perf_counter()
        answer = self._post(http, operation, **{key: self.outbox, "for_user": self.name})
        if answer is None:
            return
        self.times_ms.append((time.perf_counter() - began) * 1000)
        for stored in answer["stored"]:
            self.acknowledged[stored] = self.sent[stored]
        for refused in answer["refused"]:
            self.errors[f"refused: {refused['reason']}"] += 1
        settled = {*answer["stored"], *(r["id"] for r in answer["refused"])}
        self.outbox = [item for item in self.outbox if item["id"] not in settled]


def fill(home: Path, rows: int) -> None:
    """A workspace with two answers to each of `rows` prompts."""
    database = Database(home / "workspaces" / WORKSPACE / "studio.duckdb")
    made = [
        Pair(
            seed_id=f"seed-{s:06d}",
            messages=(Message(role="user", content=f"What about the number {s}?"),),
            answer=f"Answer {c} about {s}. " + "More words follow here. " * 20,
            sample=c,
            job_id="job",
            teacher=f"teacher-{c}",
        )
        for s in range(rows)
        for c in range(2)
    ]
    for start in range(0, len(made), 2000):
        pairs.insert(database, made[start : start + 2000])
    database.close()


def run(people: int, seconds: float, pause_s: float, rows: int) -> dict[str, Any]:
    """The whole run; its findings."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        fill(home, rows)
        app = launch_app(home, OPEN)
        stop, ready = threading.Event(), threading.Barrier(people + 1)
        crew = [
            Labeller(
                f"labeller-{n:02d}", ("review", "prefer")[n % 2], app.url, pause_s, ready, stop
            )
            for n in range(people)
        ]
        for person in crew:
            app.call("users_add", name=person.name, role="reviewer", password=PASSWORD)
        threads = [threading.Thread(target=person.work) for person in crew]
        for thread in threads:
            thread.start()
        ready.wait()
        down_s = []
        for _ in range(2):
            time.sleep(seconds / 3)
            app.kill()
            began = time.monotonic()
            app = launch_app(home, OPEN, port=int(app.url.rpartition(":")[2]))
            down_s.append(round(time.monotonic() - began, 1))
        time.sleep(seconds / 3)
        stop.set()
        for thread in threads:
            thread.join()
        app.stop()
        found = check(home, crew)
    times = sorted(t for person in crew for t in person.times_ms)
    return {
        "people": people,
        "seconds": seconds,
        "rows": rows * 2,
        "acknowledged": sum(len(p.acknowledged) for p in crew),
        "requests": len(times),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(times[int(len(times) * 0.95)], 1),
        "max_ms": round(times[-1], 1),
        "down_s": down_s,
        "errors": dict(sum((p.errors for p in crew), Counter[str]())),
        "load": [round(x, 1) for x in os.getloadavg()],
        "cores": os.cpu_count(),
        **found,
    }


def check(home: Path, crew: list[Labeller]) -> dict[str, Any]:
    """What the store says about what the app acknowledged."""
    database = Database(home / "workspaces" / WORKSPACE / "studio.duckdb")
    stored = database.rows(
        "SELECT user_name, id, pair_id AS item FROM decisions"
        " UNION ALL SELECT user_name, id, task_id FROM votes"
    )
    there = Counter((r["user_name"], r["id"]) for r in stored)
    wanted = {(p.name, i) for p in crew for i in p.acknowledged}
    sent = {(p.name, i) for p in crew for i in p.sent}
    records_twice = database.value(
        "SELECT count(*) FROM (SELECT pair_id FROM decisions GROUP BY 1 HAVING count(*) > 1)"
    )
    couples_twice = database.value(
        "SELECT count(*) FROM (SELECT first_id, second_id FROM couple_votes"
        " GROUP BY ALL HAVING count(*) > 1)"
    )
    out_of_step = database.value(
        "SELECT count(*) FROM pairs p LEFT JOIN decisions_in_force f ON f.pair_id = p.id"
        " WHERE (p.status = 'pending') <> (f.kind IS NULL)"
    )
    database.close()
    return {
        "lost": len([key for key in wanted if there[key] == 0]),
        "doubled": len([key for key, count in there.items() if count > 1]),
        "never_sent": len(set(there) - sent),
        "records_done_twice": records_twice,
        "couples_done_twice": couples_twice,
        "out_of_step": out_of_step,
    }


def main() -> int:
    """Run, print, and say by the exit code whether the promises held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="300 is the long run")
    parser.add_argument("--pause-s", type=float, default=1.0, help="mean time between decisions")
    parser.add_argument("--rows", type=int, default=10_000, help="prompts, two answers each")
    options = parser.parse_args()
    found = run(options.people, options.seconds, options.pause_s, options.rows)
    faults = ("lost", "doubled", "never_sent", "records_done_twice", "couples_done_twice")
    found["missed"] = [name for name in (*faults, "out_of_step") if found[name]]
    if found["p95_ms"] >= LIMIT_P95_MS:
        found["missed"].append("p95_ms")
    print(json.dumps(found, indent=None if options.json else 2))
    return 1 if found["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
