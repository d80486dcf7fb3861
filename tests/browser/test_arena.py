"""The arena on Evaluate in Chromium: empty, a judge that votes, the ranking, what fails alone."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from distill_studio.core.records import Message
from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    Comparison,
    ModelCard,
    ModelRole,
)
from distill_studio.store import evaluations
from distill_studio.store.database import Database
from tests.browser.bench_data import make_workspace
from tests.stub_openai import Answer as HttpAnswer
from tests.stub_openai import StubServer, completion

if TYPE_CHECKING:
    from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HOSTILE = "<img src=x onerror=window.pwned=1>"
QUALITY = {"big": 3, "small": 2, HOSTILE: 1}


def first_place(body: dict[str, Any]) -> HttpAnswer:
    """A judge that likes what stands first, but for what is far better."""
    a, b = (int(q) for q in re.findall(r"of quality (\d)", body["messages"][-1]["content"]))
    better = "B" if b - a > 1 else "A"
    return HttpAnswer(completion(json.dumps({"reason": "because", "better": better})))


def fill(app: RunningApp, count: int) -> str:
    """A workspace with comparisons of three models."""
    workspace = make_workspace(app.home, [])
    database = Database(app.home / "workspaces" / workspace / "studio.duckdb")
    for number in range(count):
        evaluations.insert(
            database,
            Comparison(
                messages=(Message(role="user", content=f"Question {number}?"),),
                answers=tuple(
                    Answer(
                        card=ModelCard(id=f"teacher:{n}", label=n, role=ModelRole.TEACHER, model=n),
                        text=f"Answer {number} of quality {quality}",
                        state=AnswerState.DONE,
                    )
                    for n, quality in QUALITY.items()
                ),
            ),
        )
    database.close()
    return workspace


def open_arena(page: Page, workspace: str, theme: str = "light") -> None:
    page.goto(f"/?tab=evaluate&workspace={workspace}&__theme={theme}")
    page.locator("#evaluate-models .token").first.wait_for()
    page.locator("#evaluate-arena-box button").first.click()


def test_empty_says_what_to_do(page: Page, running_app: RunningApp):
    open_arena(page, fill(running_app, 0))
    expect(page.locator("#evaluate-arena-models")).to_contain_text("Nothing to rank yet")
    open_arena(page, fill(running_app, 2))
    expect(page.locator("#evaluate-arena-models")).to_contain_text("2 comparisons side by side")


def test_a_judge_votes_and_its_lean_is_said(page: Page, running_app: RunningApp):
    stub = StubServer(first_place)
    workspace = fill(running_app, 12)
    teacher = {"name": "court", "kind": "openai", "model": "small", "base_url": stub.url}
    running_app.call("teachers_save", workspace=workspace, teacher=teacher)
    open_arena(page, workspace)
    expect(page.locator("#evaluate-arena-warning")).to_contain_text("judges its own answers")
    page.locator("button#evaluate-arena-ask").click()
    judges = page.locator("#evaluate-arena-judges")
    expect(judges).to_contain_text("Leans to the answer shown first: 24 of its 24")
    models = page.locator("#evaluate-arena-models")
    expect(models).to_contain_text("From 36 votes of judges on 12 prompts: court (small) (36).")
    expect(models.locator("tbody").first.locator("tr")).to_have_count(3)
    expect(models).to_contain_text(HOSTILE)
    assert page.evaluate("window.pwned") is None
    with page.expect_download() as got:
        models.locator("a", has_text="CSV").first.click()
    assert got.value.suggested_filename == "arena.csv"
    assert "judge_votes,win_rate_value" in got.value.path().read_text().splitlines()[0]
    page.locator("#evaluate-arena-sources input").click()
    page.get_by_role("option", name="People", exact=True).click()
    expect(models).to_contain_text("No such votes")
    stub.close()
