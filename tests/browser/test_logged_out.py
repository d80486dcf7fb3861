"""Pages whose log-in is gone: after the studio's first account, and after a log-out elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import enter

if TYPE_CHECKING:
    from tests.conftest import RunningApp, StartApp

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WORDS = "correct horse battery"
BAR = "#ds-logged-out"
BENCH = "#review-bench"


@pytest.fixture
def app(start_app: StartApp, tmp_path: Path) -> RunningApp:
    return start_app(tmp_path / "home")


@pytest.fixture
def window(chromium: Browser, app: RunningApp) -> Iterator[BrowserContext]:
    """A browser of one person: its pages share their log-in."""
    context = chromium.new_context(base_url=app.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    yield context
    context.close()


def log_in(page: Page, name: str = "ann") -> None:
    page.locator("#user").fill(name)
    page.locator("#password").fill(WORDS)
    page.get_by_role("button", name="Log in").click()


def log_out_elsewhere(window: BrowserContext) -> None:
    other = window.new_page()
    other.goto("/")
    other.get_by_role("button", name="Log out").click()
    expect(other.get_by_role("button", name="Log in")).to_be_visible()
    other.close()


def test_the_first_account_leads_through_the_log_in_back_to_its_tab(
    window: BrowserContext, app: RunningApp
) -> None:
    page = window.new_page()
    page.goto("/?tab=people&workspace=main")
    told = page.locator("#people-list")
    expect(told).to_contain_text("everybody has to log in, you included")  # before the click
    expect(page.locator("#people-role input")).to_have_value("Owner: everything")
    page.locator("#people-name").get_by_role("textbox").fill("ann")
    page.locator("#people-password input").fill(WORDS)
    page.locator("#people-add").click()

    expect(page.get_by_role("status")).to_contain_text("first account now")
    expect(page.locator("#user")).to_have_value("ann")
    expect(page.locator("#password")).to_be_focused()
    log_in(page)
    expect(page.locator("#people-me")).to_contain_text("You work here as ann, owner.")
    assert re.search(r"/\?tab=people&workspace=main$", page.url)
    expect(told).to_contain_text("may log in")

    page.locator("#people-name").get_by_role("textbox").fill("bob")
    page.locator("#people-password input").fill(WORDS)
    page.locator("#people-add").click()
    expect(told).to_contain_text("bob")
    page.locator("#people-chosen input").click()
    page.get_by_role("option", name="ann").click()
    expect(page.locator("#people-new-role input")).to_have_value("Owner: everything")
    expect(page.locator(BAR)).to_have_count(0)
    assert {a["name"]: a["role"] for a in app.call("users_page")} == {
        "ann": "owner",
        "bob": "reviewer",
    }


def test_a_page_that_was_open_when_others_began_to_log_in_says_so(
    window: BrowserContext, app: RunningApp
) -> None:
    page = window.new_page()
    page.goto("/")
    expect(page.locator("#home-flow .ds-stage").first).to_be_visible()
    app.call("users_add", name="ann", role="owner", password=WORDS)
    page.get_by_role("tab", name="Seeds").click()
    expect(page.locator(BAR)).to_contain_text("You are no longer logged in.")
    page.get_by_role("link", name="Log in again").click()
    log_in(page)
    expect(page.get_by_role("tab", name="Seeds")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#ds-who")).to_contain_text("ann")


def test_a_log_out_elsewhere_is_told_at_the_next_decision_which_is_sent_after_the_log_in(
    window: BrowserContext, app: RunningApp
) -> None:
    workspace = make_workspace(app.home, make_pairs(3))
    app.call("users_add", name="ann", role="owner", password=WORDS)
    page = window.new_page()
    page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
    page.goto(f"/?tab=review&workspace={workspace}")
    log_in(page)
    expect(page.locator(f"{BENCH} .ds-prompt")).to_be_visible()
    log_out_elsewhere(window)
    expect(page.locator(BAR)).to_have_count(0)

    page.keyboard.press("a")
    expect(page.locator(BAR)).to_contain_text("You are no longer logged in.")
    expect(page.locator(f"{BENCH} .ds-save")).to_contain_text("1 decision not saved yet")
    page.keyboard.press("a")
    expect(page.locator(BAR)).to_have_count(1)
    page.get_by_role("link", name="Log in again").click()
    log_in(page)
    expect(page.locator(f"{BENCH} .ds-save")).to_have_text("Saved")
    expect(page.locator(f"{BENCH} .ds-prompt")).to_contain_text("Question number 2?")
    rows = app.call("review_page", workspace=workspace, query={"limit": 10})
    assert sorted(row["status"] for row in rows) == ["accepted", "accepted", "pending"]


def test_a_log_in_in_another_tab_takes_the_bar_away_and_what_was_typed_stays(
    window: BrowserContext, app: RunningApp
) -> None:
    app.call("users_add", name="ann", role="owner", password=WORDS)
    page = window.new_page()
    page.goto("/?tab=people")
    log_in(page)
    text = page.locator("#people-guidelines textarea")
    expect(text).to_be_visible()
    enter(text, "# Be fair")
    expect(page.locator("#people-preview")).to_contain_text("Preview")
    expect(page.locator("#people-preview").get_by_role("heading", name="Be fair")).to_be_visible()
    log_out_elsewhere(window)
    page.locator("#people-publish").click()
    expect(page.locator(BAR)).to_be_visible()

    with window.expect_page() as opened:
        page.get_by_role("link", name="in another tab").click()
    log_in(opened.value)
    expect(opened.value.locator("#people-me")).to_contain_text("ann")
    page.bring_to_front()
    page.evaluate("window.dispatchEvent(new Event('focus'))")  # headless pages keep their focus
    expect(page.locator(BAR)).to_have_count(0)
    expect(text).to_have_value("# Be fair")
    page.locator("#people-publish").click()
    expect(page.locator("[data-testid=toast-body]").last).to_contain_text("Version 1")
    assert app.call("labelling_guidelines")["text"] == "# Be fair"


def test_others_see_no_workspaces_button_and_owners_one_line(
    window: BrowserContext, app: RunningApp
) -> None:
    for name, role in (("ann", "owner"), ("bob", "reviewer")):
        app.call("users_add", name=name, role=role, password=WORDS)
    page = window.new_page()
    page.goto("/")
    log_in(page, "bob")
    expect(page.locator("#ds-who")).to_contain_text("bob")
    expect(page.locator("#ds-manage")).to_be_hidden()
    page.get_by_role("button", name="Log out").click()
    log_in(page)
    page.locator("#ds-manage").click()
    expect(page.locator("#ds-delete")).to_be_visible()
    heights = [page.locator(f"#ds-{b}").bounding_box()["height"] for b in ("create", "delete")]
    assert heights[0] == heights[1]


def test_on_a_phone_guidelines_and_preview_stand_in_one_column(
    chromium: Browser, app: RunningApp
) -> None:
    context = chromium.new_context(base_url=app.url, viewport={"width": 390, "height": 844})
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto("/?tab=people")
    text, preview = page.locator("#people-guidelines"), page.locator("#people-preview")
    expect(text).to_be_visible()
    enter(text.locator("textarea"), "# Be fair")
    expect(preview.get_by_role("heading", name="Be fair")).to_be_visible()
    above, below = text.bounding_box(), preview.bounding_box()
    assert above["y"] + above["height"] <= below["y"]
    assert min(above["width"], below["width"]) > 300
    context.close()
