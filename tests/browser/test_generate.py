"""The Generate tab in Chromium: add a teacher, preview, run, come back, stop, go on."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench_data import make_workspace
from tests.browser.forms import enter
from tests.conftest import RunningApp
from tests.stub_openai import Answer, StubServer, completion, echo, failure

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]


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
    enter(page.locator("#generate-url").get_by_role("textbox"), stub.url)
    enter(page.locator("#generate-key input"), "sk-browser")
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
    expect(live).to_contain_text("running")
    expect(page.locator("#generate-replies li").first).to_contain_text(hostile)
    assert page.title() != "owned"
    open_tab(page, workspace)  # as after closing the page: it is still there
    expect(live).to_contain_text("of 48")
    page.locator("#generate-stop").click()
    expect(live).to_contain_text("stopped")
    stub.behave = echo
    page.locator("#generate-resume").click()
    expect(live).to_contain_text("done")
    expect(live).to_contain_text("48 of 48")
    expect(page.locator("#generate-replies li")).to_have_count(10)
    counts = running_app.call("generate_count", workspace=workspace)
    assert counts["unanswered"] == 0
    (job,) = running_app.call("generate_jobs", workspace=workspace)
    assert (job["state"], job["result"]["answered"]) == ("done", 48)
    pairs = running_app.call("generate_recent", workspace=workspace, job_id=job["id"], limit=100)
    assert len({(p["seed_id"], p["sample"]) for p in pairs}) == len(pairs) == 48


def test_stop_reload_resume_and_retry(
    page: Page, running_app: RunningApp, stub: StubServer, workspace: str
) -> None:
    """A run that is stopped half-way, found again, gone on with; its failures asked once more."""
    prompts = "\n".join(f"Question {i}?" for i in range(12))
    running_app.call("seeds_add", workspace=workspace, text=prompts, one_per_line=True)
    teacher = {"name": "Stub", "kind": "openai", "model": "stub-1", "base_url": stub.url}
    running_app.call("teachers_save", workspace=workspace, teacher={**teacher, "concurrency": 2})
    gate = threading.Event()
    too_long = failure(400, "maximum context length is 512 tokens")

    def behave(body: dict[str, Any]) -> Answer:
        asked = body["messages"][-1]["content"]
        if asked in ("Question 1?", "Question 9?"):
            return too_long
        if len(stub.requests) > 6:
            gate.wait(600)  # what is asked now is in flight until the test says so
        return echo(body)

    stub.behave = behave
    open_tab(page, workspace)
    page.locator("#generate-teachers").get_by_label("Stub", exact=True).check()
    page.locator("#generate-teachers").get_by_label("SmolLM2").uncheck()
    live = page.locator("#generate-live")
    stop, resume = page.locator("button#generate-stop"), page.locator("button#generate-resume")
    expect(page.locator("button#generate-run")).to_have_text("Run 12 requests")
    page.locator("button#generate-run").click()
    expect(page.locator("#generate-replies li").first).to_contain_text("Answer to: Question")
    expect(resume).to_be_hidden()
    page.reload()  # in the middle
    expect(live.locator(".ds-chip")).to_have_text("running")
    expect(page.locator("#generate-replies li").first).to_contain_text("Answer to: Question")
    stop.click()
    expect(live.locator(".ds-chip")).to_have_text("stopped")
    expect(stop).to_be_hidden()
    gate.set()
    (job,) = running_app.call("generate_jobs", workspace=workspace)
    answered = counted(running_app, workspace, job["id"])
    assert 0 < answered < 10
    page.reload()  # a stopped run is found as well
    expect(resume).to_have_text("Resume")
    resume.click()
    expect(live.locator(".ds-chip")).to_have_text("done")
    expect(live).to_contain_text("10answered")
    expect(live).to_contain_text("2failed")
    expect(live).to_contain_text("Prompt and answer are too long")
    assert counted(running_app, workspace, job["id"]) == 10

    before = len(stub.requests)
    stub.behave = echo  # as if the model had been exchanged for one of a longer context
    expect(resume).to_have_text("Retry the failed")
    resume.click()
    expect(live).to_contain_text("12answered")
    expect(live).to_contain_text("0failed")
    expect(live).not_to_contain_text("Prompt and answer are too long")
    expect(resume).to_be_hidden()
    assert sorted(stub.prompts()[before:]) == ["Question 1?", "Question 9?"]  # nobody else
    assert counted(running_app, workspace, job["id"]) == 12


def counted(app: RunningApp, workspace: str, job_id: str) -> int:
    """Answers of a job; none twice."""
    pairs = app.call("generate_recent", workspace=workspace, job_id=job_id, limit=100)
    assert len({p["seed_id"] for p in pairs}) == len(pairs)
    return len(pairs)
