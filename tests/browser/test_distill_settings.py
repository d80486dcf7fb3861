"""Settings that were for the shell alone, on the Distill tab: said, refused, remembered."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from distill_studio.core.gpus import nvidia_gpus
from distill_studio.teachers.models import resolve_model
from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import await_filled, await_stored, enter, stored
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
FOUND_MS = 120_000


@pytest.fixture
def space(running_app: RunningApp, starter_cache: Path) -> str:
    """A snapshot of eight accepted answers, and a student that is unpacked already."""
    resolve_model("smollm2-135m-instruct", starter_cache)
    pairs = make_pairs(8)
    name = make_workspace(running_app.home, pairs)
    decisions = [{"id": f"decision-{p.id}"[:60], "pair_id": p.id, "kind": "accept"} for p in pairs]
    running_app.call("review_decide", workspace=name, decisions=decisions)
    running_app.call("freeze_create", workspace=name, name="first", format="prompt_completion")
    return name


def box(page: Page, elem_id: str) -> Locator:
    return page.locator(f"#{elem_id} input, #{elem_id} textarea").first


def open_groups(page: Page) -> None:
    for title in ("Prune the student", "Advanced", "Speed and memory"):
        page.get_by_role("button", name=title).click()


@pytest.mark.skipif(bool(nvidia_gpus()), reason="says what a machine without a GPU cannot do")
def test_settings_are_said_refused_and_remembered(page: Page, space: str) -> None:
    page.goto(f"/?tab=distill&workspace={space}")
    await_filled(page, "distill", space)
    findings = page.locator("#distill-findings")
    start = page.locator("button#distill-start")
    expect(page.locator("#distill-packing")).to_be_hidden()  # collapsed until asked for
    open_groups(page)
    page.locator("#distill-packing input").check()
    expect(findings).to_contain_text("Packed, batches of 4 rows", timeout=FOUND_MS)
    expect(start).to_be_enabled()
    page.locator("#distill-quantise").get_by_label("in four bits").check()
    expect(findings).to_contain_text("need an NVIDIA GPU", timeout=FOUND_MS)
    expect(start).to_be_disabled()
    page.locator("#distill-quantise").get_by_label("as they are").check()
    expect(start).to_be_enabled(timeout=FOUND_MS)
    enter(box(page, "distill-keep-layers"), "7")
    expect(findings).to_contain_text("23 of 30 layers are dropped", timeout=FOUND_MS)
    enter(box(page, "distill-keep-mlp"), "0.75")
    expect(findings).to_contain_text("1,152 of 1,536 neurons", timeout=FOUND_MS)
    expect(findings).to_contain_text("of 134.5 M weights are left", timeout=FOUND_MS)
    before = stored(page, "distill")
    enter(box(page, "distill-devices"), "2")
    expect(findings).to_contain_text("2 processes share its CPUs", timeout=FOUND_MS)
    await_stored(page, "distill", before)
    page.goto(f"/?tab=distill&workspace={space}&__theme=dark")
    await_filled(page, "distill", space)
    open_groups(page)
    expect(page.locator("#distill-packing input")).to_be_checked()
    expect(page.locator("#distill-quantise").get_by_label("as they are")).to_be_checked()
    expect(box(page, "distill-keep-layers")).to_have_value("7")
    expect(box(page, "distill-keep-mlp")).to_have_value("0.75")
    expect(box(page, "distill-devices")).to_have_value("2")
