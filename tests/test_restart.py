"""kill -9 of the app in the middle of work, and a restart: nothing lost, nothing doubled."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import RunningApp
from tests.stub_openai import Answer, StubServer, completion
from tests.tiny_model import build_tiny_model

PROMPTS, HALF = 60, 30
LIMIT_S = 240.0


def until(condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """Wait for something to become true; returns it."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"not within {limit_s} s: {what}")


def answer(body: dict[str, Any], delay_s: float) -> Answer:
    return Answer(completion(f"Answer to: {body['messages'][-1]['content']}"), delay_s=delay_s)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """Stalls after half of the prompts: a kill comes before the end, however late."""
    server = StubServer(lambda body: answer(body, 0.15 if len(server.requests) <= HALF else 110))
    yield server
    server.close()


def all_pairs(app: RunningApp) -> list[dict[str, Any]]:
    return app.call("review_page", query={"limit": 1000})


@pytest.mark.slow
def test_a_generation_survives_kill_9(start_app, stub, tmp_path: Path):
    home = tmp_path / "home"
    app = start_app(home)
    text = "\n".join(f"What is {n} times {n}?" for n in range(PROMPTS))
    app.call("seeds_add", text=text, one_per_line=True)
    teacher = {
        "name": "stub", "kind": "openai", "model": "stub-1", "base_url": stub.url,
        "concurrency": 3,
    }  # fmt: skip
    app.call("teachers_save", teacher=teacher)
    job_id = app.call("generate_start", wish={"teachers": ["stub"]})["id"]
    until(lambda: len(all_pairs(app)) >= 10, "the first answers")
    accepted = [pair["id"] for pair in all_pairs(app)[:8]]
    decisions = [
        {"id": f"decision-{n}", "pair_id": p, "kind": "accept"} for n, p in enumerate(accepted)
    ]
    stored = app.call("review_decide", decisions=decisions)["stored"]
    assert len(stored) == len(accepted)
    app.kill()
    assert len(stub.requests) < PROMPTS
    stub.behave = lambda body: answer(body, 0.15)

    again = start_app(home)
    before = {pair["id"]: pair for pair in all_pairs(again)}
    assert {i for i, pair in before.items() if pair["status"] == "accepted"} == set(accepted)
    done = until(
        lambda: (job := again.call("jobs_get", job_id=job_id))["state"] == "done" and job,
        "the generation resumes by itself and ends",
    )
    assert done["result"]
    pairs = all_pairs(again)
    assert Counter(pair["seed_id"] for pair in pairs).most_common(1)[0][1] == 1
    assert len(pairs) == PROMPTS
    assert set(before) <= {pair["id"] for pair in pairs}
    assert {p["id"] for p in pairs if p["status"] == "accepted"} == set(accepted)
    # Asked again is at most what was in flight or not yet committed (50 ms) at the kill.
    assert len(stub.requests) <= PROMPTS + 2 * teacher["concurrency"]
    # The browser, too, sends again what it does not know to be stored: nothing happens twice.
    again.call("review_decide", decisions=decisions)
    history = again.call("review_history", pair_id=accepted[0])
    assert [entry["kind"] for entry in history] == ["accept"]


@pytest.mark.slow
def test_a_training_survives_kill_9(start_app, tmp_path: Path):
    home = tmp_path / "home"
    student = build_tiny_model(tmp_path / "tiny")
    rows = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"say {n} sun", "completion": f"{n} moon sun moon"} for n in range(60)]
    rows.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    app = start_app(home, {"OMP_NUM_THREADS": "1"})
    upload_id = _upload(app, rows)
    app.call("seeds_import_file", upload_id=upload_id, mark_accepted=True)
    app.call("freeze_create", name="rows", validation_share=0.2)
    spec = {
        "snapshot": "rows", "student": str(student), "name": "run", "weights": "full",
        "max_steps": 800, "eval_every": 400, "save_every": 100, "max_length": 64, "dtype": "fp32",
    }  # fmt: skip
    job_id = app.call("distill_start", spec=spec)["job_id"]
    run_folder = home / "workspaces" / "main" / "runs" / "run"
    until(lambda: _steps(run_folder) and app.call("distill_get", name="run")["pid"], "a first step")
    pid = app.call("distill_get", name="run")["pid"]
    app.kill()
    child = psutil.Process(pid)
    assert child.is_running()
    steps_at_kill = len(_steps(run_folder))

    again = start_app(home, {"OMP_NUM_THREADS": "1"})
    run = until(
        lambda: (r := again.call("distill_get", name="run"))["state"] == "done" and r,
        "the training ends",
    )
    assert run["pid"] == pid  # the same child, not a second one
    assert again.call("jobs_get", job_id=job_id)["state"] == "done"
    steps = _steps(run_folder)
    assert steps_at_kill < len(steps)
    assert steps == list(range(1, 801)), "each update once"
    assert len(_events(run_folder, "started")) == 1
    assert (run_folder / "model" / "config.json").is_file()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _upload(app: RunningApp, path: Path) -> str:
    import httpx

    answer = httpx.post(
        f"{app.url}/api/uploads", params={"name": path.name}, content=path.read_bytes(), timeout=60
    )
    return answer.raise_for_status().json()["upload_id"]


def _events(folder: Path, kind: str) -> list[dict[str, Any]]:
    path = folder / "events.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return [event for event in events if event["kind"] == kind]


def _steps(folder: Path) -> list[int]:
    return [event["step"] for event in _events(folder, "step")]
