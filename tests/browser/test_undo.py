"""Undo in Chromium: what the page shows is what the store then holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.browser import test_prefer, test_review
from tests.browser.bench_data import make_pairs, make_workspace

if TYPE_CHECKING:
    from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PREFER, REVIEW = "#prefer-bench", "#review-bench"


def test_an_amended_vote_is_undone_to_the_plain_one(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(2, candidates=2))
    test_prefer.open_bench(page, workspace)
    page.keyboard.press("m")
    first = test_prefer.shown(page)
    page.keyboard.press("1")
    told = page.locator(f"{PREFER} .ds-lastvote")
    told.get_by_role("button", name="clearly").click()
    test_prefer.expect_saved(page)
    test_prefer.open_bench(page, workspace)
    expect(page.locator(f"{PREFER} .ds-undo")).to_be_enabled()
    page.keyboard.press("Control+z")
    assert test_prefer.shown(page) == first
    expect(page.locator(f"{PREFER} .ds-chip.good")).to_have_text("Your vote: Left")
    expect(page.locator(f"{PREFER} .ds-left")).to_have_text("1 to compare")
    test_prefer.expect_saved(page)
    rows = running_app.call("prefer_page", workspace=workspace, query={})
    assert [row["strength"] for row in rows] == [None]
    page.keyboard.press("Control+z")
    expect(page.locator(f"{PREFER} .ds-chip.good")).to_be_hidden()
    expect(page.locator(f"{PREFER} .ds-left")).to_have_text("2 to compare")
    test_prefer.expect_saved(page)
    assert running_app.call("prefer_count", workspace=workspace, query={}) == 0


def test_a_skipped_comparison_comes_again(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(2, candidates=2))
    test_prefer.open_bench(page, workspace)
    first = page.locator(f"{PREFER} .ds-prompt").inner_text()
    page.keyboard.press("s")
    expect(page.locator(f"{PREFER} .ds-left")).to_have_text("2 to compare")
    page.keyboard.press("1")
    test_prefer.expect_saved(page)
    expect(page.locator(f"{PREFER} .ds-empty")).to_contain_text("come back when you look again")
    page.wait_for_timeout(6000)  # the page asks for new ones meanwhile: the skipped one stays away
    expect(page.locator(f"{PREFER} .ds-empty")).to_be_visible()
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(f"{PREFER} .ds-prompt")).to_be_visible()
    assert page.locator(f"{PREFER} .ds-prompt").inner_text() == first


def test_an_older_decision_is_undone_to_what_held_before(
    page: Page, running_app: RunningApp
) -> None:
    workspace = make_workspace(running_app.home, make_pairs(2))
    test_review.open_bench(page, workspace)
    page.keyboard.press("r")
    page.keyboard.press("1")
    page.keyboard.press("k")
    page.keyboard.press("a")
    test_review.expect_saved(page)
    test_review.open_bench(page, workspace)
    expect(page.locator(f"{REVIEW} .ds-undo")).to_be_enabled()
    page.keyboard.press("Control+z")
    expect(page.locator(f"{REVIEW} .ds-prompt")).to_have_text("Question number 0?")
    expect(page.locator(f"{REVIEW} .ds-meta .ds-chip.bad")).to_contain_text("Rejected")
    test_review.expect_saved(page)
    assert test_review.states(running_app, workspace)[0]["status"] == "rejected"
    page.keyboard.press("Control+z")
    expect(page.locator(f"{REVIEW} .ds-meta .ds-chip.bad")).to_be_hidden()
    test_review.expect_saved(page)
    assert test_review.states(running_app, workspace)[0]["status"] == "pending"


def test_a_long_bulk_asks_before_it_goes_and_comes_again(
    page: Page, running_app: RunningApp
) -> None:
    workspace = make_workspace(running_app.home, make_pairs(25))
    test_review.open_bench(page, workspace)
    page.locator("#review-bulk button").first.click()
    page.locator("#review-accept-all").click()
    question = page.locator("#review-bulk-question")
    expect(question).to_contain_text("Accept 25 records?")
    expect(question.locator("tbody tr")).to_have_count(5)
    expect(question).to_contain_text("The first 5 of 25")
    page.locator("#review-bulk-confirm").click()
    expect(page.locator("#review-bulk-outcome")).to_contain_text("Accepted 25 records")

    def accepted() -> int:
        rows = test_review.states(running_app, workspace)
        return [row["status"] for row in rows].count("accepted")

    expect(page.locator(f"{REVIEW} .ds-undo")).to_be_enabled()
    asked: list[str] = []
    says = iter([False, True, True])

    def answer(dialog) -> None:
        asked.append(dialog.message)
        (dialog.accept if next(says) else dialog.dismiss)()

    page.on("dialog", answer)
    page.locator(f"{REVIEW} .ds-empty h3").click()  # out of the form
    page.keyboard.press("Control+z")
    assert asked == ["Take back 25 decisions of one bulk?"]
    assert accepted() == 25
    page.keyboard.press("Control+z")
    expect(page.locator(f"{REVIEW} .ds-prompt")).to_be_visible()
    assert accepted() == 0
    page.keyboard.press("Control+Shift+z")
    expect(page.locator(f"{REVIEW} .ds-empty")).to_be_visible()
    assert accepted() == 25
    assert asked[2] == "Do again 25 decisions of one bulk?"
