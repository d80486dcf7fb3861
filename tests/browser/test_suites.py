"""Suites in Chromium: a file becomes a suite, real models are scored, by themselves and a judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from distill_studio.judge import load_rubric
from tests.browser.bench_data import make_pairs, make_workspace
from tests.stub_openai import Answer, StubServer, completion

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow]
BOX = "#evaluate-suite"
CAPITALS = [("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo")]


def choose(page: Page, menu: str, option: str) -> None:
    """One option of a Gradio dropdown."""
    page.locator(f"{menu} input").click()
    page.get_by_role("option", name=option).first.click()


def test_a_file_becomes_a_suite_and_a_model_is_scored(
    page: Page, running_app: RunningApp, tmp_path: Path
) -> None:
    workspace = make_workspace(running_app.home, make_pairs(1))
    file = tmp_path / "capitals.jsonl"
    rows = [
        {"prompt": f"The capital of {land} is", "reference": city, "topic": land[0],
         "choices": [city, "<img src=x onerror=window.pwned=1>", "xqzt vvw"]}
        for land, city in CAPITALS
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page.goto(f"/?tab=evaluate&workspace={workspace}")
    page.get_by_role("button", name="Suites: scores on prompts").click()
    expect(page.locator(f"{BOX}-empty")).to_contain_text("No suite yet")
    page.get_by_role("button", name="Add a suite").click()
    page.locator(f"{BOX}-file input[type=file]").set_input_files(file)
    choose(page, f"{BOX}-scorer", "Multiple choice")
    expect(page.locator(f"{BOX}-file")).to_contain_text("capitals")
    page.locator(f"{BOX}-add").click()
    expect(page.locator(f"{BOX}-said")).to_contain_text("capitals: 3 prompts.")
    page.locator(f"{BOX}-run").click()
    result = page.locator(f"{BOX}-result")
    expect(result).to_contain_text("3 prompts that all models answered", timeout=180_000)
    expect(result).to_contain_text("against the teacher", ignore_case=True)
    prompt = page.locator(f"{BOX}-prompt")
    expect(prompt).to_contain_text("The capital of France is")
    page.locator(f"{BOX}-next").click()
    expect(prompt).to_contain_text("The capital of Italy is")
    expect(prompt.locator("tbody tr")).to_have_count(2)  # teacher and base
    page.reload()
    page.get_by_role("button", name="Suites: scores on prompts").click()
    expect(result).to_contain_text("3 prompts that all models answered")
    assert page.evaluate("window.pwned") is None


def test_a_judge_is_chosen_warned_of_and_named(
    page: Page, running_app: RunningApp, tmp_path: Path
) -> None:
    """The stub judges two answers of real models, and writes what nobody can read of one more."""

    def judged(body: dict) -> Answer:
        if "stone" in body["messages"][-1]["content"]:
            return Answer(completion("Splendid! <img src=x onerror=window.pwned=1>"))
        scores = {aspect.name: 4 for aspect in load_rubric().aspects}
        return Answer(completion(json.dumps({"reason": "right but for a slip", **scores})))

    stub = StubServer(judged)
    workspace = make_workspace(running_app.home, make_pairs(1))
    judge = {"name": "strict", "kind": "openai", "model": "SmolLM3-judge", "base_url": stub.url}
    running_app.call("teachers_save", workspace=workspace, teacher=judge)
    file = tmp_path / "why.jsonl"
    prompts = ["Why is the sky blue?", "Why is a stone grey?"]
    file.write_text("".join(json.dumps({"prompt": one}) + "\n" for one in prompts) + "{ no <b>JSON")
    page.goto(f"/?tab=evaluate&workspace={workspace}")
    page.get_by_role("button", name="Suites: scores on prompts").click()
    page.get_by_role("button", name="Add a suite").click()
    page.locator(f"{BOX}-file input[type=file]").set_input_files(file)
    choose(page, f"{BOX}-scorer", "Judge: a teacher scores")
    expect(page.locator(f"{BOX}-file")).to_contain_text("why")
    page.locator(f"{BOX}-add").click()
    said = page.locator(f"{BOX}-said")
    expect(said).to_contain_text("why: 2 prompts.")
    expect(said).to_contain_text("1 row cannot go in")
    expect(said.locator("tbody tr td").first).to_have_text("3")
    choose(page, f"{BOX}-judge", "strict")
    expect(page.locator(f"{BOX}-warning")).to_contain_text("of one family, SmolLM")
    page.locator(f"{BOX}-tokens input[type=number]").fill("8")
    page.locator(f"{BOX}-tokens input[type=number]").press("Tab")
    page.locator(f"{BOX}-run").click()
    result = page.locator(f"{BOX}-result")
    expect(result).to_contain_text("1 more that some model lacks: ask again", timeout=180_000)
    expect(result).to_contain_text("Judged by strict (SmolLM3-judge) with Scores by rubric")
    expect(result).to_contain_text("75.0%")
    page.locator(f"{BOX}-next").click()
    expect(page.locator(f"{BOX}-prompt")).to_contain_text("It wrote: Splendid! <img")
    assert page.evaluate("window.pwned") is None
    stub.close()
