"""The review bench in Chromium, as a person feels it: `python -m tests.benchmarks.review --json`.

A store with 100,000 pending rows, the real app as a process, keys pressed in a real browser.

- `painted`: key press (the event's own time stamp) to the frame that shows the next record.
- `saved`: key press to the page saying "Saved", which it does once the decision is on disk.
- `gradio`: a plain Gradio event that changes a text, click to the frame that shows it, in turns
  with the keys: what each key would cost without the bench's own queue.
- `mashed`: keys at 15 a second; `killed`: the same, the server killed with -9 in the middle and
  started again; `reloaded`: decisions made without a server, the page loaded again. Each counts
  what the store holds afterwards: every decision once.

Prints medians, 95th percentiles, what was lost or doubled and the load; 1 when a limit is missed.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
from playwright.sync_api import Page, sync_playwright

from distill_studio.core.ids import new_id
from distill_studio.core.records import Message, Pair
from distill_studio.store import pairs
from distill_studio.store.database import Database
from tests.benchmarks.store import Texts
from tests.conftest import CHROMIUM, CHROMIUM_ARGS, ROOT, app_environment, free_port

LIMITS_MS = {"painted_p50": 20.0, "painted_p95": 35.0, "saved_p95": 100.0}
BENCH = "#review-bench"
ROUND = 20  # keys in a row before the plain event has its turn
_CHUNK = 2000
WATCH = """() => {
  const bench = document.querySelector("#review-bench"), save = bench.querySelector(".ds-save");
  window.seen = { painted: [], saved: [], waiting: [] };
  document.addEventListener("keydown", (event) => {
    const pressed = event.timeStamp;
    window.seen.waiting.push(pressed);
    requestAnimationFrame(() => {
      const channel = new MessageChannel();  // runs after the frame was handed over
      channel.port1.onmessage = () => window.seen.painted.push(performance.now() - pressed);
      channel.port2.postMessage(0);
    });
  }, true);
  new MutationObserver(() => {
    if (save.dataset.state !== "saved") return;
    const now = performance.now();
    window.seen.saved.push(...window.seen.waiting.splice(0).map((pressed) => now - pressed));
  }).observe(save, { attributes: true, childList: true, characterData: true, subtree: true });
}"""
CLICKED = """() => new Promise((done) => {
  const shown = document.querySelector("#count textarea"), before = shown.value;
  const began = performance.now();
  document.querySelector("#next").click();
  (function look() {
    if (shown.value === before) { requestAnimationFrame(look); return; }
    done(performance.now() - began);
  })();
})"""


def fill(home: Path, rows: int) -> str:
    """A workspace with so many pending pairs of realistic length; returns its name."""
    texts = Texts(random.Random(5))
    db = Database(home / "workspaces" / "bench" / "studio.duckdb")
    for start in range(0, rows, _CHUNK):
        made = [
            Pair(
                seed_id=new_id(),
                messages=(Message(role="user", content=texts.text(40)),),
                answer=texts.text(130),
                teacher="teacher",
                topic=f"topic {n % 20}",
                job_id="job",
            )
            for n in range(start, min(start + _CHUNK, rows))
        ]
        pairs.insert(db, made)
    db.close()
    return "bench"


class App:
    """The app on one port, to be killed and started again under an open page."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.home / "app.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=ROOT,
                env=app_environment(self.home, self.port),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for _ in range(1200):
            try:
                if httpx.get(self.url, timeout=10, trust_env=False).status_code < 500:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError("the app did not start")

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)

    def call(self, operation: str, **arguments: Any) -> Any:
        """An operation of the workspace, by the token of the command line."""
        token = json.loads((self.home / "server.json").read_text(encoding="utf-8"))["token"]
        response = httpx.post(
            f"{self.url}/api/bench/{operation}",
            json=arguments,
            headers={"Authorization": f"Bearer {token}"},
            timeout=120,
            trust_env=False,
        )
        response.raise_for_status()
        return response.json()

    def accepted(self) -> int:
        """Rows accepted now."""
        return int(self.call("review_progress")["accepted"])

    def mine(self) -> list[str]:
        """Ids of the latest decisions in force."""
        return [entry["id"] for entry in self.call("review_recent", limit=200)]


@contextmanager
def plain_gradio() -> Iterator[str]:
    """The smallest Gradio page with a button and a text."""
    with gr.Blocks() as blocks:
        shown = gr.Textbox("0", elem_id="count")
        gr.Button("Next", elem_id="next").click(lambda n: str(int(n) + 1), shown, shown)
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, server_port=free_port())
    try:
        yield url
    finally:
        blocks.close()


