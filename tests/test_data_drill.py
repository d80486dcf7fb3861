"""The data drill: people label through the API while the app is killed at random and its data
folder wiped each time. Nothing that was confirmed is lost once whoever made it comes back; without
that, nothing older than 30 seconds.

    python -m pytest -m slow tests/test_data_drill.py -s
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import RunningApp
from tests.fake_hub import FakeHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
PROMISE_S = 30.0
LIMIT_S = 240.0
_HTTP = httpx.Client(timeout=120, trust_env=False)


@dataclass
class Labeller:
    """A client that keeps decisions as the browser does: unsent, then until the backup has them."""

    decisions: list[dict[str, Any]]
    unsent: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: dict[str, tuple[dict[str, Any], str, int]] = field(default_factory=dict)
    confirmed_at: dict[str, float] = field(default_factory=dict)

    def work(self, app: RunningApp, pace_s: float) -> bool:
        """Decide and send until the app dies (False) or there is nothing left (True)."""
        while self.decisions or self.unsent:
            for decision in self.decisions[:3]:
                self.unsent[decision["id"]] = decision
            del self.decisions[:3]
            if not self.send(app):
                return False
            time.sleep(pace_s)
        return True

    def send(self, app: RunningApp) -> bool:
        batch = list(self.unsent.values())[:200]
        try:
            answer = post(app, "review_decide", decisions=batch)
        except (httpx.HTTPError, OSError):
            return False
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert said["refused"] == []
        point = said["backup"]
        for i in said["stored"]:
            self.confirmed_at.setdefault(i, time.monotonic())
            self.held[i] = (self.unsent.pop(i), point["life"], point["now"])
        self.settle(point)
        return True

    def settle(self, point: dict[str, Any]) -> None:
        for i, (decision, life, now) in list(self.held.items()):
            if life != point["life"]:
                self.unsent[i] = decision
            elif now > point["covered"]:
                continue
            del self.held[i]


def tell(text: str) -> None:
    """A line of the drill's record; seen with `-s`."""
    sys.stderr.write(f"{text}\n")


