"""Stages and a grid, clicked together on the Distill tab; small students of the starter model."""

import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import await_filled, enter

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLAN_MS = 600_000  # four short trainings of the starter model, on a busy machine


@pytest.fixture
def space(running_app) -> str:
    """A workspace with a frozen snapshot of 24 rows."""
    name = make_workspace(running_app.home, make_pairs(24))
    for pair in running_app.call("review_page", workspace=name, query={"limit": 24}):
        decision = {"id": f"d-{pair['id']}", "pair_id": pair["id"], "kind": "accept"}
        running_app.call("review_decide", workspace=name, decisions=[decision])
    running_app.call("freeze_create", workspace=name, name="snap", format="prompt_completion")
    return name


def fill(page: Page, elem_id: str, value: str) -> None:
    box = page.locator(f"#{elem_id}").locator("input, textarea").first
    box.fill(value)
    box.blur()


@pytest.mark.timeout(1500)
def test_stages_and_a_grid_are_clicked_together(page: Page, running_app, space: str) -> None:
    page.goto(f"/?tab=distill&workspace={space}")
    await_filled(page, "distill", space)
    page.get_by_role("button", name="Several trainings").click()
    page.locator("button#plan-run").click()
    expect(page.locator(".toast-body").first).to_contain_text("stage")
    page.get_by_role("button", name="Advanced").click()
    page.locator("#distill-student input").click()
    page.get_by_role("option", name="pruned to 24 of 30 layers").first.click()
    for field, value in {"max-steps": "1", "max-length": "64", "batch-size": "1"}.items():
        fill(page, f"distill-{field}", value)
    stages = page.locator("#plan-stages li")
    page.locator("button#plan-add").click()
    expect(stages).to_have_count(1)
    page.locator("button#plan-add").click()
    expect(stages).to_have_count(2)
    page.locator("button#plan-add").click()
    expect(stages).to_have_count(3)
    page.locator("button#plan-drop").click()
    expect(stages).to_have_count(2)
    expect(stages.nth(1)).to_contain_text("going on from stage 1")
    fill(page, "plan-name", "two")
    page.locator("button#plan-run").click()
    expect(page.locator("#plan-body")).to_contain_text("2 of 2 stages", timeout=PLAN_MS)
    second = running_app.call("distill_get", workspace=space, name="two-2")
    assert second["config"]["student"]["base_id"] == "run:two-1"

    page.get_by_role("tab", name="Grid").click()
    rates = page.locator("#plan-learning-rate").locator("input, textarea").first
    enter(rates, "1e-4, nonsense")
    fill(page, "plan-name", "rates")
    page.locator("button#plan-grid").click()
    expect(page.locator(".toast-body").last).to_contain_text("nonsense")
    fill(page, "plan-learning-rate", "1e-4, 1e-3")
    page.locator("button#plan-grid").click()
    expect(page.locator("#plan-body h3")).to_have_text("rates")
    page.reload()  # the page goes, the trainings stay
    page.get_by_role("button", name="Several trainings").click()
    expect(page.locator("#plan-body")).to_contain_text("2 of 2 runs", timeout=PLAN_MS)
    expect(page.locator("#plan-body")).to_contain_text("Compared by")
    plan = running_app.call("plans_get", workspace=space, name="rates")
    assert [row["settings"] for row in plan["rows"]] == [
        {"learning_rate": 1e-4},
        {"learning_rate": 1e-3},
    ], json.dumps(plan)
    page.locator("button#plan-delete").click()
    expect(page.locator("#plan-body h3")).to_have_text("two")
