"""Settings of the Generate and Distill forms survive a reload, per workspace; keys do not."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import await_filled, await_stored, enter, stored
from tests.browser.test_recipes import choose, fill
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
TEACHER = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture
def workspace(running_app: RunningApp) -> str:
    """Two seeds, a teacher, and a snapshot of two pairs."""
    pairs = make_pairs(4)
    name = make_workspace(running_app.home, pairs)
    decisions = [{"id": f"decision-{p.id}"[:60], "pair_id": p.id, "kind": "accept"} for p in pairs]
    running_app.call("review_decide", workspace=name, decisions=decisions)
    running_app.call("seeds_add", workspace=name, text="What is salt?\nWhy?", one_per_line=True)
    running_app.call("teachers_save", workspace=name, teacher={"name": "Far", **TEACHER})
    running_app.call("freeze_create", workspace=name, name="first", format="prompt_completion")
    return name


def number(page: Page, elem_id: str) -> str:
    return page.locator(f"#{elem_id} input").first.input_value()


def test_generate(page: Page, running_app: RunningApp, workspace: str) -> None:
    page.goto(f"/?tab=generate&workspace={workspace}")
    expect(page.locator("#generate-count")).to_contain_text("2 of 2")
    await_filled(page, "generate", workspace)
    page.locator("#generate-teachers").get_by_label("Far").check()
    choose(page, "Self-Instruct")
    expect(page.locator("#generate-number-0 input")).to_have_value("5")
    fill(page, "generate-number-0", "3")
    choose(page, "Evol-Instruct")
    expect(page.locator("#generate-number-0")).to_contain_text("Rounds")
    choose(page, "Self-Instruct")
    expect(page.locator("#generate-number-0 input")).to_have_value("3")  # as it was here
    fill(page, "generate-max-tokens", "77")
    page.locator("#generate-more > button").click()
    before = stored(page, "generate")
    enter(page.locator("#generate-system textarea"), "Be kind. ${x} <b>")
    await_stored(page, "generate", before)
    page.locator("#generate-teacher-form > button").click()
    enter(page.locator("#generate-key input"), "sk-never-kept")
    page.reload()
    expect(page.locator("#generate-max-tokens input")).to_have_value("77")
    expect(page.locator("#generate-recipe").get_by_label("Self-Instruct")).to_be_checked()
    expect(page.locator("#generate-number-0 input")).to_have_value("3")
    expect(page.locator("#generate-teachers").get_by_label("Far")).to_be_checked()
    page.locator("#generate-more > button").click()
    expect(page.locator("#generate-system textarea")).to_have_value("Be kind. ${x} <b>")
    page.locator("#generate-teacher-form > button").click()
    expect(page.locator("#generate-key input")).to_have_value("")
    assert "sk-never-kept" not in page.evaluate("JSON.stringify(localStorage)")

    running_app.call("teachers_delete", workspace=workspace, name="Far")
    other = make_workspace(running_app.home, make_pairs(1))
    running_app.call("seeds_add", workspace=other, text="What is sugar?")
    page.goto(f"/?tab=generate&workspace={other}")  # another workspace has its own settings
    await_filled(page, "generate", other)
    assert number(page, "generate-max-tokens") == "256"
    page.goto(f"/?tab=generate&workspace={workspace}")  # its teacher is gone
    expect(page.locator("#generate-max-tokens input")).to_have_value("77")
    expect(page.locator("#generate-teachers").get_by_label("SmolLM2")).to_be_checked()


def test_distill(page: Page, workspace: str) -> None:
    page.goto(f"/?tab=distill&workspace={workspace}")
    expect(page.locator("#distill-snapshot input")).to_have_value(re.compile("first "))
    await_filled(page, "distill", workspace)
    page.locator("#distill-preset label").last.click()
    page.get_by_role("button", name="Advanced").click()
    enter(page.locator("#distill-max-steps").locator("input, textarea").first, "12")
    before = stored(page, "distill")
    page.locator("#distill-weights").get_by_label("full weights").check()
    await_stored(page, "distill", before)
    chosen = page.locator("#distill-preset input:checked").get_attribute("value")
    page.reload()
    page.get_by_role("button", name="Advanced").click()
    expect(page.locator("#distill-max-steps input, #distill-max-steps textarea")).to_have_value(
        "12"
    )
    expect(page.locator("#distill-weights").get_by_label("full weights")).to_be_checked()
    expect(page.locator("#distill-preset input:checked")).to_have_attribute("value", chosen or "")