def until(condition: Any, what: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    pytest.fail(f"not within {LIMIT_S} s: {what}")


def import_pairs(app: RunningApp, folder: Path, count: int) -> list[str]:
    file = folder / "pairs.jsonl"
    rows = [{"prompt": f"What is {n} + 1?", "completion": f"It is {n + 1}."} for n in range(count)]
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    answer = httpx.post(
        f"{app.url}/api/uploads?name=pairs.jsonl",
        content=file.read_bytes(),
        headers={"Authorization": f"Bearer {app.server_file['token']}"},
        timeout=60,
        trust_env=False,
    )
    app.call("seeds_import_file", upload_id=answer.json()["upload_id"])
    ids = [row["id"] for row in app.call("review_page", query={"limit": 1000})]
    assert len(ids) == count
    return ids


def a_decision(rng: random.Random, number: int, pair_id: str) -> dict[str, Any]:
    kind = rng.choice(["accept", "reject", "edit"])
    more = {"reject": {"reason": "Wrong"}, "edit": {"answer": f"Edited «{number}»\n"}}
    return {"id": f"drill-{number:05d}", "pair_id": pair_id, "kind": kind, **more.get(kind, {})}


def post(app: RunningApp, operation: str, **arguments: Any) -> httpx.Response:
    """As `RunningApp.post`, without a new TLS context for each of many hundred calls."""
    return _HTTP.post(
        f"{app.url}/api/main/{operation}",
        json=arguments,
        headers={"Authorization": f"Bearer {app.server_file['token']}"},
    )


def there(app: RunningApp, decisions: dict[str, dict[str, Any]]) -> set[str]:
    """Ids of the decisions that hold in the app."""
    rows = {row["id"]: row for row in app.call("review_page", query={"limit": 1000})}
    found = set()
    for i, decision in decisions.items():
        row = rows.get(decision["pair_id"])
        want = "rejected" if decision["kind"] == "reject" else "accepted"
        if row and row["status"] == want and row["edited_answer"] == decision.get("answer"):
            found.add(i)
    return found


def drill(
    start_app: Any,
    home: Path,
    env: dict[str, str],
    *,
    items: int,
    lives: tuple[float, ...],
    seed: int,
) -> None:
    rng = random.Random(seed)
    app = start_app(home, env)
    pair_ids = import_pairs(app, home.parent, items)
    app.call("backup_now")
    until(lambda: _has_copy(app, items), "a whole copy")
    made = [a_decision(rng, n, i) for n, i in enumerate(pair_ids)]
    everything = {d["id"]: d for d in made}
    labeller = Labeller(list(made))
    pace_s = sum(lives) / (items / 3) * 0.9
    for life_s in lives:
        killed_at: list[float] = []

        def kill(victim: RunningApp = app, at: list[float] = killed_at) -> None:
            at.append(time.monotonic())
            victim.kill()

        timer = threading.Timer(life_s * rng.uniform(0.8, 1.2), kill)
        timer.start()
        labeller.work(app, pace_s)
        timer.join()
        app.process.wait(timeout=60)
        confirmed = dict(labeller.confirmed_at)
        old = {i for i, at in confirmed.items() if at <= killed_at[0] - PROMISE_S}
        shutil.rmtree(home)
        app = start_app(home, env)
        kept = there(app, everything)
        tell(
            f"killed with {len(confirmed)} confirmed, {len(old)} older than {PROMISE_S:.0f} s;"
            f" {len(confirmed.keys() & kept)} came back without the client,"
            f" {len(labeller.held)} it still keeps"
        )
        assert old <= kept, f"older than {PROMISE_S} s and lost: {sorted(old - kept)[:5]}"
        assert confirmed.keys() <= kept | labeller.held.keys() | labeller.unsent.keys()
        for i in confirmed.keys() - kept:  # made anew when the client sends it again
            del labeller.confirmed_at[i]
        labeller.settle(app.call("backup_point"))
        while labeller.unsent:
            assert labeller.send(app)
        assert confirmed.keys() <= there(app, everything)
    assert labeller.work(app, 0.0)
    assert there(app, everything) == set(everything)
    for i, decision in everything.items():  # once each, under its own id
        history = post(app, "review_history", pair_id=decision["pair_id"]).json()
        assert [entry["id"] for entry in history] == [i]
    until(lambda: (labeller.settle(app.call("backup_point")), not labeller.held)[1], "all covered")
    job = app.call("backup_drill")
    until(
        lambda: app.call("jobs_get", job_id=job["id"])["state"] in ("done", "failed"), "the drill"
    )
    found = app.call("backup_last_drill")
    tell(
        f"drill: {found['files']} files, {found['parts']} parts in {found['seconds']} s,"
        f" missing {found['missing']}, problems {found['problems']}"
    )
    assert found["missing"] == 0
    assert found["problems"] == []


def _has_copy(app: RunningApp, pairs: int) -> bool:
    """True once a whole copy has the imported pairs, as a drill would find."""
    job = app.call("backup_drill")
    until(
        lambda: app.call("jobs_get", job_id=job["id"])["state"] in ("done", "failed"), "the drill"
    )
    found = app.call("backup_last_drill")
    if found is None:
        return False
    return any(r["table"] == "pairs" and r["back"] == pairs for r in found["rows"])


def test_labelling_while_the_disk_goes_again_and_again_with_a_folder(start_app, tmp_path: Path):
    env = {
        "DISTILL_STUDIO_BACKUP": str(tmp_path / "backup"),
        "DISTILL_STUDIO_BACKUP_WHOLE_EVERY_S": "20",
    }
    drill(start_app, tmp_path / "home", env, items=500, lives=(25, 6, 40, 12), seed=1)


def test_labelling_while_the_disk_goes_again_and_again_with_the_hub(start_app, tmp_path: Path):
    hub = FakeHub()
    try:
        env = hub.environment(hub.user("ann")) | {
            "DISTILL_STUDIO_BACKUP": "hf://datasets/ann/backup",
            "DISTILL_STUDIO_BACKUP_WHOLE_EVERY_S": "40",
        }
        drill(start_app, tmp_path / "home", env, items=180, lives=(45, 20), seed=2)
        assert hub.repo("ann/backup").private
        assert hub.unknown == []
    finally:
        hub.close()
