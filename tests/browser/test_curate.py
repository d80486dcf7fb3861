"""The Curate tab in Chromium with the real embedding model: find, look, apply, undo."""

import pytest
from playwright.sync_api import Page, expect

from distill_studio.core.records import Message, Pair
from tests.browser.bench_data import HOSTILE, make_workspace
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.models]

BEES = "Bees make honey from the nectar of flowers and store it in combs of wax for the winter."
ROWS = [
    ("How do bees make honey?", BEES),
    ("How do bees make their honey?", BEES.replace("store it", "keep it")),
    ("how do bees make honey", BEES.upper()),
    ("Why do ships float?", "The water that a ship pushes aside weighs as much as the ship."),
    ("Tell me a secret.", "I'm sorry, but I can't help with that."),
    (f"Show {HOSTILE}", f"Here it is: {HOSTILE}"),
    (f"Please show {HOSTILE}", f"Here it is now: {HOSTILE}"),
]


def make_rows() -> list[Pair]:
    return [
        Pair(
            seed_id=f"seed-{k}",
            messages=(Message(role="user", content=prompt),),
            answer=answer,
            job_id="job",
            topic="even" if k % 2 == 0 else "odd",
        )
        for k, (prompt, answer) in enumerate(ROWS)
    ]


def curations(app: RunningApp, workspace: str) -> list[str]:
    rows = app.call("review_page", workspace=workspace, query={"limit": 100})
    return [row["curation"] for row in sorted(rows, key=lambda row: row["id"])]


@pytest.mark.slow
def test_find_look_apply_and_undo(page: Page, running_app: RunningApp) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    workspace = make_workspace(running_app.home, make_rows())
    page.goto(f"/?tab=curate&workspace={workspace}")
    expect(page.locator("#curate-state")).to_contain_text("7 kept")
    expect(page.locator("#curate-filters")).to_contain_text("Filters drop 1 of 7 rows.")
    expect(page.locator("#curate-apply")).to_have_text("Remove 2 of 7")  # refusal, same text

    page.locator("button#curate-find").click()
    expect(page.locator("#curate-jobs")).to_contain_text("done", timeout=120_000)
    expect(page.locator("#curate-apply")).to_have_text("Remove 4 of 7")
    expect(page.locator("#curate-facts")).to_contain_text("all-minilm-l6-v2")

    page.locator("#curate-list").get_by_text("Would go").click()
    expect(page.locator("#curate-position")).to_contain_text("1 of 3")
    page.locator("button#curate-next").click()
    expect(page.locator("#curate-position")).to_contain_text("2 of 3")
    expect(page.locator("#curate-pair ins, #curate-pair del").first).to_be_visible()

    page.locator("button#curate-keep_both").click()
    expect(page.locator("#curate-apply")).to_have_text("Remove 3 of 7")
    page.locator("#curate-list").get_by_text("Verdicts").click()
    expect(page.locator("#curate-position")).to_contain_text("1 of 1")
    expect(page.locator("#curate-pair")).to_contain_text("you said: keep both")
    page.locator("button#curate-clear").click()
    expect(page.locator("#curate-apply")).to_have_text("Remove 4 of 7")
    expect(page.locator("#curate-pair")).to_contain_text("No pairs in this list")
    page.locator("#curate-list").get_by_text("Would go").click()
    expect(page.locator("#curate-position")).to_contain_text("1 of 3")
    page.locator("button#curate-next").click()
    expect(page.locator("#curate-position")).to_contain_text("2 of 3")
    page.locator("button#curate-keep_both").click()
    expect(page.locator("#curate-apply")).to_have_text("Remove 3 of 7")

    page.locator("#curate-threshold input[type=number]").fill("0.99")
    expect(page.locator("#curate-apply")).to_have_text("Remove 2 of 7")
    page.locator("#curate-threshold input[type=number]").fill("0.9")
    expect(page.locator("#curate-apply")).to_have_text("Remove 3 of 7")
    page.locator("button#curate-apply").click()
    expect(page.locator("#curate-apply")).to_have_text("Nothing to change")
    assert (
        sorted(curations(running_app, workspace)) == ["duplicate"] * 2 + ["filtered"] + ["kept"] * 4
    )
    running_app.call("curate_apply", workspace=workspace, threshold=0.97, field="prompt")
    page.reload()
    expect(page.locator("#curate-threshold input[type=number]")).to_have_value("0.97")
    expect(page.locator("#curate-field").get_by_label("Prompt", exact=True)).to_be_checked()
    page.locator("button#curate-undo").click()
    expect(
        page.get_by_text("Took the last step back").first
    ).to_be_visible()  # 4 are kept before, too
    expect(page.locator("#curate-state")).to_contain_text("4 kept")
    expect(page.locator("#curate-threshold input[type=number]")).to_have_value("0.97")
    page.locator("button#curate-undo").click()
    expect(page.locator("#curate-state")).to_contain_text("7 kept")
    assert set(curations(running_app, workspace)) == {"kept"}
    assert page.evaluate("window.pwned") is None
    assert not errors


@pytest.mark.slow
def test_an_empty_workspace_says_where_to_go(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, [])
    page.goto(f"/?tab=curate&workspace={workspace}")
    expect(page.locator("#curate-nothing")).to_contain_text("Nothing to curate yet")
    page.locator("button#curate-to-generate").click()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")


@pytest.mark.slow
def test_the_fast_model_is_judged_before_it_is_used(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_rows())
    page.goto(f"/?tab=curate&workspace={workspace}")
    expect(page.locator("#curate-state")).to_contain_text("7 kept")
    expect(page.locator("#curate-agreement-box")).not_to_be_visible()
    page.locator("#curate-model input").click()
    page.get_by_role("option").filter(has_text="Fast").click()
    said = page.locator("#curate-agreement")
    expect(said).to_contain_text("not compared with the full model yet")

    page.locator("button#curate-measure-agreement").click()
    expect(said).to_contain_text("Set the threshold to", timeout=240_000)
    expect(said).to_contain_text("not comparable")
    expect(page.locator("#curate-facts")).to_contain_text("static:all-minilm-l6-v2")
    use = page.locator("button#curate-use-threshold")
    expect(use).to_contain_text("Set it to 0.")
    suggested = (use.text_content() or "").split()[-1]
    use.click()
    expect(use).to_contain_text(f"The threshold is {suggested}")
    expect(page.locator("#curate-threshold input[type=number]")).to_have_value(
        f"{float(suggested):g}"
    )
    page.locator("button#curate-apply").click()
    expect(page.locator("#curate-apply")).to_have_text("Nothing to change")
    in_force = running_app.call("curate_state", workspace=workspace)["settings"]
    assert in_force["model"] == "static:all-minilm-l6-v2"
    assert in_force["threshold"] == float(suggested)

    page.locator("#curate-model input").click()
    page.get_by_role("option").filter(has_text="Full").click()
    expect(page.locator("#curate-facts")).to_contain_text("Press Find")  # it has compared nothing
    expect(page.locator("#curate-agreement-box")).not_to_be_visible()
