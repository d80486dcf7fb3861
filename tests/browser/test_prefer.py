"""The preference bench in Chromium: blind, stable, undone after a reload."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench_data import HOSTILE, make_pairs, make_workspace
from tests.browser.forms import await_filled

if TYPE_CHECKING:
    from tests.conftest import RunningApp

pytestmark = pytest.mark.browser
BENCH = "#prefer-bench"


def open_bench(page: Page, workspace: str) -> None:
    page.goto(f"/?tab=prefer&workspace={workspace}")
    expect(page.locator(f"{BENCH} .ds-prompt")).to_be_visible()


def shown(page: Page) -> tuple[str, str, str]:
    return tuple(
        page.locator(f"{BENCH} {part}").inner_text()
        for part in (".ds-prompt", ".ds-side:first-child .ds-text", ".ds-side:last-child .ds-text")
    )


def expect_saved(page: Page) -> None:
    expect(page.locator(f"{BENCH} .ds-save")).to_have_text("Saved")


def test_votes_are_blind_and_become_preferences(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(8, candidates=2))
    answers: list[str] = []
    page.on(
        "response", lambda r: answers.append(r.text()) if r.url.endswith("prefer_queue") else None
    )
    open_bench(page, workspace)
    page.keyboard.press("m")  # raw, so that the text is the answer's
    first = shown(page)
    assert "secret-teacher" not in page.content()
    assert not any("secret-teacher" in answer for answer in answers)
    open_bench(page, workspace)
    assert shown(page) == first  # the same comparison, the same sides
    page.keyboard.press("2")
    expect(page.locator(f"{BENCH} .ds-lastvote")).to_contain_text("secret-teacher-")
    page.keyboard.press("Shift+Digit1")
    page.keyboard.press("3")
    page.keyboard.press("4")
    page.keyboard.press("s")
    expect_saved(page)
    rows = running_app.call("prefer_page", workspace=workspace, query={})
    assert [(r["outcome"], r["strength"]) for r in rows] == [
        ("win", None),
        ("win", 3),
        ("tie", None),
        ("both_bad", None),
    ]
    pairs = {p["id"]: p for p in running_app.call("review_page", workspace=workspace, query={})}
    assert pairs[rows[0]["chosen_pair_id"]]["answer"] == first[2]


@pytest.mark.slow
def test_how_clearly_and_why_after_the_vote(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(3, candidates=2))
    open_bench(page, workspace)
    page.keyboard.press("d")
    assert page.locator(f"{BENCH} .ds-side del").count() == 1
    assert page.locator(f"{BENCH} .ds-side ins").count() == 1
    page.keyboard.press("1")
    told = page.locator(f"{BENCH} .ds-lastvote")
    told.get_by_role("button", name="slightly").click()
    expect(told.get_by_role("button", name="slightly")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("w")
    page.keyboard.press("4")
    expect(told).to_contain_text("Why: Clearer")
    expect_saved(page)
    rows = running_app.call("prefer_page", workspace=workspace, query={})
    assert [(r["outcome"], r["strength"]) for r in rows] == [("win", 1)]  # one vote, not three
    expect(page.locator(f"{BENCH} .ds-left")).to_have_text("2 to compare")

    page.keyboard.press("2")
    expect(told.get_by_role("button", name="Why?")).to_be_visible()  # not before who wrote which
    page.keyboard.press("w")
    page.keyboard.press("Control+z")  # with the reasons open: the digits vote again
    expect(page.locator(f"{BENCH} .ds-left")).to_have_text("2 to compare")
    page.keyboard.press("2")
    expect(page.locator(f"{BENCH} .ds-left")).to_have_text("1 to compare")
    page.keyboard.press("s")
    page.keyboard.press("k")
    page.keyboard.press("1")
    expect(told).to_contain_text("left was")
    page.keyboard.press("Control+z")  # back to a skip: who wrote which is not said above it
    expect(told.locator("span").first).to_have_text("")


@pytest.mark.slow
def test_undo_after_a_reload_brings_it_back(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(3, candidates=2))
    open_bench(page, workspace)
    page.keyboard.press("m")  # raw, also after the reload
    first = shown(page)
    page.keyboard.press("1")
    expect_saved(page)
    open_bench(page, workspace)
    assert shown(page)[0] != first[0]
    expect(page.locator(f"{BENCH} .ds-undo")).to_be_enabled()
    page.keyboard.press("Control+z")
    assert shown(page) == first
    expect_saved(page)
    assert running_app.call("prefer_count", workspace=workspace, query={}) == 0


@pytest.mark.slow
def test_votes_wait_for_the_server(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(12, candidates=2))
    page.on("dialog", lambda dialog: dialog.accept())
    open_bench(page, workspace)
    page.route("**/prefer_vote", lambda route: route.abort())
    for _ in range(10):
        page.keyboard.press("1")
    page.reload()
    expect(page.locator(f"{BENCH} .ds-save")).to_contain_text("10 votes not saved yet")
    page.unroute("**/prefer_vote")
    page.evaluate("window.dispatchEvent(new Event('online'))")  # do not wait for the next try
    expect_saved(page)
    assert running_app.call("prefer_count", workspace=workspace, query={}) == 10


def test_hostile_text_is_text(page: Page, running_app: RunningApp) -> None:
    made = make_pairs(1, candidates=2)
    made[0] = made[0].model_copy(update={"answer": HOSTILE})
    workspace = make_workspace(running_app.home, made)
    open_bench(page, workspace)
    expect(page.locator(f"{BENCH} .ds-sides:not(.ds-ranked)")).to_contain_text("${window.pwned=2}")
    assert page.evaluate("window.pwned") is None
    assert page.locator(f"{BENCH} img, {BENCH} #btn-accept").count() == 0


@pytest.mark.slow
def test_without_candidates_it_leads_to_generate(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(2))
    page.goto(f"/?tab=prefer&workspace={workspace}")
    expect(page.locator(f"{BENCH} .ds-empty")).to_contain_text("No answers with two candidates yet")
    page.get_by_role("button", name="Generate best of n").click()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")


@pytest.mark.slow
def test_the_order_is_chosen_and_remembered(page: Page, running_app: RunningApp) -> None:
    """What is at hand comes first, the rest of the batch is made in the new order."""
    workspace = make_workspace(running_app.home, make_pairs(200, candidates=2))
    open_bench(page, workspace)
    await_filled(page, "prefer", workspace)
    for _ in range(30):
        page.keyboard.press("3")
    expect_saved(page)
    page.locator("#prefer-order input").click()
    page.get_by_role("option", name="At random").click()
    expect(page.locator(f"{BENCH} .ds-pace")).to_contain_text("new order after ")
    with page.expect_request("**/prefer_queue") as asked:
        page.reload()
    assert asked.value.post_data_json["order"] == "random"
    expect(page.locator("#prefer-order input")).to_have_value("At random")
    expect(page.locator(f"{BENCH} .ds-prompt")).to_be_visible()
    more = running_app.call("prefer_queue", workspace=workspace, order="random", limit=120)
    numbers = [int(n) for n in re.findall(r"Question number (\d+)", str(more))]
    assert max(numbers) >= 150  # the oldest alone end below
