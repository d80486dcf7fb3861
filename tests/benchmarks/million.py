"""A snapshot of a million rows: frozen, and a training started on it, by the real app.

`python -m tests.benchmarks.million --json`

The app runs over a store of a million accepted pairs; it freezes them all, then trains the starter
model (LoRA, some updates of 4 rows of at most 256 tokens). Measured: the peak of resident memory of
the web process and of the worker (VmHWM, mapped files included), how long the freeze takes, and the
time from the wish to train to the first update, against what tokenising all rows would take.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from distill_studio.bootstrap import build_studio
from distill_studio.core.settings import Settings
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.data import encode_sft, iter_rows
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.teachers.models import resolve_model
from tests.conftest import RunningApp, launch_app

MOST_GIB = 4.0
UPDATES = 4
STUDENT = "smollm2-135m-instruct"
_PATIENCE_S = 3600.0


_ID = "format('{:08x}-0000-7000-8000-{:012x}', n, n)"


def fill(home: Path, rows: int) -> None:
    """A store of accepted pairs of random words, two to a seed; 30 to 110 words each."""
    chance = random.Random(7)
    words = [
        "".join(chance.choices("abcdefghijklmnoprstuvw", k=length % 8 + 2))
        for length in range(5000)
    ]

    def text(what: str, number: str, least: int, spread: int) -> str:
        length = f"({least} + hash('{what}', {number}) % {spread})::BIGINT"
        return f"""array_to_string(list_transform(range({length}),
            lambda k: $words[1 + (hash('{what}', {number}, k) % {len(words)})::INTEGER]), ' ')"""

    settings = Settings(home=home, port=0)
    studio = build_studio(settings, resume_jobs=False)
    try:
        db = studio.workspace(settings.workspace).db
        with db.write() as cursor:
            cursor.execute(
                f"""INSERT INTO pairs (id, seed_id, messages, prompt, answer, topic, source,
                    teacher, model, recipe, job_id, sample, finish_reason, content_hash, created_at,
                    status, decided_by)
                SELECT {_ID}, 'seed ' || n // 2,
                    '[{{"role": "user", "content": "' || prompt || '"}}]', prompt, answer, 'topic',
                    'file', 'teacher', 'm', 'import', 'job', n, 'stop', md5(n::VARCHAR),
                    TIMESTAMPTZ '2026-01-01' + to_seconds(n), 'accepted', 'owner'
                FROM (SELECT range AS n, {text("p", "range // 2", 8, 24)} AS prompt,
                    {text("a", "range", 20, 80)} AS answer FROM range({rows}))""",
                {"words": words},
            ).fetchall()
        db.checkpoint()
    finally:
        studio.close()


def peak_gib(pid: int) -> float:
    """Peak of resident memory of a process so far; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    line = next((x for x in text.splitlines() if x.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 2**20


def call(app: RunningApp, operation: str, **arguments: Any) -> Any:
    """An operation of the app, however long it takes."""
    answer = httpx.post(
        f"{app.url}/api/main/{operation}",
        json=arguments,
        headers={"Authorization": f"Bearer {app.server_file['token']}"},
        timeout=_PATIENCE_S,
        trust_env=False,
    )
    if answer.status_code != 200:
        raise SystemExit(f"{operation}: {answer.text[:500]}")
    return answer.json()


def tokenising_s(home: Path, cache: Path, sample: int, rows: int) -> float:
    """Seconds that tokenising all rows would take, from some of them."""
    chat = ChatTokenizer.load(resolve_model(STUDENT, cache))
    folder = home / "workspaces" / "main" / "snapshots" / "million"
    start = time.perf_counter()
    for row in iter_rows(folder, "train", sample):
        encode_sft(chat, row)
    return (time.perf_counter() - start) / sample * rows


def measure(home: Path, cache: Path, rows: int, dtype: str) -> dict[str, Any]:
    """Freeze and train in the running app."""
    app = launch_app(home, {"DISTILL_STUDIO_CACHE": str(cache)})
    try:
        start = time.perf_counter()
        snapshot = call(
            app, "freeze_create", name="million", format="prompt_completion", validation_share=0.01
        )
        freeze_s = time.perf_counter() - start
        after_freeze = peak_gib(app.process.pid)
        start = time.perf_counter()
        spec = {
            "snapshot": "million",
            "student": STUDENT,
            "name": "r",
            "max_steps": UPDATES,
            "eval_rows": 16,
            "eval_every": 100,
            "dtype": dtype,
        }
        call(app, "distill_start", spec=spec)
        folder = home / "workspaces" / "main" / "runs" / "r"
        found = follow(folder, start)
        return {
            "rows": rows,
            "dtype": dtype,
            "train_rows": snapshot["train_rows"],
            "freeze_s": freeze_s,
            "web_gib_after_freeze": after_freeze,
            "web_gib": peak_gib(app.process.pid),
            **found,
            "tokenising_all_s": tokenising_s(home, cache, 2000, rows),
            "load": os.getloadavg()[0],
        }
    finally:
        app.stop()


def follow(folder: Path, start: float) -> dict[str, Any]:
    """Until the run ends: the worker's peak, and when the first update was made."""
    worker, first_s = 0.0, 0.0
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        events, _ = read_events(folder / EVENTS_FILE)
        process = folder / "process.json"
        if process.exists():
            worker = max(worker, peak_gib(json.loads(process.read_text())["pid"]))
        if not first_s and any(e.kind == "step" for e in events):
            first_s = time.perf_counter() - start
        if events and events[-1].kind in ("done", "failed", "stopped"):
            if events[-1].kind != "done":
                raise SystemExit(str(events[-1]))
            return {"worker_gib": worker, "first_update_s": first_s}
        time.sleep(0.05)
    raise SystemExit("the training did not end")


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, help="keep the data folder here, or use it again")
    parser.add_argument("--cache", type=Path, help="of the starter model")
    parser.add_argument("--dtype", default="auto", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--json", action="store_true", help="only the figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = args.home or Path(name) / "home"
        if not (home / "workspaces").exists():
            fill(home, args.rows)
        found = measure(home, args.cache or Path(name) / "cache", args.rows, args.dtype)
    print(json.dumps(found, indent=None if args.json else 1))
    is_lean = max(found["web_gib"], found["worker_gib"]) < MOST_GIB
    return 0 if is_lean and found["first_update_s"] < found["tokenising_all_s"] else 1


if __name__ == "__main__":
    sys.exit(main())
