"""The page around the tabs: navigation, workspaces, nothing asked of strangers, two browsers."""

import re
from urllib.parse import urlsplit

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, expect

from distill_studio.ui.tabs import TABS

pytestmark = pytest.mark.browser


def tab(page: Page, word: str):
    return page.locator(f"#ds-tab-{word}-button")


def open_home(page: Page) -> None:
    page.goto("/")
    page.wait_for_function("window.dsReady")  # from now on the address follows


def test_every_tab_opens_without_an_error_or_an_outside_request(page, app_url):
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: errors.append(message.text) if message.type == "error" else None,
    )
    open_home(page)
    for word in [*TABS][1:]:
        tab(page, word).click()
        expect(tab(page, word)).to_have_attribute("aria-selected", "true")
        expect(page).to_have_url(re.compile(f"tab={word}"))
        page.wait_for_timeout(700)  # for errors that come late
    assert page.locator("[data-testid=toast-body]").count() == 0
    assert errors == []
    assert hosts - {""} == {urlsplit(app_url).netloc}


def test_an_address_opens_its_tab_and_workspace(page, running_app):
    running_app.call("seeds_page")
    is_held, held = True, []
    page.route(
        "**/gradio_api/run/**",
        lambda route: held.append(route) if is_held else route.continue_(),
    )
    page.goto("/?tab=freeze&workspace=main", wait_until="commit")
    arriving = page.locator("html.ds-arriving")
    expect(arriving).to_have_count(1)  # what is there at first is another page's: it is dimmed
    is_held = False
    for route in held:
        route.continue_()
    expect(arriving).to_have_count(0)
    expect(tab(page, "freeze")).to_have_attribute("aria-selected", "true")
    page.wait_for_timeout(500)
    assert "tab=freeze" in page.url


def test_the_back_button_goes_to_the_tab_before(page, running_app):
    running_app.call("seeds_page")
    open_home(page)
    for word in ("seeds", "review"):
        tab(page, word).click()
        page.wait_for_url(f"**tab={word}**")
    for back, word in (("go_back", "seeds"), ("go_back", "home"), ("go_forward", "seeds")):
        getattr(page, back)()
        expect(tab(page, word)).to_have_attribute("aria-selected", "true")
        assert f"tab={word}" in page.url or word == "home"
    page.evaluate("history.back(); setTimeout(() => history.forward(), 5)")  # faster than tabs open
    page.wait_for_timeout(1500)  # what opens late may not lead elsewhere
    expect(tab(page, "seeds")).to_have_attribute("aria-selected", "true")
    expect(page).to_have_url(re.compile("tab=seeds"))


@pytest.mark.slow
def test_a_workspace_is_made_and_moved_to_the_trash(page, running_app):
    open_home(page)
    page.locator("#ds-manage").click()
    page.locator("#ds-new-name input, #ds-new-name textarea").fill("Bad Name")
    page.locator("#ds-create").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("cannot name a workspace")
    page.locator("#ds-new-name input, #ds-new-name textarea").fill("shell-test")
    page.locator("#ds-create").click()
    expect(page.locator("#ds-workspace input")).to_have_value("shell-test")
    expect(page).to_have_url(re.compile("workspace=shell-test"))

    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#ds-delete").click()
    expect(page.locator("#ds-workspace input")).to_have_value("main")
    assert any((running_app.home / "trash").glob("shell-test-*/studio.duckdb"))


def test_every_operation_is_a_named_endpoint(running_app):
    client = Client(running_app.url, verbose=False)
    report = client.predict("main", {"text": "From a client", "topic": "t"}, api_name="/seeds_add")
    assert report
    found = client.predict("main", {"search": "From a client"}, api_name="/seeds_page")
    assert [seed["topic"] for seed in found] == ["t"]


@pytest.mark.slow
def test_two_browsers_see_the_same(page: Page, chromium: Browser, app_url, running_app):
    other_context = chromium.new_context(base_url=app_url)
    other_context.set_default_timeout(120_000)
    other = other_context.new_page()
    try:
        for each in (page, other):
            each.goto("/?tab=home")
            expect(each.locator("#home-flow .ds-stage").first).to_be_visible()
        running_app.call("seeds_add", text="Seen by both browsers?")
        for each in (page, other):
            tab(each, "seeds").click()
            expect(each.locator("body")).to_contain_text("Seen by both browsers?")
    finally:
        other_context.close()
