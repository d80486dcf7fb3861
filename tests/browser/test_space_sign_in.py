"""A Space in Chromium: signing in with Hugging Face at the Space's address, and both ways in from
inside the frame of huggingface.co, with third-party cookies blocked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from distill_studio.web.cookies import IN_FRAME
from tests.browser.forms import enter
from tests.conftest import CHROMIUM, CHROMIUM_ARGS, RunningApp, launch_app
from tests.fake_hub_login import SPACE_HOST, FakeHubLogin, Person
from tests.fake_space_proxy import HUB_HOST, FakeSpaceProxy
from tests.space import AUTHOR, space_environment

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WORDS = "the studio's own"
SPACE, HUB_PAGE = f"https://{SPACE_HOST}", f"https://{HUB_HOST}/spaces/{AUTHOR}/studio"


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHubLogin]:
    provider = FakeHubLogin()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def app(
    hub: FakeHubLogin, tmp_path_factory: pytest.TempPathFactory, starter_cache: Path
) -> Iterator[RunningApp]:
    env = space_environment(
        hub,
        DISTILL_STUDIO_PASSWORD=WORDS,
        DISTILL_STUDIO_REVIEWERS="ann",
        DISTILL_STUDIO_CACHE=str(starter_cache),
    )
    running = launch_app(tmp_path_factory.mktemp("space") / "home", env)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy(app: RunningApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSpaceProxy]:
    made = FakeSpaceProxy(app.url, tmp_path_factory.mktemp("tls"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(proxy: FakeSpaceProxy) -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    kept = [arg for arg in CHROMIUM_ARGS if "host-resolver-rules" not in arg]
    rules = f"--host-resolver-rules={proxy.resolver_rules}"
    args = [*kept, rules, "--test-third-party-cookie-phaseout"]
    expect.set_options(timeout=180_000)  # a busy machine is slow, not wrong
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=args)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    made.set_default_timeout(120_000)
    yield made
    made.close()


def consent(page: Page, hub: FakeHubLogin, person: Person, *, allow: bool = True) -> None:
    expect(page.get_by_text("let Distill Studio know who you are")).to_be_visible()
    hub.person = person
    page.get_by_role("button", name="Authorize" if allow else "Cancel").click()


def test_the_way_in_and_out_at_the_spaces_own_address(context: BrowserContext, hub: FakeHubLogin):
    page = context.new_page()
    page.goto(f"{SPACE}/?tab=review")
    page.get_by_role("link", name="Sign in with Hugging Face").click()
    consent(page, hub, Person("ann"))
    expect(page.locator("#ds-who")).to_contain_text("hf:ann")
    expect(page.get_by_role("tab", name="Review")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="People").click()
    expect(page.locator("#people-me")).to_contain_text("reviewer")
    expect(page.locator("#people-own")).to_be_hidden()  # no password here to change
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Sign in with Hugging Face")).to_be_visible()
    page.goto(f"{SPACE}/config")
    assert page.url == f"{SPACE}/login?next=/config"
    assert context.cookies(SPACE) == []


def test_who_is_not_on_the_list_reads_whom_to_ask(context: BrowserContext, hub: FakeHubLogin):
    page = context.new_page()
    page.goto(SPACE)
    page.get_by_role("link", name="Sign in with Hugging Face").click()
    consent(page, hub, Person("mallory"))
    expect(page.get_by_role("heading", name="You may not come in yet")).to_be_visible()
    expect(page.locator("main")).to_contain_text(f"Ask {AUTHOR}")
    page.get_by_role("link", name="Log in as somebody else").click()
    page.get_by_role("link", name="Sign in with Hugging Face").click()
    consent(page, hub, Person("ann"), allow=False)
    expect(page.get_by_role("alert")).to_contain_text("did not sign you in")
    assert context.cookies(SPACE) == []


def test_in_the_frame_with_third_party_cookies_blocked(context: BrowserContext, hub: FakeHubLogin):
    """The password works in the frame itself, Hugging Face in a tab of its own."""
    page = context.new_page()
    page.goto(HUB_PAGE)
    frame = page.frame_locator("#space")
    frame.locator("#user").fill("owner")
    frame.locator("#password").fill(WORDS)
    frame.get_by_role("button", name="Log in").click()
    expect(frame.locator("#ds-who")).to_contain_text("owner")
    frame.get_by_role("tab", name="People").click()
    expect(frame.locator("#people-ways")).to_contain_text(f"{AUTHOR}, whose Space it is")
    frame.get_by_role("button", name="Log out").click()
    with context.expect_page() as opened:
        frame.get_by_role("link", name="Sign in with Hugging Face").click()
    tab = opened.value
    consent(tab, hub, Person(AUTHOR))
    expect(tab.locator("#ds-who")).to_contain_text(f"hf:{AUTHOR}")
    assert tab.url.startswith(SPACE)


def test_without_partitioned_the_frame_would_lead_back_to_the_log_in(
    context: BrowserContext, proxy: FakeSpaceProxy, monkeypatch: pytest.MonkeyPatch
):
    """The control: it is that attribute, and nothing else, that the log-in above rests on."""
    monkeypatch.setattr(proxy, "takes_away", IN_FRAME.encode())
    page = context.new_page()
    page.goto(HUB_PAGE)
    frame = page.frame_locator("#space")
    frame.locator("#user").fill("owner")
    frame.locator("#password").fill(WORDS)
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        frame.get_by_role("button", name="Log in").click()
    assert posted.value.status == 303  # the name and the password were right
    expect(frame.locator("#user")).to_have_value("")
    assert [cookie for cookie in context.cookies() if "distill" in cookie["name"]] == []


def test_an_owner_invites_somebody_of_hugging_face(context: BrowserContext, hub: FakeHubLogin):
    page = context.new_page()
    page.goto(f"{SPACE}/?tab=people")
    page.get_by_role("link", name="Sign in with Hugging Face").click()
    consent(page, hub, Person(AUTHOR))
    expect(page.locator("#people-password")).to_be_hidden()
    enter(page.locator("#people-name textarea, #people-name input").first, "bob")
    page.locator("#people-add").click()
    expect(page.locator("#people-list")).to_contain_text("hf:bob")
    expect(page.locator("#people-list")).to_contain_text("through Hugging Face, not seen yet")
    expect(page.locator("#people-link")).to_be_hidden()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Sign in with Hugging Face").click()
    consent(page, hub, Person("bob"))
    expect(page.locator("#ds-who")).to_contain_text("hf:bob")
