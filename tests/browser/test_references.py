"""Against another dataset, and within one topic, in Chromium with the real embedding model."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from distill_studio.core.records import Message, Pair
from tests.browser.bench_data import HOSTILE, make_workspace
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(900)]

LONG_MS = 240_000  # a model loads and reads
BEES = "Bees make honey from the nectar of flowers and store it in combs of wax for the winter."
SHIPS = "A ship floats because the water that it pushes aside weighs as much as the whole ship."
HONEY = "How do bees make honey?"


def make_rows(*rows: tuple[str, str, str]) -> list[Pair]:
    return [
        Pair(
            seed_id=f"seed-{k}",
            messages=(Message(role="user", content=prompt),),
            answer=answer,
            topic=topic,
            job_id="job",
        )
        for k, (prompt, answer, topic) in enumerate(rows)
    ]


def test_another_dataset_is_added_compared_looked_at_and_heeded(
    page: Page, running_app: RunningApp, tmp_path: Path
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    workspace = make_workspace(
        running_app.home,
        make_rows(
            (HONEY, BEES.replace("store it", "keep it"), ""),
            (f"Show {HOSTILE}", f"Here: {HOSTILE}", ""),
            ("Why do ships float?", SHIPS, ""),
        ),
    )
    other = make_workspace(running_app.home, make_rows(("Why do ships float?", SHIPS.upper(), "")))
    file = tmp_path / "held_out.jsonl"
    held_out = [(HONEY, BEES), (f"show {HOSTILE}", f"here: {HOSTILE}"), ("What is rain?", "Water.")]
    file.write_text("\n".join(json.dumps({"prompt": p, "answer": a}) for p, a in held_out))

    page.goto(f"/?tab=curate&workspace={workspace}")
    apply = page.locator("#curate-apply")
    expect(apply).to_have_text("Nothing to change", timeout=LONG_MS)
    page.locator("#curate-reference-box > button").first.click()
    sets, position = (
        page.locator("#curate-reference-sets"),
        page.locator("#curate-reference-position"),
    )
    expect(sets).to_contain_text("Nothing to compare with yet")
    page.locator("#curate-reference-upload input[type=file]").set_input_files(file)
    expect(page.locator("#curate-reference-upload")).to_contain_text("held_out")
    page.locator("button#curate-reference-add").click()
    expect(page.locator("#curate-reference-said")).to_contain_text("3 rows, none of which becomes")
    expect(sets).to_contain_text("equal texts only")
    expect(position).to_contain_text("1 of 1")
    expect(page.locator("#curate-reference-pair")).to_contain_text("the same text")
    expect(apply).to_have_text("Remove 1 of 3")

    page.locator("button#curate-reference-compare").click()
    expect(position).to_contain_text("1 of 2", timeout=LONG_MS)
    expect(page.locator("#curate-reference-pair ins").first).to_contain_text("store")
    expect(page.locator("#curate-reference-pair del").first).to_contain_text("keep")
    page.locator("button#curate-reference-next").click()
    expect(position).to_contain_text("2 of 2")
    expect(apply).to_have_text("Remove 2 of 3")

    page.locator("#curate-reference-workspace input").click()
    page.get_by_role("option", name=other, exact=True).click()
    page.locator("button#curate-reference-add-workspace").click()
    expect(sets).to_contain_text(f"workspace {other}")
    expect(apply).to_have_text("Remove 3 of 3")
    page.locator("button#curate-reference-delete").click()
    expect(apply).to_have_text("Remove 2 of 3")

    apply.click()
    expect(page.locator("#curate-state")).to_contain_text("2 filtered")
    expect(page.locator("#curate-report")).to_contain_text("near another dataset")
    expect(page.locator("#curate-reference-which input")).to_have_value("held_out")
    page.locator("button#curate-reference-delete").click()
    expect(sets).to_contain_text("Nothing to compare with yet")
    expect(apply).to_have_text("Put 2 rows back")
    apply.click()
    expect(page.locator("#curate-state")).to_contain_text("3 kept")
    assert page.evaluate("window.pwned") is None
    assert errors == []


def test_within_one_topic_rows_of_other_topics_stay(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(
        running_app.home,
        make_rows(
            (HONEY, BEES, "nature"),
            (HONEY, BEES.upper(), "nature"),
            (HONEY, BEES, "kitchen"),
            ("Why do ships float?", SHIPS, "physics"),
        ),
    )
    page.goto(f"/?tab=curate&workspace={workspace}")
    apply = page.locator("#curate-apply")
    expect(apply).to_have_text("Remove 2 of 4", timeout=LONG_MS)
    page.locator("#curate-within-topic input").check()
    expect(apply).to_have_text("Remove 1 of 4")
    apply.click()
    expect(page.locator("#curate-state")).to_contain_text("1 duplicates")
    page.reload()
    expect(page.locator("#curate-within-topic input")).to_be_checked()
    page.locator("#curate-within-topic input").uncheck()
    expect(apply).to_have_text("Remove 2 of 4")
    rows = running_app.call("review_page", workspace=workspace, query={"limit": 100})
    kept = {row["topic"] for row in rows if row["curation"] == "kept"}
    assert kept == {"nature", "kitchen", "physics"}
