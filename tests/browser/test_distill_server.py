"""A teacher behind a vLLM server, chosen on the Distill tab; pre-flight says what it needs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.teachers.models import resolve_model
from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import await_filled
from tests.stub_openai import Answer, StubServer, failure

pytestmark = pytest.mark.browser
MODEL = "smollm2-135m-instruct"
FOUND_MS = 120_000


@pytest.fixture
def stub(starter_cache: Path) -> Iterator[StubServer]:
    """Cuts text as the starter model does; allows twenty log-probabilities, as vLLM by default."""
    chat = ChatTokenizer.load(resolve_model(MODEL, starter_cache))

    def behave(body: dict[str, Any]) -> Answer:
        k, prompt = body["prompt_logprobs"], body["prompt"]
        if k > 20:
            said = f"Requested prompt logprobs of {k}, which is greater than max allowed: 20"
            return failure(400, said)
        ids = chat.encode(prompt)
        place = {str(i): {"logprob": -3.0 - i, "rank": i + 1} for i in range(k)}
        places = [None] + [place] * (len(ids) - 1)
        choice = {"text": "x", "prompt_token_ids": ids, "prompt_logprobs": places}
        return Answer({"choices": [choice]})

    server = StubServer(behave)
    server.owner = "vllm"
    yield server
    server.close()


@pytest.fixture
def space(running_app, stub: StubServer) -> str:
    name = make_workspace(running_app.home, make_pairs(8))
    for pair in running_app.call("review_page", workspace=name, query={"limit": 8}):
        decision = {"id": f"d-{pair['id']}", "pair_id": pair["id"], "kind": "accept"}
        running_app.call("review_decide", workspace=name, decisions=[decision])
    running_app.call("freeze_create", workspace=name, name="snap", format="prompt_completion")
    teacher = {"name": "Big one", "kind": "openai", "model": "stub-1", "base_url": stub.url}
    running_app.call("teachers_save", workspace=name, teacher=teacher)
    return name


@pytest.mark.slow
def test_a_server_is_chosen_as_teacher(page: Page, space: str) -> None:
    page.goto(f"/?tab=distill&workspace={space}")
    await_filled(page, "distill", space)
    page.locator("#distill-method").get_by_text("Logit distillation").click()
    online = page.get_by_label("at each update")
    expect(online).to_be_checked()
    page.locator("#distill-teacher input").click()
    page.get_by_role("option", name="Big one, by its server").click()
    expect(page.get_by_label("once: store the top-k and their tail")).to_be_checked()
    findings = page.locator("#distill-findings")
    expect(findings).to_contain_text("--max-logprobs 64", timeout=FOUND_MS)
    start = page.locator("button#distill-start")
    expect(start).to_be_disabled()
    box = page.locator("#distill-top-k").locator("input, textarea").first
    box.fill("16")
    box.blur()
    expect(findings).to_contain_text("tells the top 16 of each token", timeout=FOUND_MS)
    expect(start).to_be_enabled()
    online.click()
    expect(findings).to_contain_text("cannot be asked at each update", timeout=FOUND_MS)
    expect(start).to_be_disabled()
