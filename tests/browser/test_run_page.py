"""A run's page beside its curve: answers by evaluation, notes, settings again, runs compared."""

from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, expect

from distill_studio.distill.config import SftRun
from distill_studio.distill.events import EventWriter, Note, Sample
from distill_studio.store.database import Database
from distill_studio.ui.panels.run_list import STEP
from tests.browser.bench_data import HOSTILE, make_pairs, make_workspace
from tests.browser.forms import await_filled, enter
from tests.conftest import RunningApp
from tests.services.test_runs import add_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def space(running_app) -> str:
    """A workspace with a snapshot and two finished runs."""
    name = make_workspace(running_app.home, make_pairs(8))
    folder = running_app.home / "workspaces" / name
    database = Database(folder / "studio.duckdb")
    place = SimpleNamespace(db=database, folder=folder)
    add_run(place, "one", SftRun)
    add_run(place, "two", SftRun, learning_rate=3e-4, scheduler="linear")
    database.close()
    writer = EventWriter(folder / "runs" / "two" / "events.jsonl")
    writer.write(Note(message=f"Rows like {HOSTILE} are left out."))
    for step in (0, 4):
        for prompt in ("first", "second"):
            writer.write(Sample(step=step, prompt=prompt, answer=f"{prompt} at {step} {HOSTILE}"))
    writer.close()
    for pair in running_app.call("review_page", workspace=name, query={"limit": 8}):
        decision = {"id": f"d-{pair['id']}", "pair_id": pair["id"], "kind": "accept"}
        running_app.call("review_decide", workspace=name, decisions=[decision])
    running_app.call("freeze_create", workspace=name, name="a", format="prompt_completion")
    return name


@pytest.mark.timeout(900)
def test_answers_notes_settings_again_and_a_comparison(page: Page, space: str) -> None:
    page.goto(f"/?tab=distill&workspace={space}")
    await_filled(page, "distill", space)
    answers = page.locator("#distill-samples")
    for said in ("first at 0", "first at 4", "second at 4"):
        expect(answers).to_contain_text(said)
    page.locator("#distill-samples-step input").click()
    page.get_by_role("option", name="before training").click()
    expect(answers).not_to_contain_text("at 4")
    expect(answers).to_contain_text("second at 0")

    page.get_by_role("button", name="What the worker noted").click()
    expect(page.locator("#distill-worker")).to_contain_text("Rows like <img")
    page.locator("#distill-notes-box > button").click()
    enter(page.locator("#distill-note-text textarea"), "Steadier than one.")
    page.locator("button#distill-note-add").click()
    expect(page.locator("#distill-notes")).to_contain_text("Steadier than one.")
    expect(page.locator("#distill-runs")).to_contain_text("Steadier than one.")

    page.get_by_role("button", name="Compare runs").click()
    for name in ("one", "two"):
        page.locator("#runs-compare-names input").click()
        page.get_by_role("option", name=name, exact=True).click()
    compared = page.locator("#runs-compare-body")
    expect(compared.locator("svg polyline")).to_have_count(2)
    expect(compared).to_contain_text("Learning rate falls by")
    page.keyboard.press("Escape")

    page.locator("button#distill-again").click()
    expect(page.locator("#distill-taken")).to_contain_text("The settings of two.")
    page.get_by_role("button", name="Advanced: empty fields").click()
    rate = page.locator("#distill-learning-rate").locator("input, textarea").first
    expect(rate).to_have_value("0.0003")
    page.get_by_role("button", name="Schedule, adapter and checkpoints").click()
    expect(page.get_by_label("in a line")).to_be_checked()
    assert page.evaluate("window.pwned") is None


@pytest.mark.timeout(900)
def test_older_runs_are_listed_when_asked_for_and_reached_by_a_link(
    page: Page, running_app: RunningApp
) -> None:
    name = make_workspace(running_app.home, make_pairs(2))
    folder = running_app.home / "workspaces" / name
    database = Database(folder / "studio.duckdb")
    place = SimpleNamespace(db=database, folder=folder)
    for number in range(STEP + 2):
        add_run(place, f"grid-{number}", SftRun)
    database.close()

    page.goto(f"/?tab=distill&workspace={name}&run=grid-0")
    rows = page.locator("#distill-runs tbody tr")
    expect(rows).to_have_count(STEP)
    expect(page.locator("#distill-run-body")).to_contain_text("grid-0")
    page.locator("#distill-runs-older").click()
    expect(rows).to_have_count(STEP + 2)
    expect(page.locator("#distill-runs-older")).to_be_hidden()
    page.locator("[data-run='grid-1']").click()
    expect(page.locator("#distill-run-body")).to_contain_text("grid-1")
    expect(rows).to_have_count(STEP + 2)

    page.goto(f"/?tab=distill&workspace={name}&run=gone")
    expect(page.get_by_text("There is no run 'gone'")).to_be_visible()
    expect(page.locator("#distill-run-body")).to_contain_text(f"grid-{STEP + 1}")
