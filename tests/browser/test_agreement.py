"""Agreement under the benches in Chromium: what to do when empty, figures, downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from distill_studio.core.records import Decision, DecisionKind, Outcome, Vote
from distill_studio.store import decisions, preferences
from distill_studio.store.database import Database
from tests.browser.bench_data import make_pairs, make_workspace

if TYPE_CHECKING:
    from tests.conftest import RunningApp

pytestmark = pytest.mark.browser
HOSTILE_NAME = "<img src=x onerror=window.pwned=1>"


def open_box(page: Page, tab: str, workspace: str) -> None:
    page.goto(f"/?tab={tab}&workspace={workspace}")
    opener = page.locator(f"#{tab}-agreement-box button").first
    expect(opener).to_be_visible()
    opener.dispatch_event("click")  # a click would wait until the bench above has settled


@pytest.mark.slow
def test_empty_pages_say_what_to_do(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(2, candidates=2))
    open_box(page, "review", workspace)
    expect(page.locator("#review-agreement")).to_contain_text("Nobody has decided")
    open_box(page, "prefer", workspace)
    expect(page.locator("#prefer-ranking")).to_contain_text("No two models")


@pytest.mark.slow
def test_figures_of_two_people(page: Page, running_app: RunningApp) -> None:
    made = make_pairs(6, candidates=2)
    workspace = make_workspace(running_app.home, made)
    database = Database(running_app.home / "workspaces" / workspace / "studio.duckdb")
    for user in ("ann", HOSTILE_NAME):
        kinds = [DecisionKind.ACCEPT if n % 3 else DecisionKind.REJECT for n in range(len(made))]
        decisions.record(
            database,
            user,
            [Decision(id=str(uuid4()), pair_id=p.id, kind=k)
             for p, k in zip(made, kinds, strict=True)],
        )  # fmt: skip
        tasks = [
            {"id": str(uuid4()), "seed_id": a.seed_id, "left_pair_id": a.id,
             "right_pair_id": b.id, "user_name": user}
            for a, b in zip(made[::2], made[1::2], strict=True)
        ]  # fmt: skip
        preferences.add_tasks(database, tasks)
        outcomes = [Outcome.LEFT if n else Outcome.RIGHT for n in range(len(tasks))]
        preferences.record_votes(
            database,
            user,
            [Vote(id=str(uuid4()), task_id=t["id"], outcome=o)
             for t, o in zip(tasks, outcomes, strict=True)],
        )  # fmt: skip
    database.close()

    open_box(page, "review", workspace)
    everybody = page.locator("#review-agreement tbody tr").first
    expect(everybody).to_contain_text("100%")
    expect(page.locator("#review-agreement tbody tr").nth(2)).to_contain_text("even")
    expect(page.locator("#review-people tbody tr")).to_have_count(2)
    expect(page.locator("#review-people")).to_contain_text(HOSTILE_NAME)
    with page.expect_download() as got:
        page.locator("#review-agreement a", has_text="CSV").click()
    assert got.value.suggested_filename == "agreement-decisions.csv"
    assert got.value.path().read_text().startswith("scope,name,people")

    open_box(page, "prefer", workspace)
    ranking = page.locator("#prefer-ranking")
    expect(ranking).to_contain_text("From 12 comparisons of people")
    page.locator("#prefer-ranking-sources input").click()
    page.get_by_role("option", name="Judges").click()
    expect(ranking).to_contain_text("No two models")
    assert page.evaluate("window.pwned") is None
