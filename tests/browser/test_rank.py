"""Ranking three and more answers by keys in Chromium: one act, one undo, nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench_data import HOSTILE, make_pairs, make_workspace
from tests.browser.forms import await_filled
from tests.browser.test_prefer import BENCH, expect_saved, open_bench

if TYPE_CHECKING:
    from tests.conftest import RunningApp

pytestmark = pytest.mark.browser


def open_rankings(page: Page, workspace: str) -> None:
    open_bench(page, workspace)
    await_filled(page, "prefer", workspace)
    page.locator("#prefer-shows input").click()
    page.get_by_role("option", name="Three or more, ranked").click()
    expect(page.locator(f"{BENCH} .ds-ranked .ds-side").first).to_be_visible()


def places(page: Page) -> list[str]:
    """What stands beside each answer: '' where it is not placed."""
    chips = page.locator(f"{BENCH} .ds-ranked .ds-side > button .ds-chip")
    return [chip.inner_text() if chip.is_visible() else "" for chip in chips.all()]


def texts(page: Page) -> list[str]:
    return page.locator(f"{BENCH} .ds-ranked .ds-text").all_inner_texts()


@pytest.mark.slow
def test_answers_are_ranked_by_keys_and_taken_back_as_one(
    page: Page, running_app: RunningApp
) -> None:
    workspace = make_workspace(running_app.home, make_pairs(3, candidates=4))
    open_rankings(page, workspace)
    assert "secret-teacher" not in page.content()
    page.keyboard.press("m")  # raw, so that the text is the answer's
    first = texts(page)
    for key in ("3", "1", "t", "4"):
        page.keyboard.press(key)
    assert places(page) == ["2nd, tied", "", "best", "2nd, tied"]
    page.keyboard.press("Backspace")
    assert places(page) == ["2nd", "", "best", ""]
    page.keyboard.press("t")
    page.keyboard.press("4")
    page.keyboard.press("Enter")  # the second one is last by itself
    expect(page.locator(f"{BENCH} .ds-lastvote")).to_contain_text("3 was secret-teacher-")
    expect_saved(page)
    rows = running_app.call("prefer_page", workspace=workspace, query={})
    assert sorted(r["outcome"] for r in rows) == ["tie"] + ["win"] * 5
    made = {p["id"]: p for p in running_app.call("review_page", workspace=workspace, query={})}
    won = [made[r["chosen_pair_id"]]["answer"] for r in rows if r["outcome"] == "win"]
    assert won.count(first[2]) == 3
    assert won.count(first[1]) == 0
    page.reload()  # the choice is remembered, and so is what may be undone
    expect(page.locator(f"{BENCH} .ds-undo")).to_be_enabled()
    expect(page.locator(f"{BENCH} .ds-left")).to_have_text("2 to rank")
    page.keyboard.press("Control+z")
    assert texts(page) == first
    assert places(page) == ["2nd, tied", "3rd", "best", "2nd, tied"]  # to be mended
    expect_saved(page)
    assert running_app.call("prefer_count", workspace=workspace, query={}) == 0
    page.keyboard.press("Escape")
    assert places(page) == [""] * 4
    page.keyboard.press("a")
    page.keyboard.press("b")
    page.keyboard.press("s")
    expect_saved(page)
    counts = [
        running_app.call("prefer_count", workspace=workspace, query={"outcome": outcome})
        for outcome in ("win", "tie", "both_bad")
    ]
    assert counts == [0, 6, 6]


@pytest.mark.slow
def test_rankings_wait_for_the_server_and_text_is_text(page: Page, running_app: RunningApp) -> None:
    made = make_pairs(5, candidates=3)
    made[0] = made[0].model_copy(update={"answer": HOSTILE})
    workspace = make_workspace(running_app.home, made)
    page.on("dialog", lambda dialog: dialog.accept())
    open_rankings(page, workspace)
    expect(page.locator(f"{BENCH} .ds-ranked")).to_contain_text("${window.pwned=2}")
    assert page.evaluate("window.pwned") is None
    page.route("**/prefer_vote", lambda route: route.abort())
    for _ in range(4):
        page.keyboard.press("2")
        page.keyboard.press("1")
        page.keyboard.press("Enter")
    page.reload()
    expect(page.locator(f"{BENCH} .ds-save")).to_contain_text("4 votes not saved yet")
    page.unroute("**/prefer_vote")
    page.evaluate("window.dispatchEvent(new Event('online'))")  # do not wait for the next try
    expect_saved(page)
    assert running_app.call("prefer_count", workspace=workspace, query={}) == 12
