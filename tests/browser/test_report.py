"""The dataset report on the Freeze tab: made when opened, saved as a file that stands alone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from distill_studio.core.records import Message, Pair
from tests.browser.bench_data import HOSTILE, make_workspace
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_it_opens_saves_and_reads_without_the_app(
    page: Page, running_app: RunningApp, tmp_path: Path
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    made = [
        Pair(
            seed_id=f"seed-{k}",
            messages=(Message(role="user", content=f"{HOSTILE} {k}"),),
            answer="Same.",
            topic=HOSTILE,
            teacher=HOSTILE,
            job_id="job",
        )
        for k in range(3)
    ]
    workspace = make_workspace(running_app.home, made)
    page.goto(f"/?tab=freeze&workspace={workspace}")
    page.locator("#freeze-report-box > button").first.click()
    expect(page.locator("#freeze-report .lead")).to_contain_text("3 of 3 rows stay (100%)")
    expect(page.locator("#freeze-report")).to_contain_text("Curation was never applied")
    page.locator("button#freeze-report-html").click()
    with page.expect_download() as loaded:
        page.locator("#freeze-report-link a").click()
    file = tmp_path / "report.html"
    loaded.value.save_as(file)

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    expect(page.locator(".lead")).to_contain_text("3 of 3 rows stay (100%)")
    assert asked == [file.as_uri()]
    assert page.evaluate("window.pwned") is None
    assert errors == []