def open_bench(page: Page, app: App) -> None:
    """The review tab with its first record."""
    page.goto(f"{app.url}/?tab=review&workspace=bench")
    page.locator(f"{BENCH} .ds-prompt").wait_for(timeout=60_000)
    page.wait_for_timeout(1500)


def wait_saved(page: Page, limit_s: float = 120.0) -> None:
    """Wait until the page says that everything is on disk."""
    page.locator(f"{BENCH} .ds-save[data-state=saved]").wait_for(timeout=limit_s * 1000)


def mash(page: Page, count: int, per_s: float = 15.0) -> None:
    """Press the accept key so many times at this pace."""
    began = time.perf_counter()
    for number in range(count):
        page.keyboard.press("a")
        wait_s = began + (number + 1) / per_s - time.perf_counter()
        page.wait_for_timeout(max(0.0, 1000 * wait_s))


def summary(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and max in milliseconds."""
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "max": round(ordered[-1], 1),
        "count": len(ordered),
    }


def latencies(page: Page, plain: Page, app: App, decisions: int) -> dict[str, Any]:
    """Keys at a quick reader's pace, in turns with plain Gradio events."""
    open_bench(page, app)
    page.evaluate(WATCH)
    clicks: list[float] = []
    for number in range(decisions):
        page.bring_to_front() if number % ROUND == 0 else None
        page.keyboard.press(("a", "a", "s")[number % 3])
        page.wait_for_timeout(150)
        if number % ROUND == ROUND - 1:
            plain.bring_to_front()
            clicks += [plain.evaluate(CLICKED) for _ in range(5)]
    page.bring_to_front()
    wait_saved(page)
    seen = page.evaluate("window.seen")
    return {
        "painted_ms": summary(seen["painted"]),
        "saved_ms": summary(seen["saved"]),
        "plain_gradio_event_ms": summary(clicks),
    }


def counted(page: Page, app: App, count: int, burst: Callable[[], None]) -> dict[str, int]:
    """What the store holds more after a burst of `count` accepts: lost or doubled ones."""
    before = app.accepted()
    burst()
    wait_saved(page)
    gained, ids = app.accepted() - before, app.mine()
    return {"pressed": count, "stored": gained, "doubled": len(ids) - len(set(ids))}


def crashes(page: Page, app: App) -> dict[str, dict[str, int]]:
    """Mashed keys, a server killed under them, a page reloaded with unsaved decisions."""
    open_bench(page, app)
    found = {"mashed": counted(page, app, 150, lambda: mash(page, 150))}

    def killed() -> None:
        mash(page, 40)
        app.kill()
        mash(page, 30)
        app.start()
        mash(page, 30)

    found["killed"] = counted(page, app, 100, killed)

    def reloaded() -> None:
        app.kill()
        mash(page, 20)
        app.start()
        open_bench(page, app)

    found["reloaded"] = counted(page, app, 20, reloaded)
    return found


def run(rows: int, decisions: int, folder: Path) -> dict[str, Any]:
    """Everything, as one JSON object."""
    home = folder / "home"
    if not (home / "workspaces").exists():
        fill(home, rows)
    app = App(home)
    app.start()
    loads = [os.getloadavg()[0]]
    try:
        with plain_gradio() as url, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
            plain, page = browser.new_page(), browser.new_page()
            page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
            plain.goto(url)
            plain.locator("#next").wait_for()
            result = latencies(page, plain, app, decisions)
            result |= crashes(page, app)
            browser.close()
    finally:
        app.kill()
    loads.append(os.getloadavg()[0])
    return {"rows": rows, **result, "load": [round(load, 1) for load in loads]}


def missed(result: dict[str, Any]) -> list[str]:
    """Names of the limits that were missed."""
    found = []
    for name, limit in LIMITS_MS.items():
        what, which = name.split("_")
        if result[f"{what}_ms"][which] > limit:
            found.append(name)
    for name in ("mashed", "killed", "reloaded"):
        burst = result[name]
        if burst["stored"] != burst["pressed"] or burst["doubled"]:
            found.append(name)
    return found


def main() -> int:
    """Print the figures; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="keep the store here, for another run")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(options.rows, options.decisions, options.folder or Path(folder))
    result["missed"] = missed(result)
    print(json.dumps(result, indent=None if options.json else 2))
    return 1 if result["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
