"""A run on a rented GPU by clicking: the price first, then the meter, the curve, and cancelled."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from distill_studio.distill.events import Started, Step
from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import enter
from tests.conftest import RunningApp, StartApp
from tests.fake_hub import FakeHub
from tests.hub_data import put
from tests.tiny_model import build_tiny_model

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
LONG_MS = 120_000


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.user("ann")
    hub.runs_jobs = False
    yield hub
    hub.close()
    assert not hub.unknown


@pytest.fixture
def app(hub: FakeHub, start_app: StartApp, tmp_path: Path) -> RunningApp:
    """An app whose one other model is tiny."""
    build_tiny_model(tmp_path / "cache" / "models" / "tiny")
    variables = hub.environment() | {"DISTILL_STUDIO_CACHE": str(tmp_path / "cache")}
    return start_app(tmp_path / "home", variables)


def until_asked(page: Page, asked: list[str]) -> None:
    """The page has asked, and had time to do what it was told not to do."""
    for _ in range(2400):
        if asked:
            break
        page.wait_for_timeout(50)
    page.wait_for_timeout(1_000)


def test_price_meter_curve_cancel(
    chromium: Browser, app: RunningApp, hub: FakeHub, tmp_path: Path
) -> None:
    space = make_workspace(app.home, make_pairs(12))
    for pair in app.call("review_page", workspace=space, query={"limit": 12}):
        decision = {"id": f"d-{pair['id']}", "pair_id": pair["id"], "kind": "accept"}
        app.call("review_decide", workspace=space, decisions=[decision])
    app.call("freeze_create", workspace=space, name="snap")
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{app.url}/?tab=distill&workspace={space}")
    student = page.locator("#distill-student input")
    student.click()
    page.get_by_role("option", name="tiny").first.click()
    page.locator("#distill-remote > button").first.click()
    account = page.locator("#distill-remote-account")
    expect(account).to_contain_text("no token", ignore_case=True, timeout=LONG_MS)
    enter(page.locator("#distill-remote-token input"), "hf_ann")
    page.locator("#distill-remote-give").click()
    expect(account).to_contain_text("Paid by ann", timeout=LONG_MS)
    rent = page.locator("#distill-remote-rent")
    expect(rent).to_be_disabled()
    limit = "#distill-remote-limit input, #distill-remote-limit textarea"
    enter(page.locator(limit), "5")
    page.locator("#distill-remote-look").click()
    expect(page.get_by_text("A Job cannot have 5 minutes")).to_be_visible(timeout=LONG_MS)
    enter(page.locator(limit), "")
    page.locator("#distill-remote-look").click()
    quote = page.locator("#distill-remote-quote")
    expect(quote).to_contain_text("the Hub ends it: $", timeout=LONG_MS)
    expect(rent).to_be_enabled()
    rent.click()
    body = page.locator("#distill-run-body")
    expect(body).to_contain_text("waiting for a machine", timeout=LONG_MS)
    job = next(iter(hub.jobs.values()))
    assert job.order["secrets"] == {"HF_TOKEN": "hf_ann"}
    assert "hf_ann" not in json.dumps(job.order["command"])

    job.stage, job.started = "RUNNING", time.time() - 61
    begun = Started(
        total=3, train_rows=9, validation_rows=2, device="cuda", dtype="bfloat16", parameters=9,
        trainable=1,
    )  # fmt: skip
    steps = [Step(step=n, total=3, loss=3.0 - n / 2, lr=0.1) for n in (1, 2)]
    repo = next(iter(hub.repos.values()))
    said = "".join(one.model_dump_json() + "\n" for one in (begun, *steps))
    put(repo, {"attempts/1/events/000001.jsonl": said})
    expect(body).to_contain_text("2 of 3", timeout=LONG_MS)
    expect(body).to_contain_text("so far", timeout=LONG_MS)
    page.locator("#distill-stop").click()
    expect(body).to_contain_text("stopped", timeout=LONG_MS)
    assert job.stage == "CANCELED"

    asked: list[str] = []
    page.once("dialog", lambda one: (asked.append(one.message), one.dismiss()))
    page.locator("#distill-resume").click()
    until_asked(page, asked)
    assert "Each begun minute is paid" in asked.pop()
    assert len(hub.jobs) == 1
    enter(page.locator(limit), "45")
    page.once("dialog", lambda one: (asked.append(one.message), one.dismiss()))
    page.locator("#distill-remote-again").click()
    until_asked(page, asked)
    assert "45 minutes at most" in asked[0]
    assert len(hub.jobs) == 1  # who says no pays nothing
    page.once("dialog", lambda one: one.accept())
    page.locator("#distill-remote-again").click()
    expect(body).to_contain_text("start 2", timeout=LONG_MS)
    expect(body).to_contain_text("ends after 45 minutes", timeout=LONG_MS)
    page.close()
