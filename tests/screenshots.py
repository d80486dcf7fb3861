"""The README's pictures, from the app as it runs.

`python -m tests.screenshots [HOME] [WORKSPACE] [PAGE ...]` serves the data folder HOME (default: a
new one in which the demo is run first) and takes each page, or those named, in light and dark into
`assets/screenshots/`.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.conftest import CHROMIUM, CHROMIUM_ARGS, RunningApp, launch_app

FOLDER = Path(__file__).parents[1] / "assets" / "screenshots"
SIZE = {"width": 1280, "height": 860}
WORDS = ("home", "seeds", "generate", "curate", "review", "prefer", "freeze", "distill", "evaluate")
# What a page is opened on, and what is then brought into view.
ON = {"distill": "&run=demo-logit", "evaluate": "&comparison={comparison}"}
IN_VIEW = {"distill": ".ds-run-figures", "evaluate": ".ev-pane"}
SETTLE_MS = 7_000  # counts and charts come after
_IS_FILLED = "() => window.dsReady && !/(^|\\n)Loading/.test(document.body.innerText)"


def run_demo(app: RunningApp) -> None:
    """Run the demo and wait for its end."""
    app.call("demo_start")
    while (job := app.call("demo_state")["job"])["state"] in ("queued", "running"):
        time.sleep(2)
    assert job["state"] == "done", job["error"]


def take(app: RunningApp, workspace: str, words: Sequence[str]) -> None:
    """The pages, light and dark."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    comparison = app.call("demo_state")["comparison_id"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
        for mode in ("light", "dark"):
            page = browser.new_page(viewport=SIZE)
            for word in words:
                opened = ON.get(word, "").format(comparison=comparison)
                page.goto(f"{app.url}/?tab={word}&workspace={workspace}&__theme={mode}{opened}")
                page.wait_for_function(_IS_FILLED, timeout=60_000)
                page.wait_for_timeout(SETTLE_MS)
                if word in IN_VIEW:
                    centre = "node => node.scrollIntoView({block: 'center'})"
                    page.locator(IN_VIEW[word]).first.evaluate(centre)
                page.screenshot(path=FOLDER / f"{word}-{mode}.png")
        browser.close()


def main() -> None:
    """See the module."""
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()) / "home"
    workspace = sys.argv[2] if len(sys.argv) > 2 else "demo"
    app = launch_app(home)
    try:
        if len(sys.argv) == 1:
            run_demo(app)
        take(app, workspace, sys.argv[3:] or WORDS)
    finally:
        app.stop()


if __name__ == "__main__":
    main()
