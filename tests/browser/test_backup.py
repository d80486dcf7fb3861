"""Backups in Chromium: a decision is kept until the backup has it; Home tells and drills."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.bench_data import make_pairs, make_workspace
from tests.conftest import free_port, launch_app

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
SAVE = "#review-bench .ds-save"


def test_what_the_lost_disk_had_is_sent_again_by_the_browser(
    chromium: Browser, starter_cache: Path, tmp_path: Path
) -> None:
    home, port = tmp_path / "home", free_port()
    env = {
        "DISTILL_STUDIO_CACHE": str(starter_cache),
        "DISTILL_STUDIO_BACKUP": str(tmp_path / "backup"),
        "DISTILL_STUDIO_BACKUP_EVERY_S": "100000",  # after the first parts none comes
        "DISTILL_STUDIO_BACKUP_WHOLE_EVERY_S": "100000",
    }
    workspace = make_workspace(home, make_pairs(6))
    app = launch_app(home, env, port)
    page = chromium.new_context(base_url=app.url).new_page()
    page.set_default_timeout(120_000)
    try:
        deadline = time.monotonic() + 120
        while app.call("backup_state")["whole_at"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        page.goto(f"/?tab=review&workspace={workspace}")
        expect(page.locator("#review-bench .ds-prompt")).to_be_visible()
        page.keyboard.press("a")
        page.keyboard.press("a")
        page.keyboard.press("Control+z")
        expect(page.locator(SAVE)).to_have_text("Saved, backup pending")
        made = app.call("review_page", workspace=workspace, query={"limit": 10})
        assert [row["status"] for row in made][:2] == ["accepted", "pending"]
        page.goto("about:blank")  # or it would send them by itself as soon as the app is back
        app.kill()
        shutil.rmtree(home)

        app = launch_app(home, env, port)  # put back from the whole copy, which lacks them
        lost = app.call("review_page", workspace=workspace, query={"limit": 10})
        assert {row["status"] for row in lost} == {"pending"}
        page.goto(f"/?tab=review&workspace={workspace}")
        expect(page.locator("#review-bench .ds-prompt")).to_be_visible()
        deadline = time.monotonic() + 120
        while True:
            rows = app.call("review_page", workspace=workspace, query={"limit": 10})
            if rows[0]["status"] == "accepted":
                break
            assert time.monotonic() < deadline, rows
            time.sleep(0.3)
        assert rows[1]["status"] == "pending"  # accepted, and undone
        kinds = [
            entry["kind"]
            for row in rows[:2]
            for entry in app.call("review_history", workspace=workspace, pair_id=row["id"])
        ]
        assert kinds == ["accept", "accept", "undo"]

        page.goto(f"/?workspace={workspace}")
        expect(page.locator("#home-backup")).to_contain_text("Put back at the start")
        expect(page.locator("#home-backup")).to_contain_text(str(tmp_path / "backup"))
        app.call("backup_now")
        page.get_by_role("button", name="Try a restore").click()
        found = page.locator("#home-backup-found")
        expect(found).to_contain_text("came back in", timeout=120_000)
        expect(found.locator("table")).to_contain_text(workspace)
        page.screenshot(path=str(tmp_path / "home.png"), full_page=True)
    finally:
        page.context.close()
        app.stop()
