"""Starting the demo from Home: its workspace can be opened at once, and it can be stopped."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_started_demo_can_be_entered_and_stopped(chromium, start_app, tmp_path) -> None:
    app = start_app(tmp_path / "home")
    page = chromium.new_page(base_url=app.url)
    page.set_default_timeout(120_000)
    page.goto("/")
    expect(page.locator("#home-demo-stop")).to_be_hidden()
    page.locator("#home-demo-start").click()
    expect(page.locator("#home-demo-stop")).to_be_visible()
    expect(page.locator("#ds-workspace input")).to_have_value("main")
    page.locator("#ds-workspace input").click()
    expect(page.get_by_role("option", name="demo", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#home-demo-stop").click()
    resume = page.locator("#home-demo-start")
    expect(resume).to_have_text("Resume the demo", timeout=240_000)  # once the step in hand ends
    expect(page.locator("#home-demo-stop")).to_be_hidden()
    page.locator("#home-demo-enter").click()
    expect(page.locator("#ds-workspace input")).to_have_value("demo")
    expect(page.locator("#home-jobs")).to_contain_text("Demo: from prompts to a student")
    expect(page.locator("#home-demo-enter")).to_be_hidden()
    page.close()
