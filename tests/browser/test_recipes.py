"""Recipes of several steps on the Generate tab: options, texts, dry run, run; and servers."""

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.bench_data import HOSTILE, make_pairs, make_workspace
from tests.browser.forms import enter
from tests.conftest import RunningApp, StartApp
from tests.stub_openai import Answer, StubServer, completion

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SUBJECTS = (
    "Describe how bread rises|Name three rivers of Europe|Explain why leaves turn red",
    "Compare tea with coffee|Suggest a title for a novel on whales|Tell what a lighthouse is for",
    "List five uses of salt|Invent a riddle whose answer is snow|Outline a week of running",
    "Define the word irony|Translate good morning into Spanish|Rank the planets by size",
    "Argue against homework|Summarise how vaccines work|Compose a haiku on rust",
)


FAKE_VLLM = f"""#!{sys.executable}
import http.server, pathlib, sys, time
print("Loading the weights", flush=True)
go_on = pathlib.Path(sys.argv[0]).with_name("go-on")
while not go_on.exists():
    time.sleep(0.1)
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args): pass
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Healthy).serve_forever()
"""


class Writer:
    """A teacher that writes new instructions when asked for some, and hostile answers else.

    None of its instructions is a classification task or works on an input.
    """

    def __init__(self) -> None:
        self.lists = 0
        self._lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Answer:
        asked = body["messages"][-1]["content"]
        if "Is it a classification task?" in asked:
            return Answer(completion("No."))
        if asked.startswith("A task:"):
            return Answer(completion("Input: none"))
        if "new instructions" not in asked:
            return Answer(completion(f"{HOSTILE} to: {asked}"), delay_s=0.1)
        with self._lock:
            subjects = SUBJECTS[self.lists % len(SUBJECTS)].split("|")
            self.lists += 1
        hostile = f"Say what {HOSTILE.splitlines()[0][:32]} does."
        lines = [*(f"{each}." for each in subjects), hostile, "Draw a picture of a cat."]
        numbered = "\n".join(f"{n}. {line}" for n, line in enumerate(lines, start=7))
        return Answer(completion(numbered))


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer(Writer())
    yield server
    server.close()


@pytest.fixture
def workspace(running_app: RunningApp, stub: StubServer) -> str:
    """Five seeds, the stub as teacher, and one accepted pair."""
    (pair,) = make_pairs(1)
    name = make_workspace(running_app.home, [pair])
    decision = {"id": "decision-1", "pair_id": pair.id, "kind": "accept"}
    running_app.call("review_decide", workspace=name, decisions=[decision])
    prompts = "\n".join(f"What is the capital of country {i}?" for i in range(5))
    running_app.call("seeds_add", workspace=name, text=prompts, one_per_line=True)
    teacher = {"name": "Stub", "kind": "openai", "model": "stub-1", "base_url": stub.url}
    running_app.call("teachers_save", workspace=name, teacher=teacher)
    return name


def open_form(page: Page, workspace: str) -> None:
    """The Generate tab with the stub as the only teacher."""
    page.goto(f"/?tab=generate&workspace={workspace}")
    page.locator("#generate-teachers").get_by_label("Stub", exact=True).check()
    page.locator("#generate-teachers").get_by_label("SmolLM2").uncheck()


def choose(page: Page, recipe: str) -> None:
    page.locator("#generate-recipe").get_by_label(recipe, exact=True).check()


def fill(page: Page, elem_id: str, value: str) -> None:
    box = page.locator(f"#{elem_id} input, #{elem_id} textarea").first
    box.fill(value)
    box.blur()


def run_button(page: Page) -> Locator:
    return page.locator("button#generate-run")


