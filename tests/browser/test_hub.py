"""A snapshot and a model pushed by clicking, to a fake Hub."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from distill_studio.core.records import Run, RunState
from distill_studio.store import runs
from distill_studio.store.database import Database
from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import enter
from tests.conftest import RunningApp, StartApp
from tests.fake_hub import FakeHub

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.user("ann")
    yield hub
    hub.close()
    assert not hub.unknown


@pytest.fixture
def app(hub: FakeHub, start_app: StartApp, tmp_path: Path) -> RunningApp:
    return start_app(tmp_path / "home", hub.environment())


def a_run(home: Path, workspace: str) -> None:
    """A finished run with an adapter, its weights a few bytes; before the app opens the store."""
    folder = home / "workspaces" / workspace / "runs" / "first-sft"
    for kind, name in (("model", "model"), ("adapter", "adapter_model")):
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"{name}.safetensors").write_bytes(b"weights")
    (folder / "model" / "config.json").write_text("{}")
    config = {
        "name": "first-sft",
        "method": "sft",
        "student": {"base_folder": "small", "base_id": "smollm2-135m-instruct"},
        "data": {"folder": "snap", "name": "snap", "format": "messages"},
        "lora": {"r": 4, "alpha": 8},
        "learning_rate": 0.0001,
    }
    (folder / "run.json").write_text(json.dumps(config))
    database = Database(home / "workspaces" / workspace / "studio.duckdb")
    run = Run(name="first-sft", method="sft", snapshot_id="s", config=config, state=RunState.DONE)
    runs.insert(database, run)
    database.close()


def a_space(app: RunningApp) -> str:
    """A workspace with a snapshot `snap` and a run."""
    name = make_workspace(app.home, make_pairs(12))
    a_run(app.home, name)
    for pair in app.call("review_page", workspace=name, query={"limit": 12}):
        decision = {"id": f"d-{pair['id']}", "pair_id": pair["id"], "kind": "accept"}
        app.call("review_decide", workspace=name, decisions=[decision])
    app.call("freeze_create", workspace=name, name="snap")
    return name


def opened(page: Page, url: str, workspace: str) -> None:
    """The accordion under the snapshot, filled."""
    page.goto(f"{url}/?tab=freeze&workspace={workspace}")
    page.locator("#freeze-list button[data-name=snap]").click()
    page.locator("#freeze-hub-box > button").first.click()
    expect(page.locator("#freeze-hub-found")).to_contain_text("No terms are stated for")


@pytest.mark.timeout(900)
def test_a_snapshot_and_a_model_are_pushed(
    chromium: Browser, app: RunningApp, hub: FakeHub
) -> None:
    space = a_space(app)
    errors: list[str] = []
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    opened(page, app.url, space)
    expect(page.locator("#freeze-hub-account")).to_contain_text("No token for")
    expect(page.locator("button#freeze-hub-push")).to_be_disabled()
    enter(page.locator("#freeze-hub-token input"), "hf_stranger")
    page.locator("button#freeze-hub-give").click()
    expect(page.locator(".toast-body").first).to_contain_text("does not know this token")
    page.locator("#freeze-hub-token input").fill("hf_ann_0")
    hub.user("ann", "hf_ann_0")
    page.locator("button#freeze-hub-give").click()
    expect(page.locator("#freeze-hub-account")).to_contain_text("As ann at")
    expect(page.locator("#freeze-hub-token input")).to_have_value("")
    repo = page.locator("#freeze-hub-repo").locator("input, textarea").first
    expect(repo).to_have_value(f"ann/{space}-snap")
    repo.fill("ann/rows")
    repo.blur()
    page.locator("#freeze-hub-private input").uncheck()
    expect(page.locator("#freeze-hub-found")).to_contain_text("everybody can read and copy it")
    page.locator("#freeze-hub-private input").check()
    expect(page.locator("#freeze-hub-found")).not_to_contain_text("everybody can read")
    page.locator("#freeze-hub-anyway input").check()
    page.locator("button#freeze-hub-push").click()
    link = page.locator("#freeze-hub-pushed a")
    expect(link).to_have_attribute("href", f"{hub.url}/datasets/ann/rows")
    assert hub.repo("ann/rows").private
    assert "train.parquet" in hub.repo("ann/rows").files("snap")

    page.goto(f"{app.url}/?tab=distill&workspace={space}")
    page.locator("#distill-hub-box > button").first.click()
    expect(page.locator("#distill-hub-account")).to_contain_text("As ann at")
    expect(page.locator("#distill-hub-found")).to_contain_text("Private model repository, 4 files")
    page.get_by_role("radio", name="The adapter alone").check()
    expect(page.locator("#distill-hub-found")).to_contain_text("3 files")
    page.locator("button#distill-hub-push").click()
    link = page.locator("#distill-hub-pushed a")
    expect(link).to_have_attribute("href", f"{hub.url}/ann/first-sft")
    assert "adapter_model.safetensors" in hub.repo("ann/first-sft", "model").files("first-sft")
    assert errors == []
    page.close()
