"""The Generate tab in Chromium: add a teacher, preview, run, come back, stop, go on."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench_data import make_workspace
from tests.conftest import RunningApp
from tests.stub_openai import Answer, StubServer, completion, echo

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


@pytest.fixture
def workspace(running_app: RunningApp) -> str:
    return make_workspace(running_app.home, [])


def open_tab(page: Page, workspace: str) -> None:
    page.goto(f"/?tab=generate&workspace={workspace}")


def add_teacher(page: Page, stub: StubServer) -> None:
    page.locator("#generate-teacher-form > button").click()
    page.locator("#generate-url").get_by_role("textbox").fill(stub.url)
    page.locator("#generate-key input").fill("sk-browser")
    page.locator("#generate-fetch").click()
    expect(page.locator("#generate-test-result")).to_contain_text("offers 2 models")
    page.locator("#generate-test").click()
    expect(page.locator("#generate-test-result")).to_contain_text("stub-1 answers")
    page.locator("#generate-teacher-name").get_by_role("textbox").fill("Stub")
    page.locator("#generate-save").click()
    expect(page.get_by_label("Stub", exact=True)).to_be_checked()
    page.locator("#generate-teachers").get_by_label("SmolLM2").uncheck()


def test_the_whole_tab(
    page: Page, running_app: RunningApp, stub: StubServer, workspace: str
) -> None:
    open_tab(page, workspace)
    expect(page.locator("#generate-to-seeds")).to_be_visible()
    prompts = "\n".join(f"Question {i}?" for i in range(24))
    running_app.call("seeds_add", workspace=workspace, text=prompts, one_per_line=True)
    open_tab(page, workspace)
    expect(page.locator("#generate-count")).to_contain_text("24 of 24 seeds have no answer")
    add_teacher(page, stub)
    page.locator("#generate-recipe").get_by_label("Best of n").check()
    expect(page.locator("#generate-run")).to_have_text("Run 48 requests")
    page.locator("#generate-preview-box > button").click()
    shown = page.locator("#generate-preview")
    expect(shown).to_contain_text(f"POST {stub.url}/chat/completions")
    expect(shown).to_contain_text("Bearer [key]")
    expect(shown).not_to_contain_text("sk-browser")

    hostile = "<img src=x onerror=\"document.title='owned'\"> ${document.title='owned'}"
    stub.behave = lambda body: Answer(completion(hostile), delay_s=3)
    page.locator("#generate-run").click()
    live = page.locator("#generate-live")
    expect(live).to_contain_text("running", timeout=10_000)
    expect(page.locator("#generate-replies li").first).to_contain_text(hostile, timeout=20_000)
    assert page.title() != "owned"
    open_tab(page, workspace)  # as after closing the page: it is still there
    expect(live).to_contain_text("of 48", timeout=10_000)
    page.locator("#generate-stop").click()
    expect(live).to_contain_text("stopped", timeout=10_000)
    stub.behave = echo
    page.locator("#generate-resume").click()
    expect(live).to_contain_text("done", timeout=20_000)
    expect(live).to_contain_text("48 of 48")
    expect(page.locator("#generate-replies li")).to_have_count(10)
    counts = running_app.call("generate_count", workspace=workspace)
    assert counts["unanswered"] == 0
    (job,) = running_app.call("generate_jobs", workspace=workspace)
    assert (job["state"], job["result"]["answered"]) == ("done", 48)
    pairs = running_app.call("generate_recent", workspace=workspace, job_id=job["id"], limit=100)
    assert len({(p["seed_id"], p["sample"]) for p in pairs}) == len(pairs) == 48
