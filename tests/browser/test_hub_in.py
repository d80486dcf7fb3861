"""A dataset of the Hub on the Seeds tab, and a collection on Curate, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.bench_data import make_pairs, make_workspace
from tests.browser.forms import enter
from tests.conftest import RunningApp
from tests.fake_hub import FakeHub
from tests.hub_data import card, jsonl, parquet, put

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SLUG = "ann/benchmarks-64f9a55bb3115b4f513ec026"
EVIL = "<img src=x onerror=\"window.pwned='img'\"> ${window.pwned='template'}"
CARD = """license: mit
configs:
- config_name: easy
  data_files:
  - split: train
    path: easy/*.parquet
- config_name: hard
  data_files:
  - split: train
    path: hard/train.parquet
  - split: test
    path: hard/test.parquet
"""


def rows(word: str, count: int) -> list[dict[str, str]]:
    return [{"q": f"{word} {n}? {EVIL}", "answer": f"{n} {EVIL}"} for n in range(count)]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    files = {
        "README.md": card(CARD),
        "easy/0.parquet": parquet(rows("Easy", 5)),
        "hard/train.parquet": parquet(rows("Hard", 300)),
        "hard/test.parquet": parquet(rows("Test", 7)),
    }
    put(hub.add("ann/sums"), files)
    put(hub.add("ann/plain"), {"test.jsonl": jsonl([{"question": "Is it so?", "answer": "Yes."}])})
    listed = [
        ("dataset", "ann/plain", "Short"),
        ("dataset", "ann/gone", ""),
        ("model", "ann/m", ""),
    ]
    hub.collect(SLUG, "Benchmarks <b>of ann</b>", listed)
    yield hub
    hub.close()


@pytest.fixture
def app(hub: FakeHub, start_app, tmp_path: Path) -> RunningApp:
    return start_app(tmp_path / "home", hub.environment() | {"HF_HOME": str(tmp_path / "hf")})


@pytest.fixture
def tab(chromium: Browser, app: RunningApp) -> Iterator[Page]:
    context = chromium.new_context(base_url=app.url, viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(120_000)
    yield context.new_page()
    context.close()


def choose(page: Page, box: str, option: str) -> None:
    page.locator(f"#{box} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def test_paste_choose_look_import(tab: Page, app: RunningApp, hub: FakeHub, tmp_path: Path) -> None:
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto("/?tab=seeds")
    expect(tab.locator("#seeds-list")).to_contain_text("No prompts yet")
    tab.get_by_text("From the Hugging Face Hub").click()
    enter(tab.locator("#seeds-hub-dataset input, #seeds-hub-dataset textarea"), "ann/nothing")
    tab.locator("button#seeds-hub-look").click()
    expect(tab.locator(".toast-body")).to_contain_text("no 'ann/nothing' that everybody may see")
    tab.locator("#seeds-hub-dataset input, #seeds-hub-dataset textarea").fill(
        f"{hub.url}/datasets/ann/sums"
    )
    tab.locator("button#seeds-hub-look").click()
    facts = tab.locator("#seeds-hub-facts")
    expect(facts).to_contain_text(f"main is {hub.repo('ann/sums').head.id[:12]}")
    expect(facts).to_contain_text("licence mit")
    expect(tab.locator("#seeds-summary")).to_contain_text("ann/sums@")
    expect(tab.locator("#seeds-summary")).to_contain_text("No column holds prompts")
    expect(tab.locator("button#seeds-import")).to_be_disabled()

    choose(tab, "seeds-hub-config", "hard")
    expect(tab.locator("#seeds-summary")).to_contain_text("(hard, train)")
    choose(tab, "seeds-part-prompt", "q")
    expect(tab.locator("button#seeds-import")).to_have_text("Import 10,000 rows at most")
    expect(tab.locator("#seeds-summary")).to_contain_text("200 rows and more")
    choose(tab, "seeds-hub-split", "test")
    expect(tab.locator("#seeds-summary")).to_contain_text("(hard, test)")
    choose(tab, "seeds-part-prompt", "q")
    expect(tab.locator("button#seeds-import")).to_have_text("Import 7 prompts and 7 answers")
    expect(tab.locator("#seeds-examples")).to_contain_text("Test 0?")
    assert app.call("seeds_count") == 0
    for mode in ("light", "dark"):
        tab.evaluate("m => document.body.classList.toggle('dark', m === 'dark')", mode)
        tab.screenshot(path=tmp_path / f"hub-{mode}.png", full_page=True)
    tab.locator("button#seeds-import").click()
    expect(tab.locator("#seeds-result")).to_contain_text("7 new prompts and 7 new answers")
    expect(tab.locator("#seeds-list caption")).to_have_text("1 to 7 of 7 prompts")
    commit = hub.repo("ann/sums").head.id
    assert app.call("seeds_page")[0]["extra"]["from_hub"]["commit"] == commit
    assert tab.evaluate("window.pwned") is None
    assert errors == []


def test_a_collection_is_listed_and_added(tab: Page, app: RunningApp, tmp_path: Path) -> None:
    workspace = make_workspace(app.home, make_pairs(3))  # an empty one has nothing to check
    tab.goto(f"/?tab=curate&workspace={workspace}")
    expect(tab.locator("#curate-state")).to_contain_text("3 kept")
    tab.locator("#curate-leaks-box > button").first.click()
    tab.locator("#curate-leaks-collection-box > button").first.click()
    box = "#curate-leaks-collection input, #curate-leaks-collection textarea"
    enter(tab.locator(box), SLUG)
    tab.locator("button#curate-leaks-collection-look").click()
    held = tab.locator("#curate-leaks-collection-held")
    expect(held).to_contain_text("Benchmarks <b>of ann</b>")
    expect(held).to_contain_text("It is a model.")
    expect(tab.locator("#curate-leaks-collection-chosen input")).to_have_count(2)
    tab.locator("button#curate-leaks-collection-add").click()
    done = tab.locator("#curate-leaks-collection-done")
    expect(done).to_contain_text("added")
    expect(done).to_contain_text("The Hub has no 'ann/gone'")
    expect(tab.locator("#curate-leaks-packs")).to_contain_text("plain")
    for mode in ("light", "dark"):
        tab.evaluate("m => document.body.classList.toggle('dark', m === 'dark')", mode)
        tab.screenshot(path=tmp_path / f"collection-{mode}.png", full_page=True)
    assert [pack["name"] for pack in app.call("leaks_packs", workspace=workspace)] == ["plain"]
