"""Two people in two browsers: never the same record at once; log-in, guidelines, log-out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.bench_data import make_pairs, make_workspace

if TYPE_CHECKING:
    from tests.conftest import StartApp

pytestmark = pytest.mark.browser
WORDS = "correct horse battery"
REVIEW = "#review-bench .ds-prompt"
PREFER = "#prefer-bench .ds-prompt"
GUIDELINES = "# Be strict\n<img src=x onerror=window.pwned=1>"


@pytest.mark.slow
def test_two_people_share_a_workspace(
    chromium: Browser, start_app: StartApp, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    workspace = make_workspace(home, make_pairs(44, candidates=2))
    app = start_app(home, {"DISTILL_STUDIO_PASSWORD": "the studio's own"})
    for name in ("ann", "bob"):
        app.call("users_add", name=name, role="reviewer", password=WORDS)
    app.call("labelling_save_guidelines", workspace=workspace, text=GUIDELINES)

    def enter(name: str) -> Page:
        page = chromium.new_context(base_url=app.url).new_page()
        page.set_default_timeout(120_000)
        page.goto(f"/?tab=review&workspace={workspace}")
        page.locator("#user").fill(name)
        page.locator("#password").fill(WORDS)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(REVIEW)).to_be_visible()
        expect(page.locator("#ds-who")).to_contain_text(name)
        return page

    pages = {name: enter(name) for name in ("ann", "bob")}
    seen: dict[str, list[str]] = {"ann": [], "bob": []}
    for key in "aaras1aaaaaaaaaaaaaaaaaaaaaa":  # past the first twenty: a second batch each
        for name, page in pages.items():
            expect(page.locator(REVIEW)).to_be_visible()  # the second batch has come, too
            answer = page.locator("#review-bench .ds-record > .ds-text").inner_text()
            if answer not in seen[name][-1:]:
                seen[name].append(answer)
            page.keyboard.press(key)
    assert len(seen["ann"]) > 20
    assert not set(seen["ann"]) & set(seen["bob"])
    for name, page in pages.items():
        expect(page.locator("#review-bench .ds-save")).to_have_text("Saved")
        guide = page.locator("#review-bench .ds-guide")
        expect(guide.get_by_role("heading", name="Be strict")).to_be_visible()
        page.keyboard.press("g")
        expect(guide.get_by_role("heading", name="Be strict")).to_be_hidden()
        page.get_by_role("tab", name="Prefer").click()
        expect(page.locator(PREFER)).to_be_visible()
        expect(page.locator("#prefer-bench .ds-guide h1")).to_be_hidden()  # remembered
        seen[name] = []
        for _ in range(8):
            expect(page.locator(PREFER)).to_be_visible()
            seen[name].append(page.locator(PREFER).inner_text())
            page.keyboard.press("1")
        assert page.evaluate("window.pwned") is None
    assert not set(seen["ann"]) & set(seen["bob"])
    ann = pages["ann"]
    expect(ann.locator("#prefer-bench .ds-save")).to_have_text("Saved")
    ann.get_by_role("button", name="Log out").click()
    expect(ann.get_by_role("button", name="Log in")).to_be_visible()
    for page in pages.values():
        page.context.close()
