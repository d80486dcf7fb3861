"""The panel "A vLLM server on this machine" in Chromium, with the real server behind it.

A server takes one to two minutes to come up, several on a busy machine: these waits are a person's
patience, not a measurement. Whatever ends the test, app and server end with it.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import enter
from tests.conftest import RunningApp, StartApp

VLLM = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"
START_LIMIT_MS = 600_000  # imports, weights, warm-up
WAIT_MS = 240_000  # what takes seconds when nobody else computes: the probe of the CPU, an answer
pytestmark = [pytest.mark.browser, pytest.mark.vllm, pytest.mark.timeout(1800)]


@pytest.fixture
def app(start_app: StartApp, tmp_path: Path) -> Iterator[RunningApp]:
    """An app over an empty folder; its server ends with it, after a failure or SIGTERM too."""
    if not VLLM.exists():
        pytest.skip("vLLM is not installed: make vllm")
    before = signal.signal(signal.SIGTERM, _interrupt)  # else pytest dies and cleans nothing up
    home = tmp_path / "home"
    try:
        app = start_app(home)
        yield app
        app.stop()
    finally:
        left = processes_in(home)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=30)
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def processes_in(folder: Path) -> list[psutil.Process]:
    """The processes whose working folder lies there: the server and its engine, not the app."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_a_real_server_from_start_to_stop(page: Page, app: RunningApp) -> None:
    app.call("seeds_add", text="Name one colour of the rainbow.", one_per_line=True)
    page.goto(f"{app.url}/?tab=generate")
    page.locator("#generate-server > button").click()
    enter(page.locator("#generate-server-name input, #generate-server-name textarea"), "Here")
    page.locator("#generate-server-max-length input").fill("1024")
    extra = page.locator("#generate-server-extra input, #generate-server-extra textarea")
    extra.fill("--max-num-seqs 16 --enforce-eager")
    page.locator("#generate-server-start").click()
    view = page.locator("#generate-server-view")
    expect(view.locator(".ds-chip")).to_have_text("starting", timeout=WAIT_MS)
    expect(view).to_contain_text("http://127.0.0.1:")
    expect(view.locator("pre")).to_contain_text("vllm", ignore_case=True, timeout=WAIT_MS)
    assert processes_in(app.home), "this test would not see a server that stays"
    expect(view.locator(".ds-chip")).to_have_text("ready", timeout=START_LIMIT_MS)
    teachers = page.locator("#generate-teachers")
    expect(teachers.get_by_label("Here")).to_be_checked(timeout=WAIT_MS)

    teachers.get_by_label("SmolLM2").uncheck()
    tokens = page.locator("#generate-max-tokens input")
    tokens.fill("16")
    tokens.blur()
    expect(page.locator("button#generate-run")).to_have_text("Run 1 request", timeout=WAIT_MS)
    page.locator("button#generate-run").click()
    live = page.locator("#generate-live")
    expect(live).to_contain_text("done", timeout=WAIT_MS)
    expect(page.locator("#generate-replies li")).to_have_count(1, timeout=WAIT_MS)
    asked = live.locator("table").last
    expect(asked.locator("tbody tr")).to_have_count(1)
    expect(asked).to_contain_text("Here")
    expect(view.locator("pre")).to_contain_text("POST /v1/chat/completions", timeout=WAIT_MS)

    page.locator("#generate-server-stop").click()
    expect(view.locator(".ds-chip")).to_have_text("stopped", timeout=WAIT_MS)
    (server,) = app.call("servers_page")
    assert (server["state"], server["pid"]) == ("stopped", None)
    assert not processes_in(app.home)
