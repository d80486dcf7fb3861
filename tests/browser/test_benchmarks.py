"""Public benchmarks in Chromium: a task of one's own, a real model, the real harness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench_data import make_pairs, make_workspace
from tests.harness_tasks import skip_without_harness, write_choice

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
BOX = "#evaluate-bench"


def test_a_task_of_ones_own_is_added_run_and_shown(
    page: Page, running_app: RunningApp, tmp_path: Path
) -> None:
    skip_without_harness()
    workspace = make_workspace(running_app.home, make_pairs(1))
    files = write_choice(tmp_path / "mine")
    rows = files[1].read_text(encoding="utf-8")
    files[1].write_text(rows.replace("Tokyo", "<img src=x onerror=window.pwned=1>"))
    page.goto(f"/?tab=evaluate&workspace={workspace}")
    page.get_by_role("button", name="Public benchmarks").click()
    board = page.locator(f"{BOX}-board")
    expect(board).to_contain_text("Choose models and tasks")
    page.get_by_role("button", name="Add tasks of your own").click()
    page.locator(f"{BOX}-files input[type=file]").set_input_files(files)
    expect(page.locator(f"{BOX}-files")).to_contain_text("capital_choice")
    page.locator(f"{BOX}-add").click()
    expect(page.locator(f"{BOX}-added")).to_contain_text("Added: capital_choice")
    expect(page.locator(f"{BOX}-tasks")).to_contain_text("capital_choice")

    page.locator(f"{BOX}-run").click()
    expect(page.locator(f"{BOX}-jobs")).to_contain_text("on capital_choice")
    expect(board).to_contain_text("n = 10", timeout=600_000)
    models = board.locator("tbody tr")  # teacher and base, the same model
    expect(models).to_have_count(2, timeout=600_000)
    expect(board).to_contain_text("no difference shown from SmolLM2 135M (this machine)")
    details = page.locator(f"{BOX}-details")
    details.locator("summary").first.click()
    expect(details).to_contain_text("lm_eval 0.4.13")
    page.get_by_role("button", name="What the harness printed").click()
    expect(page.locator(f"{BOX}-log")).to_contain_text("loglikelihood")

    box = page.locator(f"{BOX}-tasks input")
    box.fill("humaneval")
    box.press("Enter")
    page.locator(f"{BOX}-run").click()
    toast = page.locator("[data-testid=toast-body]").first
    expect(toast).to_contain_text("suite scored by unit tests")
    page.reload()
    page.get_by_role("button", name="Public benchmarks").click()
    expect(board).to_contain_text("n = 10")
    assert page.evaluate("window.pwned") is None
