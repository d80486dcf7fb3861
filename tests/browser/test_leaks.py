"""Benchmark leaks in Chromium with the real embedding model: add, check, look, judge."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from distill_studio.core.records import Message, Pair
from tests.browser.bench_data import HOSTILE, make_workspace
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.models, pytest.mark.slow]

DUCKS = (
    "Janet keeps ducks that lay 16 eggs per day, she eats three of them for breakfast and sells"
    " the others at the market. How many eggs does she sell?"
)
REWORDED = DUCKS.replace("Janet", "Olga").replace("ducks", "geese").replace("16", "23")
ROWS = [
    (f"Solve this: {DUCKS}", "13"),
    (REWORDED.replace("three", "four").replace("sells", "brings").replace("day", "week"), "19"),
    (f"{HOSTILE} {HOSTILE}", "no"),
    ("Why do ships float?", "They push water aside."),
]


def test_add_check_and_judge(page: Page, running_app: RunningApp, tmp_path: Path) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    made = [
        Pair(
            seed_id=f"seed-{k}",
            messages=(Message(role="user", content=prompt),),
            answer=answer,
            job_id="job",
        )
        for k, (prompt, answer) in enumerate(ROWS)
    ]
    workspace = make_workspace(running_app.home, made)
    bench = tmp_path / "sums.jsonl"
    bench.write_text(
        "\n".join(json.dumps({"question": q}) for q in (DUCKS, f"{HOSTILE} {HOSTILE}"))
    )

    page.goto(f"/?tab=curate&workspace={workspace}")
    expect(page.locator("#curate-state")).to_contain_text("4 kept")
    page.locator("#curate-leaks-box > button").first.click()
    page.locator("#curate-leaks-add-box > button").first.click()
    page.locator("#curate-leaks-upload input[type=file]").set_input_files(bench)
    expect(page.locator("button#curate-leaks-add")).to_be_enabled()
    page.locator("button#curate-leaks-add").click()
    expect(page.locator("#curate-leaks-said")).to_contain_text("Added sums with 2 items")

    page.locator("button#curate-leaks-check").click()
    expect(page.locator("#curate-leaks-report")).to_contain_text("2 of 2 items are in the rows.")
    expect(page.locator("#curate-leaks-report mark").first).to_be_attached()
    expect(page.locator("#curate-apply")).to_have_text("Remove 2 of 4")

    page.locator("button#curate-leaks-find").click()
    expect(page.locator("#curate-leaks-position")).to_contain_text("1 of", timeout=120_000)
    expect(page.locator("#curate-leaks-pair")).to_contain_text("Olga")
    expect(page.locator("#curate-apply")).to_have_text("Remove 2 of 4")
    page.locator("button#curate-leaks-leak").click()
    expect(page.locator("#curate-apply")).to_have_text("Remove 3 of 4")
    page.locator("#curate-leaks-which").get_by_text("Judged").click()
    expect(page.locator("#curate-leaks-pair")).to_contain_text("said: a leak")

    page.locator("#curate-leaks-which").get_by_text("Word for word").click()
    expect(page.locator("#curate-leaks-position")).to_contain_text("1 of 2")
    expect(page.locator("#curate-leaks-pair mark").first).to_be_visible()
    expect(page.locator("#curate-leaks-pair")).not_to_contain_text("said: a leak")
    if "Solve this" not in page.locator("#curate-leaks-pair").inner_text():
        page.locator("button#curate-leaks-next").click()
    expect(page.locator("#curate-leaks-pair")).to_contain_text("Solve this")
    expect(page.locator("button#curate-leaks-clear")).to_be_disabled()
    page.locator("button#curate-leaks-not_leak").click()
    expect(page.locator("#curate-apply")).to_have_text("Remove 2 of 4")
    expect(page.locator("#curate-leaks-pair")).to_contain_text("called no leak")
    expect(page.locator("#curate-leaks-report")).to_contain_text("1 finds were called no leak.")
    page.locator("button#curate-leaks-clear").click()
    expect(page.locator("#curate-apply")).to_have_text("Remove 3 of 4")
    page.locator("button#curate-apply").click()
    expect(page.locator("#curate-state")).to_contain_text("3 filtered")
    expect(page.locator("#curate-report")).to_contain_text("benchmark leak")
    assert page.evaluate("window.pwned") is None
    assert errors == []