def assert_no_script_ran(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    assert page.locator("#btn-accept").count() == 0


def test_self_instruct_from_options_to_new_seeds(
    page: Page, running_app: RunningApp, stub: StubServer, workspace: str
) -> None:
    open_form(page, workspace)
    choose(page, "Self-Instruct")
    expect(page.locator("#generate-about")).to_contain_text("writes new ones")
    count = page.locator("#generate-number-0")
    expect(count).to_contain_text("New instructions per seed")
    expect(count.locator("input")).to_have_value("5")
    expect(page.locator("#generate-number-1")).to_contain_text("Too like")
    expect(page.locator("#generate-number-2")).to_contain_text("Instances per instruction")
    expect(page.locator("#generate-number-3")).to_be_hidden()
    expect(page.locator("#generate-n")).to_be_hidden()
    fill(page, "generate-number-0", "4")
    expect(run_button(page)).to_be_disabled()
    expect(page.locator("#generate-count")).to_contain_text("Try it first")

    edit_text(page)
    try_it(page, stub)

    assert running_app.call("generate_jobs", workspace=workspace) == []
    assert len(running_app.call("seeds_page", workspace=workspace)) == 5  # nothing is stored
    run_button(page).click()
    live = page.locator("#generate-live")
    expect(live).to_contain_text("done")
    expect(page.locator("#generate-replies li").first).to_contain_text("onerror=window.pwned=1")
    check_making(page.locator("#generate-replies li").first)
    assert_no_script_ran(page)
    (job,) = running_app.call("generate_jobs", workspace=workspace)
    pairs = running_app.call("generate_recent", workspace=workspace, job_id=job["id"], limit=100)
    seeds = running_app.call("seeds_page", workspace=workspace, limit=100)
    assert job["result"]["answered"] == len(pairs) >= 15
    assert {p["seed_id"] for p in pairs} <= {s["id"] for s in seeds}
    assert all(p["recipe_version"].startswith("2-edited-") for p in pairs)
    assert all(p["params"]["options"]["count"] == 4 for p in pairs)

    page.goto(f"/?tab=review&workspace={workspace}")
    check_making(page.locator("#review-bench .ds-record"))
    page.keyboard.press("j")
    expect(page.locator("#review-bench .ds-made")).to_be_hidden()  # the next record's is folded
    assert_no_script_ran(page)


def check_making(around: Locator) -> None:
    """The steps of an answer come when they are unfolded, as text."""
    made = around.locator(".ds-made")
    expect(made).to_be_empty()
    around.get_by_text("How this was made").click()
    expect(made).to_contain_text("Self-Instruct, version 2-edited-")
    expect(made).to_contain_text("What is the capital of country")  # the seed it comes from
    expect(made.locator("code").first).to_have_text("list")
    made.locator("details summary").first.click()
    expect(made.locator("details[open]")).to_contain_text("for a kind assistant")
    expect(made.locator("details[open]")).to_contain_text("Draw a picture of a cat.")


def edit_text(page: Page) -> None:
    """A text that lacks a field is refused in words; a good one is a new version."""
    page.locator("#generate-texts > button").click()
    box = page.locator("#generate-text textarea")
    expect(box).to_have_value(re.compile(r"\$\{instructions\}"))
    version = page.locator("#generate-text-version")
    expect(version).to_contain_text("version 2 ")
    shipped = box.input_value()
    enter(box, "Write something new.")
    page.locator("#generate-text-save").click()
    toast = page.locator("[data-testid=toast-body]").first
    expect(toast).to_contain_text("must hold")
    expect(toast).to_contain_text("${instructions}")
    expect(version).to_contain_text("version 2 ")
    box.fill(shipped.replace("for an assistant", "for a kind assistant"))
    page.locator("#generate-text-save").click()
    expect(version).to_contain_text("version 2-edited-")
    page.locator("#generate-texts > button").click()


def try_it(page: Page, stub: StubServer) -> None:
    """The dry run shows requests, replies and pairs as text, and frees the Run button."""
    expect(run_button(page)).to_be_disabled()
    page.locator("button#generate-try").click()
    panel = page.locator("#generate-trial")
    expect(panel).to_contain_text("nothing is stored", timeout=120_000)
    assert any("for a kind assistant" in prompt for prompt in stub.prompts())
    expect(panel.locator("ol.ds-replies > li")).to_have_count(3)
    first = panel.locator("ol.ds-replies > li").first
    expect(panel.locator(".ds-tried", has_text="userDescribe how bread rises.")).to_have_count(1)
    expect(first).to_contain_text("onerror=window.pwned=1")
    first.locator("summary").last.click()
    expect(first.locator("details[open] code").first).to_have_text("list")
    expect(first.locator("details[open]")).to_contain_text("Draw a picture of a cat.")
    assert_no_script_ran(page)
    expect(run_button(page)).to_be_enabled()
    expect(run_button(page)).to_have_text("Start 5 runs")


def test_examples_and_judge(page: Page, workspace: str) -> None:
    open_form(page, workspace)
    judge = page.locator("#generate-judge")
    expect(judge).to_be_hidden()
    page.locator("#generate-preview-box > button").click()
    preview = page.locator("#generate-preview")
    expect(preview).to_contain_text("capital of country 0")
    expect(preview).not_to_contain_text("variant 0")
    page.locator("#generate-more > button").click()
    enter(page.locator("#generate-examples input").first, "2")
    expect(preview).to_contain_text("Answer 0 **variant 0**")
    for recipe, can_judge in (
        ("Evol-Instruct", True),
        ("Self-Instruct", False),
        ("Ensemble of teachers", True),
        ("Direct answer", False),
    ):
        choose(page, recipe)
        expect(judge).to_be_visible(visible=can_judge)


def test_servers(page: Page, start_app: StartApp, tmp_path: Path) -> None:
    """What the panel shows without vLLM, while a server loads, when ready, at the end."""
    program = tmp_path / "python"
    app = start_app(tmp_path / "home", {"DISTILL_STUDIO_VLLM_PYTHON": str(program)})
    app.call("seeds_add", text="What is salt?", one_per_line=True)
    page.goto(f"{app.url}/?tab=generate")
    page.locator("#generate-server > button").click()
    start, view = page.locator("#generate-server-start"), page.locator("#generate-server-view")
    start.click()
    expect(page.locator("[data-testid=toast-body]").first).to_contain_text("vLLM is not installed")
    expect(page.locator("#generate-server-stop")).to_be_hidden()

    program.write_text(FAKE_VLLM, encoding="utf-8")
    program.chmod(0o755)
    model = tmp_path / "model"  # passes for one until somebody loads it
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    fill(page, "generate-server-model", str(model))
    fill(page, "generate-server-name", "<b>Fast</b>")
    start.click()
    expect(view).to_contain_text("starting")
    expect(view).to_contain_text("<b>Fast</b>")
    expect(view.locator("pre")).to_contain_text("Loading the weights")
    (tmp_path / "go-on").touch()
    expect(view.locator(".ds-chip")).to_have_text("ready")
    expect(page.locator("#generate-teachers").get_by_label("<b>Fast</b>")).to_be_checked()
    page.locator("#generate-server-stop").click()
    expect(view.locator(".ds-chip")).to_have_text("stopped")
    page.locator("#generate-server-forget").click()
    expect(view.locator(".ds-chip")).to_have_count(0)
    assert len(app.call("teachers_page")) == 1  # the app's own
