"""Topics in Chromium with the real embedding model: find, draw, set aside, undo, rename, choose."""

import pytest
from playwright.sync_api import Locator, Page, expect

from distill_studio.core.records import Message, Pair
from tests.browser.bench_data import HOSTILE, make_workspace
from tests.browser.forms import enter
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.models, pytest.mark.slow]

THINGS = ("apple", "plum", "bread", "rice", "soup", "cake", "pasta", "bean", "lemon", "onion")
PROMPTS = [f"How do I cook {thing} for dinner with butter and salt?" for thing in THINGS]
PROMPTS += [f"What is {n} times {n + 3} plus {n * 2}? Solve the equation." for n in range(10, 20)]
PROMPTS += [f"Write a Python function that sorts a list of {thing} objects." for thing in THINGS]
PROMPTS += [HOSTILE]


def drag(page: Page, canvas: Locator, corners: list[tuple[float, float]]) -> None:
    """Press on the first corner (shares of the canvas), move along the others, let go."""
    box = canvas.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def test_find_draw_set_aside_undo_rename_and_choose(page: Page, running_app: RunningApp) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    made = [
        Pair(
            seed_id=f"seed-{k}",
            messages=(Message(role="user", content=prompt),),
            answer=f"This is answer number {k}, and it is long enough.",
            job_id="job",
        )
        for k, prompt in enumerate(PROMPTS)
    ]
    total = len(made)
    workspace = make_workspace(running_app.home, made)
    page.goto(f"/?tab=curate&workspace={workspace}")
    expect(page.locator("#curate-state")).to_contain_text(f"{total} kept")
    page.locator("#curate-topics-box > button").first.click()
    enter(page.locator("#curate-topics-count input"), "3")
    page.locator("button#curate-topics-find").click()
    topics = page.locator("#curate-topics-map .ds-map-list li")
    expect(topics).to_have_count(3, timeout=90_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(20):  # the job's last tick, and what follows from it, take their time
        asked.clear()
        page.wait_for_timeout(3000)
        if not asked:
            break
    assert asked == []  # a page at rest asks nothing

    canvas = page.locator("#curate-topics-map canvas")
    canvas.scroll_into_view_if_needed()
    around = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.05)]
    drag(page, canvas, around)  # the lasso, around everything
    area = page.locator("#curate-topics-map .ds-map-area")
    expect(area).to_contain_text(f"{total} rows inside the shape")
    area.get_by_text("Clear").click()
    page.get_by_role("button", name="Rectangle").click()
    drag(page, canvas, [(0.02, 0.02), (0.05, 0.06)])  # where nothing is
    expect(area).to_contain_text("0 rows inside the shape")
    expect(area.get_by_role("button", name="Set these aside")).to_be_disabled()
    area.get_by_text("Clear").click()

    size = int(topics.first.locator(".count").inner_text())
    topics.first.locator("input[type=checkbox]").check()
    area.get_by_role("button", name=f"Set these aside ({size} go)").click()
    expect(page.locator("#curate-state")).to_contain_text(f"{total - size} kept")
    page.locator("#curate-history-box > button").click()
    expect(page.locator("#curate-history tbody tr").first).to_contain_text(f"{size}in force")
    page.locator("button#curate-undo").click()
    expect(page.locator("#curate-state")).to_contain_text(f"{total} kept")

    topics.first.get_by_role("button", name="Rename").click()
    page.keyboard.type("<b>Mine</b>")
    page.keyboard.press("Enter")
    expect(topics.first.locator("label")).to_have_text("<b>Mine</b>")

    page.locator("#curate-choice-rows input").fill("6")
    page.locator("button#curate-choice-compare").click()
    rows = page.locator("#curate-choice-table tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("Facility location")
    page.locator("button#curate-choice-apply").click()
    expect(page.locator("#curate-state")).to_contain_text("6 kept")
    page.locator("button#curate-undo").click()
    expect(page.locator("#curate-state")).to_contain_text(f"{total} kept")
    assert errors == []
    assert page.evaluate("window.pwned") is None
