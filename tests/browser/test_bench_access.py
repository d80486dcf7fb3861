"""The benches without a mouse, without sight, without letter keys: WCAG on the running page."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.bench_data import make_pairs, make_workspace

if TYPE_CHECKING:
    from tests.conftest import RunningApp

pytestmark = pytest.mark.browser
MATHS = (
    "So \\(x = \\frac{-b}{2a}\\) and $a*b*c$ cost $5 and $6.\n\n"
    "\\[\n\\begin{aligned} a &= b \\\\ c &= \\boxed{42} \\end{aligned}\n\\]\n\n$\\unknown{x}$"
)


def open_bench(page: Page, workspace: str, tab: str = "review") -> Locator:
    """The bench of a tab, with a record on it."""
    page.goto(f"/?tab={tab}&workspace={workspace}")
    bench = page.locator(f"#{tab}-bench")
    expect(bench.locator(".ds-prompt")).to_be_visible()
    return bench


def statuses(app: RunningApp, workspace: str) -> list[str]:
    return [
        r["status"] for r in app.call("review_page", workspace=workspace, query={"limit": 1000})
    ]


def act(bench: Locator, name: str) -> Locator:
    return bench.locator(".ds-main-acts").get_by_role("button", name=name, exact=True)


def test_keys_decide_nothing_behind_a_dialog(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(3))
    bench = open_bench(page, workspace)
    page.keyboard.press("r")
    bench.get_by_role("button", name="Change reasons").click()
    dialog = page.get_by_role("dialog", name="Reasons for rejecting")
    for name in ("Save reasons", "Cancel", "Standard reasons"):
        dialog.get_by_role("button", name=name).focus()
        page.keyboard.type("1ars2")
    dialog.get_by_role("heading").click()  # nothing in it has the focus
    page.keyboard.type("1")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    expect(bench.get_by_role("button", name="Change reasons")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    keys.get_by_role("button", name="Close").focus()
    page.keyboard.type("ars1")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    expect(bench.locator(".ds-prompt")).to_have_text("Question number 0?")
    assert statuses(running_app, workspace) == ["pending"] * 3


@pytest.mark.slow
def test_a_digit_is_a_digit_on_every_keyboard(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(2))
    bench = open_bench(page, workspace)
    page.keyboard.press("r")
    page.evaluate(  # AZERTY: the key with the 1 writes &
        "document.body.dispatchEvent(new KeyboardEvent('keydown',"
        " {key: '&', code: 'Digit1', bubbles: true}))"
    )
    expect(bench.locator(".ds-save")).to_have_text("Saved")
    row = running_app.call("review_page", workspace=workspace, query={})[0]
    assert (row["status"], row["reject_reason"]) == ("rejected", "Wrong or made up")


@pytest.mark.slow
def test_focus_stays_with_what_was_pressed(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(6))
    bench = open_bench(page, workspace)
    act(bench, "Reject").click()
    expect(bench.locator(".ds-reasons")).to_be_focused()
    page.keyboard.press("Escape")
    expect(act(bench, "Reject")).to_be_focused()
    act(bench, "Reject").click()
    bench.locator(".ds-reasons").get_by_role("button", name="Wrong language").click()
    expect(bench.locator(".ds-prompt")).to_have_text("Question number 1?")
    expect(act(bench, "Reject")).to_be_focused()  # the next record's
    act(bench, "Edit").click()
    expect(page.get_by_label("Edited answer")).to_be_focused()
    page.get_by_label("Edited answer").fill("")
    page.keyboard.press("Control+Enter")
    expect(bench.locator(".ds-editor [role=alert]")).to_have_text(
        "An empty answer cannot be saved. Reject the record instead."
    )
    expect(bench.locator(".ds-editor [role=alert]")).to_be_visible()
    page.keyboard.type("Better")
    expect(bench.locator(".ds-editor [role=alert]")).to_be_hidden()
    page.keyboard.press("Control+Enter")
    expect(bench.locator(".ds-prompt")).to_have_text("Question number 2?")
    expect(act(bench, "Edit")).to_be_focused()
    act(bench, "Note").click()
    page.keyboard.press("Escape")
    expect(act(bench, "Note")).to_be_focused()
    page.locator("body").evaluate("() => document.activeElement.blur()")
    page.keyboard.press("e")  # by key: there is no button to go back to
    page.keyboard.press("Escape")
    expect(bench.locator(".ds-record")).to_be_focused()
    page.keyboard.press("a")  # and the keys work from there
    expect(bench.locator(".ds-prompt")).to_have_text("Question number 3?")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    change = keys.locator(".ds-key").first
    change.click()
    page.keyboard.press("x")
    expect(change).to_have_text("X")
    expect(change).to_be_focused()


@pytest.mark.slow
def test_focus_and_the_reveal_on_prefer(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(3, candidates=2))
    bench = open_bench(page, workspace, "prefer")
    page.keyboard.press("1")
    expect(bench.locator("[role=status]", has_text="left was secret-teacher-")).to_have_count(1)
    told = bench.locator(".ds-lastvote")
    clearly = told.get_by_role("button", name="clearly")
    clearly.click()
    expect(clearly).to_have_attribute("aria-pressed", "true")
    expect(clearly).to_be_focused()
    told.get_by_role("button", name="Why?").click()
    expect(bench.get_by_role("group", name="Why")).to_be_focused()
    bench.get_by_role("group", name="Why").get_by_role("button", name="Clearer").click()
    expect(told.get_by_role("button", name="Why: Clearer")).to_be_focused()
    expect(told).to_contain_text("secret-teacher-")


@pytest.mark.slow
def test_letter_keys_can_be_switched_off(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(4))
    bench = open_bench(page, workspace)
    expect(act(bench, "Accept").locator("kbd")).to_be_visible()
    bench.get_by_role("button", name="Keys").click()
    keys = page.get_by_role("dialog", name="Keys")
    keys.get_by_label("Letter, digit and sign keys").uncheck()
    page.keyboard.press("Escape")
    bench = open_bench(page, workspace)  # kept, as the keys are
    expect(act(bench, "Accept").locator("kbd")).to_be_hidden()
    page.keyboard.type("a?rs1ejk")
    act(bench, "Reject").click()
    page.keyboard.type("1")
    expect(bench.locator(".ds-reasons")).to_be_visible()
    page.keyboard.press("Escape")
    act(bench, "Accept").click()
    expect(bench.locator(".ds-prompt")).to_have_text("Question number 1?")
    page.keyboard.press("Control+z")  # no character key
    expect(bench.locator(".ds-prompt")).to_have_text("Question number 0?")
    expect(bench.locator(".ds-save")).to_have_text("Saved")
    assert statuses(running_app, workspace) == ["pending"] * 4
    bench.get_by_role("button", name="Keys").click()
    keys.get_by_label("Letter, digit and sign keys").check()
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    expect(bench.locator(".ds-prompt")).to_have_text("Question number 1?")


@pytest.mark.slow
def test_what_is_spoken_and_in_what_order(page: Page, running_app: RunningApp) -> None:
    made = make_pairs(3)
    made[0] = made[0].model_copy(
        update={"messages": (made[0].messages[0].model_copy(update={"content": "Long? " * 3000}),)}
    )
    workspace = make_workspace(running_app.home, made)
    running_app.call("labelling_save_guidelines", workspace=workspace, text="# Be kind")
    bench = open_bench(page, workspace)
    prompt = bench.locator(".ds-prompt")
    expect(prompt).to_have_attribute("tabindex", "0")  # it scrolls
    guide = bench.locator(".ds-guide")
    order = "node => [...node.parentElement.children].indexOf(node)"
    assert guide.evaluate(order) == 1  # beside the task
    page.keyboard.press("g")
    expect(guide).not_to_have_attribute("open", "")
    expect(bench.locator(".ds-guide:first-child")).to_have_count(1)  # above it
    levels = bench.locator("h3, h4, h5, h6").evaluate_all(
        "all => all.filter(n => n.offsetParent).map(n => Number(n.tagName[1]))"
    )
    assert levels[0] == 3  # the page's own is 2
    assert all(b <= a + 1 for a, b in pairwise(levels))
    loud = bench.locator("button kbd:not([aria-hidden=true])")
    assert loud.count() == 0
    page.keyboard.press("a")
    expect(prompt).to_have_text("Question number 1?")
    expect(prompt).not_to_have_attribute("tabindex", "0")
    expect(bench.locator(".ds-saving [role=status]")).to_have_text("All decisions saved.")
    page.keyboard.press("e")
    page.get_by_label("Edited answer").press("Control+End")
    page.keyboard.type(" indeed")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("k")
    bench.get_by_text("What the edit changed").click()
    said = page.locator("#review-bench .ds-diff").first
    expect(said.locator("ins")).to_have_text(" indeed")
    page.keyboard.press("r")
    group = page.get_by_role("group", name="Reason for rejecting")
    expect(group.get_by_role("button", name="Wrong language", exact=True)).to_be_visible()


@pytest.mark.slow
def test_suggestions_are_shown_and_the_digit_marked(page: Page, running_app: RunningApp) -> None:
    params = {
        "verified": {"ok": False, "reason": "says 41, not 42"},
        "judged": {"judge": "j", "reason": "It skips the <b>second</b> step."},
    }
    workspace = make_workspace(running_app.home, make_pairs(2, params=params, judge_score=2.5))
    bench = open_bench(page, workspace)
    expect(bench.locator(".ds-meta")).to_contain_text("Verifier: fails")
    expect(bench.locator(".ds-says")).to_contain_text("says 41, not 42")
    expect(bench.locator(".ds-says")).to_contain_text("It skips the <b>second</b> step.")
    page.keyboard.press("r")
    marked = bench.locator(".ds-reasons .suggested")
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("Wrong or made up")
    page.keyboard.press("Escape")
    assert statuses(running_app, workspace) == ["pending"] * 2  # it decides nothing


@pytest.mark.slow
def test_mathematics_is_drawn(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(1, answer=MATHS))
    bench = open_bench(page, workspace)
    answer = bench.locator(".ds-record > .ds-text")
    expect(answer).to_have_class("ds-text ds-rendered")
    assert answer.locator("math").count() == 3
    parts = answer.locator("mfrac > *")
    above, below = (part.bounding_box() for part in parts.all()[:2])
    assert above is not None
    assert below is not None
    assert above["y"] + above["height"] <= below["y"] + 1  # a fraction, not a row
    expect(answer).to_contain_text("cost $5 and $6.")
    expect(answer.locator("code.math")).to_have_text("$\\unknown{x}$")
    page.keyboard.press("m")
    assert answer.evaluate("node => node.textContent") == MATHS
