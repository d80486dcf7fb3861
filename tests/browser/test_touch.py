"""The benches on a phone: a touch screen of 390 by 844, no keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import await_filled

if TYPE_CHECKING:
    from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDE = "word " * 80 + "\n\n| a | b |\n|---|---|\n| " + "x" * 200 + " | y |\n\n```\n" + "z" * 300
LEAST_PX = 40  # the side of what a finger hits


@pytest.fixture
def phone(chromium: Browser, app_url: str) -> Iterator[Page]:
    context = chromium.new_context(
        base_url=app_url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    context.set_default_timeout(120_000)
    yield context.new_page()
    context.close()


def open_bench(page: Page, word: str, workspace: str) -> Locator:
    page.goto(f"/?tab={word}&workspace={workspace}")
    bench = page.locator(f"#{word}-bench")
    expect(bench.locator(".ds-prompt")).to_be_visible()
    return bench


def expect_no_sideways_scroll(page: Page) -> None:
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1] == 390


def expect_in_reach(page: Page, buttons: Locator) -> None:
    """Each one is on the screen, whole, and big enough; whatever the page is scrolled to."""
    for where in (0, 0.5, 1):
        page.evaluate("(share) => scrollTo(0, share * document.body.scrollHeight)", where)
        for button in buttons.all():
            if not button.is_visible():
                continue
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= LEAST_PX, button.inner_text()
            assert box["x"] >= 0, button.inner_text()
            assert box["x"] + box["width"] <= 390, button.inner_text()


def expect_saved(bench: Locator) -> None:
    expect(bench.locator(".ds-save")).to_have_text("Saved")


def test_review_by_touch(phone: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(6, answer=WIDE))
    bench = open_bench(phone, "review", workspace)
    expect_no_sideways_scroll(phone)
    expect_in_reach(phone, bench.locator(".ds-main-acts button"))
    bench.get_by_role("button", name="Accept").tap()
    bench.get_by_role("button", name="Reject", exact=True).tap()
    expect_in_reach(phone, bench.locator(".ds-reasons button.ds-act"))
    expect_no_sideways_scroll(phone)
    bench.locator(".ds-reasons button.ds-act").first.tap()
    bench.get_by_role("button", name="Edit").tap()
    bench.locator(".ds-editor textarea").first.fill("A shorter answer")
    bench.get_by_role("button", name="Save edit").tap()
    bench.get_by_role("button", name="Skip").tap()
    expect_saved(bench)
    progress = running_app.call("review_progress", workspace=workspace)
    decided = (progress["accepted"], progress["edited"], progress["rejected"])
    assert decided == (1, 1, 1)
    bench.get_by_role("button", name="Undo").tap()  # the skip
    bench.get_by_role("button", name="Undo").tap()  # the edit
    expect_saved(bench)
    assert running_app.call("review_progress", workspace=workspace)["edited"] == 0


def test_prefer_by_touch(phone: Page, running_app: RunningApp) -> None:
    made = [
        p.model_copy(update={"answer": f"{p.answer}\n\n{WIDE}"})
        for p in make_pairs(4, candidates=4)
    ]
    workspace = make_workspace(running_app.home, made)
    bench = open_bench(phone, "prefer", workspace)
    expect_no_sideways_scroll(phone)
    expect_in_reach(phone, bench.locator(".ds-main-acts button"))
    bench.get_by_role("button", name="Right is better").tap()
    bench.get_by_role("button", name="Tie", exact=True).tap()
    expect_saved(bench)
    assert running_app.call("prefer_count", workspace=workspace, query={}) == 2
    await_filled(phone, "prefer", workspace)
    phone.locator("#prefer-shows input").tap()
    phone.get_by_role("option", name="Three or more, ranked").tap()
    answers = bench.locator(".ds-ranked .ds-side > button")
    expect(answers.first).to_be_visible()
    expect_no_sideways_scroll(phone)
    expect_in_reach(phone, bench.locator(".ds-main-acts button"))
    answers.nth(2).tap()
    bench.get_by_role("button", name="Tie next").tap()
    answers.nth(0).tap()
    bench.get_by_role("button", name="Save ranking").tap()
    expect_saved(bench)
    assert running_app.call("prefer_count", workspace=workspace, query={}) == 8
    bench.get_by_role("button", name="Undo").tap()
    expect_saved(bench)
    assert running_app.call("prefer_count", workspace=workspace, query={}) == 2
