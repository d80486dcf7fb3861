"""The review bench in Chromium: keys, undo, the outbox, hostile text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench_data import HOSTILE, make_pairs, make_workspace

if TYPE_CHECKING:
    from tests.conftest import RunningApp

pytestmark = pytest.mark.browser
BENCH = "#review-bench"


def open_bench(page: Page, workspace: str) -> None:
    page.goto(f"/?tab=review&workspace={workspace}")
    expect(page.locator(f"{BENCH} .ds-prompt")).to_be_visible(timeout=20_000)


def prompt(page: Page) -> str:
    return page.locator(f"{BENCH} .ds-prompt").inner_text()


def expect_saved(page: Page) -> None:
    expect(page.locator(f"{BENCH} .ds-save")).to_have_text("Saved", timeout=20_000)


def states(app: RunningApp, workspace: str) -> list[dict[str, object]]:
    return app.call("review_page", workspace=workspace, query={"limit": 1000})


def decisions_of(app: RunningApp, workspace: str) -> int:
    """How many decisions the store holds, skips and undos included."""
    rows = states(app, workspace)
    return sum(
        len(app.call("review_history", workspace=workspace, pair_id=row["id"])) for row in rows
    )


def test_keys_decide_edit_and_undo(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(6))
    open_bench(page, workspace)
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("2")
    page.keyboard.press("e")
    page.locator(f"{BENCH} textarea").fill("My own words: a r e s j k 1 2")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("s")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    assert prompt(page) == "Question number 5?"
    page.keyboard.press("Control+z")
    assert prompt(page) == "Question number 4?"
    expect_saved(page)
    rows = states(running_app, workspace)
    assert [r["status"] for r in rows] == [
        "accepted",
        "rejected",
        "accepted",
        "pending",
        "pending",
        "pending",
    ]
    assert rows[1]["reject_reason"] == "Does not do what was asked"
    assert rows[2]["edited_answer"] == "My own words: a r e s j k 1 2"
    expect(page.locator(f"{BENCH} .ds-left")).to_have_text("3 to review")


@pytest.mark.slow
def test_undo_reaches_back_across_a_reload(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(4))
    open_bench(page, workspace)
    page.keyboard.press("a")
    page.keyboard.press("a")
    expect_saved(page)
    open_bench(page, workspace)
    assert prompt(page) == "Question number 2?"
    expect(page.locator(f"{BENCH} .ds-undo")).to_be_enabled()
    page.keyboard.press("Control+z")
    assert prompt(page) == "Question number 1?"
    page.keyboard.press("Control+z")
    assert prompt(page) == "Question number 0?"
    expect_saved(page)
    assert {r["status"] for r in states(running_app, workspace)} == {"pending"}


def test_nothing_is_lost_or_doubled_without_the_server(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(70))
    page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
    open_bench(page, workspace)
    page.route("**/review_decide", lambda route: route.abort())
    for _ in range(30):
        page.keyboard.press("a")
    assert prompt(page) == "Question number 30?"
    save = page.locator(f"{BENCH} .ds-save")
    expect(save).to_contain_text("30 decisions not saved yet", timeout=10_000)
    page.reload()
    expect(save).to_contain_text("30 decisions not saved yet", timeout=20_000)
    assert prompt(page) == "Question number 30?"  # they count as decided
    page.keyboard.press("r")
    page.keyboard.press("1")
    page.unroute("**/review_decide")
    page.evaluate("window.dispatchEvent(new Event('online'))")  # do not wait for the next try
    expect_saved(page)
    rows = states(running_app, workspace)
    assert [r["status"] for r in rows[:31]] == ["accepted"] * 30 + ["rejected"]
    assert {r["status"] for r in rows[31:]} == {"pending"}
    assert decisions_of(running_app, workspace) == 31


def test_an_answer_lost_on_the_way_back_doubles_nothing(
    page: Page, running_app: RunningApp
) -> None:
    workspace = make_workspace(running_app.home, make_pairs(5))
    open_bench(page, workspace)
    lost = []

    def lose_the_first_answer(route):
        if not lost:
            lost.append(route.fetch())  # the server has stored it
            route.abort()
        else:
            route.continue_()

    page.route("**/review_decide", lose_the_first_answer)
    page.keyboard.press("a")
    page.keyboard.press("a")
    expect_saved(page)
    assert lost
    assert decisions_of(running_app, workspace) == 2


@pytest.mark.slow
def test_what_is_refused_is_shown(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(2))
    open_bench(page, workspace)
    page.route(
        "**/review_decide",
        lambda route: route.continue_(
            post_data=route.request.post_data.replace('"accept"', '"approve"')
        ),
    )
    page.keyboard.press("a")
    refused = page.locator(f"{BENCH} .ds-refused")
    expect(refused).to_contain_text("1 decision could not be stored")
    refused.locator("summary").click()
    with page.expect_download() as download:
        refused.get_by_role("button", name="Download them").click()
    assert '"kind":"accept"' in download.value.path().read_text()
    expect_saved(page)


def test_keys_do_nothing_in_text_boxes_and_hidden_tabs(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(5))
    open_bench(page, workspace)
    page.locator("#review-search textarea, #review-search input").first.click()
    page.keyboard.type("arsejkm?123")
    page.keyboard.press("Control+z")
    page.locator("#review-search textarea, #review-search input").first.fill("nowhere")
    expect(page.locator(f"{BENCH} .ds-empty")).to_contain_text("Nothing matches")  # as typed
    page.locator("#review-search textarea, #review-search input").first.fill("")
    expect(page.locator(f"{BENCH} .ds-prompt")).to_be_visible()
    page.locator("#review-search textarea, #review-search input").first.blur()
    page.keyboard.press("e")
    page.keyboard.type("ares jkm?123 ")
    assert page.locator(f"{BENCH} textarea").input_value().startswith("ares jkm?123 Answer 0")
    page.keyboard.press("Escape")
    expect(page.locator(f"{BENCH} textarea")).to_be_hidden()
    page.get_by_role("tab", name="Home").click()
    expect(page.locator(BENCH)).to_be_hidden()
    for key in ("a", "s", "r", "Enter", "e", "Control+z"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert decisions_of(running_app, workspace) == 0


def test_hostile_text_is_text(page: Page, running_app: RunningApp) -> None:
    made = make_pairs(1, answer=HOSTILE, reasoning=HOSTILE, topic=HOSTILE, teacher=HOSTILE)
    workspace = make_workspace(running_app.home, made)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_bench(page, workspace)
    answer = page.locator(f"{BENCH} .ds-record > .ds-text")
    expect(answer).to_have_class("ds-text ds-rendered")
    expect(answer).to_contain_text("<img src=x onerror=window.pwned=1> ${window.pwned=2}")
    page.keyboard.press("m")
    expect(answer).to_have_text(HOSTILE)
    page.keyboard.press("e")
    page.keyboard.type("x ")
    page.wait_for_timeout(300)
    page.keyboard.press("Control+Enter")
    expect_saved(page)
    page.keyboard.press("k")
    expect(page.locator(f"{BENCH} .ds-diff ins").first).to_have_text("x ")
    assert page.evaluate("window.pwned") is None
    assert page.locator(f"{BENCH} img, {BENCH} #btn-accept, {BENCH} script").count() == 0
    assert [url for url in asked if "example.com" in url] == []


@pytest.mark.slow
def test_bulk_on_a_filtered_list_and_its_undo(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(9))
    open_bench(page, workspace)
    page.locator("#review-topic input").click()
    page.get_by_role("option", name="odd").click()
    expect(page.locator(f"{BENCH} .ds-prompt")).to_have_text("Question number 1?")
    page.locator("#review-bulk button").first.click()
    page.locator("#review-accept-all").click()
    expect(page.locator("#review-bulk-question")).to_contain_text("Accept 4 records?")
    page.locator("#review-bulk-confirm").click()
    expect(page.locator("#review-bulk-outcome")).to_contain_text("Accepted 4 records")
    expect(page.locator(f"{BENCH} .ds-empty")).to_be_visible()
    assert [r["status"] for r in states(running_app, workspace)].count("accepted") == 4
    page.locator("#review-bulk-undo").click()
    expect(page.locator(f"{BENCH} .ds-prompt")).to_have_text("Question number 1?")
    assert {r["status"] for r in states(running_app, workspace)} == {"pending"}
