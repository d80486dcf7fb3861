"""The way back in Chromium: what a student lost goes to Prefer and becomes new seeds."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from distill_studio.core.records.seed import Message
from distill_studio.core.records.suite import SuiteItem
from tests.browser.bench_data import make_pairs, make_workspace
from tests.stub_openai import Answer, StubServer, completion

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
BOX = "#evaluate-back"
EVIL = "<img src=x onerror=window.pwned=1>"
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Peru": "Lima", "Spain": "Madrid",
    "Egypt": "Cairo", "Norway": "Oslo", "Ghana": "Accra", "Chile": "Santiago", "Cuba": "Havana",
}  # fmt: skip
NEW = [
    "In which city does the government of Norway sit, and since when?",
    "Name the largest lake of Finland and say how deep it is.",
]


def question(land: str) -> str:
    return f"What is the capital of {land}? {EVIL}"


def practised() -> int:
    """How many of the questions are of the practice half."""
    messages = [(Message(role="user", content=question(land)),) for land in CAPITALS]
    items = [SuiteItem(number=0, messages=one, reference="x") for one in messages]
    return sum(item.is_practice for item in items)


def reply(body: dict[str, Any]) -> Answer:
    """The right city of a question; a list where one is asked for."""
    asked = body["messages"][-1]["content"]
    if "numbered list" in asked:
        return Answer(completion("\n".join(f"{n}. {text}" for n, text in enumerate(NEW, 1))))
    right = next((city for land, city in CAPITALS.items() if land in asked), "")
    text = right if body["model"] == "right" else f"Atlantis {EVIL}"
    return Answer(completion(text), delay_s=0.4)  # the page looks before all are in


def test_losses_become_comparisons_and_seeds(
    page: Page, running_app: RunningApp, tmp_path: Path
) -> None:
    workspace = make_workspace(running_app.home, make_pairs(1))
    file = tmp_path / "capitals.jsonl"
    rows = [{"prompt": question(land), "reference": city} for land, city in CAPITALS.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with closing(StubServer(reply)) as server:
        for model in ("right", "wrong"):
            teacher = {"name": model, "kind": "openai", "model": model, "base_url": server.url}
            running_app.call("teachers_save", workspace=workspace, teacher=teacher)
        page.goto(f"/?tab=evaluate&workspace={workspace}")
        page.get_by_role("button", name="Suites: scores on prompts").click()
        page.get_by_role("button", name="What a student lost").click()
        expect(page.locator(f"{BOX}-empty")).to_contain_text("Score a student beside its teacher")
        page.get_by_role("button", name="Add a suite").click()
        page.locator("#evaluate-suite-file input[type=file]").set_input_files(file)
        page.locator("#evaluate-suite-scorer input").click()
        page.get_by_role("option", name="Exact").click()
        expect(page.locator("#evaluate-suite-file")).to_contain_text("capitals")
        page.locator("#evaluate-suite-add").click()
        expect(page.locator("#evaluate-suite-said")).to_contain_text("capitals: 10 prompts.")
        models = page.locator("#evaluate-suite-models")
        models.locator(".token").first.wait_for()
        while models.locator(".token").count():
            models.locator(".token .token-remove").first.click()
        for model in ("right", "wrong"):
            models.locator("input").fill(model)
            page.get_by_role("option", name=model).first.click()
        page.keyboard.press("Escape")
        page.locator("#evaluate-suite-run").click()
        lost = page.locator(f"{BOX}-lost")
        expect(page.locator("#evaluate-suite-result")).to_contain_text(
            "10 prompts that all models answered", timeout=120_000
        )
        expect(lost).to_contain_text(
            f"wrong did worse than right on {practised()} of {practised()} prompts", timeout=60_000
        )
        examples = page.locator(f"{BOX}-examples details")
        expect(examples).to_have_count(3)
        examples.first.locator("summary").click()
        expect(examples.first).to_contain_text(f"Atlantis {EVIL}")
        page.locator(f"{BOX}-each input").fill("1")
        page.locator(f"{BOX}-write").click()
        expect(page.locator(f"{BOX}-jobs")).to_contain_text("done", timeout=120_000)
    found = running_app.call("seeds_page", workspace=workspace, source="way back: capitals")
    assert sorted(seed["messages"][0]["content"] for seed in found) == sorted(NEW)
    send = page.locator(f"{BOX}-prefer")
    expect(send).to_have_text(f"Into Prefer ({practised()})")
    send.click()
    expect(send).to_have_text("Into Prefer (0)")
    expect(lost).to_contain_text(f"{practised()} lost prompts became preferences")
    page.goto(f"/?tab=prefer&workspace={workspace}")
    bench = page.locator("#prefer-bench")
    expect(bench.locator(".ds-prompt")).to_contain_text("What is the capital of")
    page.keyboard.press("1")
    expect(bench.locator(".ds-save")).to_have_text("Saved")
    assert page.evaluate("window.pwned") is None
