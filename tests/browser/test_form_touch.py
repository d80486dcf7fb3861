"""What a person enters while a form is still filling stays; the rest fills as it was kept.

The answer that fills the tab is held back, as by a machine that is busy.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import await_filled, await_stored, enter, stored
from tests.browser.test_recipes import choose, fill
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
TEACHER = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
_CALLS = "**/gradio_api/run/**"


@pytest.fixture
def workspace(running_app: RunningApp) -> str:
    """Four answered and two open seeds, two more teachers, and a snapshot of two pairs."""
    pairs = make_pairs(4)
    name = make_workspace(running_app.home, pairs)
    decisions = [{"id": f"decision-{p.id}"[:60], "pair_id": p.id, "kind": "accept"} for p in pairs]
    running_app.call("review_decide", workspace=name, decisions=decisions)
    running_app.call("seeds_add", workspace=name, text="What is salt?\nWhy?", one_per_line=True)
    for teacher in ("Far", "Near"):
        running_app.call("teachers_save", workspace=name, teacher={"name": teacher, **TEACHER})
    running_app.call("freeze_create", workspace=name, name="first", format="prompt_completion")
    return name


@contextmanager
def held_back(page: Page, tab: str, new_on: str = "") -> Iterator[list[Route]]:
    """Whatever asks the server to fill a tab waits until the block ends.

    A tab fills as it opens; of a page that is new on a workspace, also as it learns of that.
    """
    held: list[Route] = []

    def hold(route: Route) -> None:
        asked = route.request.post_data_json
        event = asked.get("event_data")
        is_opening = isinstance(event, dict) and event.get("value") == tab
        if new_on and "event_data" not in asked:  # what the browser keeps goes along
            is_opening = any(isinstance(value, dict) and new_on in value for value in asked["data"])
        held.append(route) if is_opening else route.continue_()

    page.route(_CALLS, hold)
    yield held
    for route in held:
        route.continue_()
    page.unroute(_CALLS)


def until_asked(page: Page, held: list[Route]) -> None:
    for _ in range(2400):
        if held:
            return
        page.wait_for_timeout(50)
    pytest.fail("the tab asked for nothing")


def test_generate(page: Page, workspace: str) -> None:
    teachers, recipes = page.locator("#generate-teachers"), page.locator("#generate-recipe")
    tokens = page.locator("#generate-max-tokens input")
    page.goto(f"/?tab=generate&workspace={workspace}")
    await_filled(page, "generate", workspace)
    choose(page, "Self-Instruct")
    teachers.get_by_label("Far").check()
    before = stored(page, "generate")
    fill(page, "generate-max-tokens", "77")
    await_stored(page, "generate", before)

    with held_back(page, "Generate", workspace) as held:
        page.reload()
        until_asked(page, held)
        expect(tokens).to_have_value("256")  # nothing has come yet
        enter(page.locator("#generate-limit input").first, "1")
        page.locator("#generate-unanswered input").uncheck()
        page.locator("#generate-more > button").click()
        enter(page.locator("#generate-system textarea"), "Be kind.")
        before = stored(page, "generate")
    expect(recipes.get_by_label("Self-Instruct")).to_be_checked()  # as kept
    expect(teachers.get_by_label("Far")).to_be_checked()
    expect(tokens).to_have_value("77")
    expect(page.locator("#generate-limit input")).to_have_value("1")  # as entered
    expect(page.locator("#generate-unanswered input")).not_to_be_checked()
    expect(page.locator("#generate-system textarea")).to_have_value("Be kind.")
    expect(page.locator("#generate-count")).to_contain_text("The oldest 1 are asked.")
    await_filled(page, "generate", workspace)
    await_stored(page, "generate", before)

    page.get_by_role("tab", name="Home").click()
    with held_back(page, "Generate") as held:  # the tab opens again
        page.get_by_role("tab", name="Generate").click()
        until_asked(page, held)
        teachers.get_by_label("Near").check()
        teachers.get_by_label("Far").uncheck()
        choose(page, "Evol-Instruct")
        expect(page.locator("#generate-number-0")).to_contain_text("Rounds")
        before = stored(page, "generate")
        fill(page, "generate-number-0", "3")
        await_stored(page, "generate", before)
        filled = page.locator("#generate-form-filled textarea, #generate-form-filled input")
        filled_before = filled.input_value()
    expect(filled).not_to_have_value(filled_before)
    expect(recipes.get_by_label("Evol-Instruct")).to_be_checked()
    expect(page.locator("#generate-number-0 input")).to_have_value("3")
    expect(teachers.get_by_label("Near")).to_be_checked()
    expect(teachers.get_by_label("Far")).not_to_be_checked()

    page.reload()  # all of it was kept
    expect(recipes.get_by_label("Evol-Instruct")).to_be_checked()
    expect(page.locator("#generate-number-0 input")).to_have_value("3")
    expect(teachers.get_by_label("Near")).to_be_checked()
    expect(page.locator("#generate-limit input")).to_have_value("1")
    expect(page.locator("#generate-unanswered input")).not_to_be_checked()


def test_distill(page: Page, workspace: str) -> None:
    methods, steps = page.locator("#distill-method"), page.locator("#distill-max-steps")
    steps = steps.locator("input, textarea")
    page.goto(f"/?tab=distill&workspace={workspace}")
    await_filled(page, "distill", workspace)
    methods.get_by_label("Logit distillation").check()
    page.get_by_role("button", name="Advanced").click()
    before = stored(page, "distill")
    enter(steps.first, "12")
    await_stored(page, "distill", before)

    with held_back(page, "Distill", workspace) as held:
        page.reload()
        until_asked(page, held)
        expect(page.locator("#distill-start")).to_be_visible()
        page.get_by_role("button", name="Advanced").click()
        page.locator("#distill-weights").get_by_label("full weights").check()
        fill(page, "distill-seed", "3")
        before = stored(page, "distill")
    expect(methods.get_by_label("Logit distillation")).to_be_checked()  # as kept
    expect(steps).to_have_value("12")
    expect(page.locator("#distill-divergence")).to_be_visible()  # what goes with the method
    expect(page.locator("#distill-weights").get_by_label("full weights")).to_be_checked()
    seed = page.locator("#distill-seed").locator("input, textarea")
    expect(seed).to_have_value("3")
    await_filled(page, "distill", workspace)
    await_stored(page, "distill", before)
    page.reload()
    page.get_by_role("button", name="Advanced").click()
    expect(seed).to_have_value("3")
    expect(steps).to_have_value("12")

    with held_back(page, "Distill", workspace) as held:
        page.reload()
        until_asked(page, held)
        methods.get_by_label("SFT").check()  # the default, entered: not told from untouched
        methods.get_by_label("DPO").check()
    await_filled(page, "distill", workspace)
    expect(methods.get_by_label("DPO")).to_be_checked()
    expect(page.locator("#distill-divergence")).to_be_hidden()
    expect(page.locator("#distill-preset input:checked")).to_have_count(1)
