"""A file in, frozen and out again, in a real browser; hostile text stays text."""

import json
import zipfile
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import enter

pytestmark = pytest.mark.browser
SPACE = "files"
EVIL = "<img src=x onerror=\"window.pwned='img'\"> ${window.pwned='template'} {{window.pwned}}"


@pytest.fixture
def space(running_app) -> str:
    """An empty workspace of this file's own."""
    return make_space(running_app, SPACE)


def make_space(running_app, name: str) -> str:
    token = running_app.server_file["token"]
    httpx.post(
        f"{running_app.url}/api/workspaces",
        json={"name": name},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    ).raise_for_status()
    return name


def import_rows(running_app, space: str, rows: list[dict]) -> None:
    """Import rows as a file, their answers accepted."""
    upload = httpx.post(
        f"{running_app.url}/api/uploads",
        params={"name": "r.jsonl"},
        content="\n".join(json.dumps(row) for row in rows),
        headers={"Authorization": f"Bearer {running_app.server_file['token']}"},
        trust_env=False,
    ).json()["upload_id"]
    running_app.call("seeds_import_file", workspace=space, upload_id=upload, mark_accepted=True)


def open_tab(page: Page, word: str, space: str = SPACE) -> None:
    page.goto(f"/?tab={word}&workspace={space}")


@pytest.mark.slow
def test_a_file_in_frozen_and_out_again(
    page: Page, running_app, space: str, tmp_path: Path
) -> None:
    rows = [{"q": f"Question {n}? {EVIL}", "answer": f"Answer {n} {EVIL}"} for n in range(20)]
    lines = [json.dumps(row) for row in rows]
    lines.insert(6, "{broken")
    source = tmp_path / "mine.jsonl"
    source.write_text("\n".join(lines), encoding="utf-8")

    open_tab(page, "seeds")
    expect(page.locator("#seeds-list")).to_contain_text("No prompts yet")
    page.locator("#seeds-upload input[type=file]").set_input_files(source)
    expect(page.locator("#seeds-summary")).to_contain_text("No column holds prompts")
    expect(page.locator("button#seeds-import")).to_be_disabled()
    page.locator("#seeds-part-prompt input").click()
    page.get_by_role("option", name="q", exact=True).click()
    expect(page.locator("button#seeds-import")).to_have_text("Import 20 prompts and 20 answers")
    expect(page.locator("#seeds-problems")).to_contain_text("Broken JSON at column 2")
    assert running_app.call("seeds_count", workspace=space) == 0  # a preview stores nothing
    page.locator("#seeds-accepted input").check()
    page.locator("button#seeds-import").click()
    expect(page.locator("#seeds-result")).to_contain_text("20 new prompts and 20 new answers")
    expect(page.locator("#seeds-list caption")).to_have_text("1 to 20 of 20 prompts")
    assert running_app.call("review_count", workspace=space, query={"status": "accepted"}) == 20

    open_tab(page, "freeze")
    expect(page.locator("button#freeze-create")).to_have_text("Freeze 20 rows")
    page.locator("#freeze-preview").get_by_role("button", name="Find near-duplicates").click()
    expect(page.locator("button#curate-find")).to_be_in_viewport()
    open_tab(page, "freeze")
    enter(page.locator("#freeze-name input, #freeze-name textarea"), "first")
    page.locator("button#freeze-create").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("first is frozen: 18 rows")
    expect(page.locator("#freeze-facts h3")).to_have_text("first")
    expect(page.locator("#freeze-rows")).to_contain_text("onerror")
    field = page.locator("#freeze-page input")
    expect(page.locator("#freeze-page")).to_contain_text("Page, of 4")
    field.fill("99")
    expect(field).to_have_value("4")
    expect(page.locator("#freeze-rows article")).to_have_count(3)
    page.locator("#freeze-split").get_by_label("validation").check()
    expect(page.locator("#freeze-page")).to_contain_text("Page, of 1")
    expect(field).to_have_value("1")
    expect(page.locator("#freeze-rows article")).to_have_count(2)
    page.locator("button#freeze-download").click()
    with page.expect_download() as download:
        page.locator("#freeze-link a").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        manifest = json.loads(archive.read("first/manifest.json"))
    assert {s: facts["rows"] for s, facts in manifest["splits"].items()} == {
        "train": 18,
        "validation": 2,
    }

    open_tab(page, "export")
    expect(page.locator("#export-count")).to_contain_text("20 answers match")
    page.locator("#export-search input, #export-search textarea").fill("Question 1?")
    expect(page.locator("#export-count")).to_contain_text("1 answer matches")
    page.locator("button#export-pairs").click()
    with page.expect_download() as download:
        page.locator("#export-pairs-made a").click()
    [row] = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["messages"][0]["content"] == rows[1]["q"]
    assert page.evaluate("window.pwned") is None


@pytest.mark.slow
def test_a_snapshot_for_another_trainer(page: Page, running_app) -> None:
    space = make_space(running_app, "trainers")
    open_tab(page, "export", space)
    page.get_by_role("tab", name="Other trainers").click()
    expect(page.get_by_text("Nothing is frozen yet")).to_be_visible()
    expect(page.locator("button#export-neighbour")).to_be_disabled()

    rows = [{"prompt": f"Q{n} {EVIL}", "answer": f"A{n} {EVIL}"} for n in range(12)]
    rows[3]["answer"] += " <image>"
    import_rows(running_app, space, rows)
    running_app.call("freeze_create", workspace=space, name="first")

    open_tab(page, "export", space)
    page.get_by_role("tab", name="Other trainers").click()
    expect(page.locator("#export-neighbour-name input")).to_have_value("first")
    page.locator("#export-neighbour-tool").get_by_label("LLaMA-Factory").check()
    page.locator("#export-neighbour-model input, #export-neighbour-model textarea").fill(
        "Qwen/Qwen3-0.6B"
    )
    page.locator("button#export-neighbour").click()
    made = page.locator("#export-neighbour-made")
    expect(made).to_contain_text("Rows left out: 1: holds <image>")
    with page.expect_download() as download:
        made.locator("a").click()
    assert download.value.suggested_filename.startswith("llama-factory-first-")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        files = {name.split("/")[1]: archive.read(name).decode() for name in archive.namelist()}
    info = json.loads(files["dataset_info.json"])
    assert info["first"]["formatting"] == "sharegpt"
    written = [
        json.loads(line) for one in info.values() for line in files[one["file_name"]].splitlines()
    ]
    assert len(written) == 11
    assert written[0]["messages"][0]["content"].endswith(EVIL)
    assert "model_name_or_path: Qwen/Qwen3-0.6B\n" in files["llama_factory.yaml"]
    assert "template: qwen3\n" in files["llama_factory.yaml"]
    expect(page.locator("#export-files")).to_contain_text(download.value.suggested_filename)
    assert page.evaluate("window.pwned") is None


@pytest.mark.slow
def test_each_part_of_export_counts_and_answers_for_itself(page: Page, running_app) -> None:
    space = make_space(running_app, "parts")
    compared = [
        {"prompt": f"P{n} {EVIL}", "chosen": f"A{n}", "rejected": f"B{n}", "outcome": outcome}
        for n, outcome in enumerate(("win", "win", "win", "tie"))
    ]
    answered = [{"prompt": f"Q{n} {EVIL}", "answer": f"A{n} {EVIL}"} for n in range(5)]
    import_rows(running_app, space, compared)
    import_rows(running_app, space, answered)

    open_tab(page, "export", space)
    enter(page.locator("#export-search input, #export-search textarea"), "Q")
    expect(page.locator("#export-count")).to_have_text("5 answers match.")
    expect(page.locator("#export-first li")).to_have_count(3)
    page.locator("button#export-pairs").click()
    ready = page.locator("#export-pairs-made")
    with page.expect_download() as download:
        ready.locator("a").click()
    written = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert page.locator("#export-first li").all_inner_texts() == written[:3]

    page.get_by_role("tab", name="Preferences").click()
    expect(page.locator("#export-preferences-count")).to_have_text("3 preferences match.")
    expect(page.locator("#export-preferences-first li")).to_have_count(3)
    assert page.get_by_text("Ready:").locator("visible=true").count() == 0  # of the answers
    page.locator("button#export-preferences").click()
    expect(page.locator("#export-preferences-made")).to_contain_text("3 rows")
    for label, words, is_usable in (
        ("ties", "1 preference matches.", True),
        ("both bad", "0 preferences match.", False),
    ):
        page.locator("#export-outcome input").click()
        page.get_by_role("option", name=label, exact=True).click()
        expect(page.locator("#export-preferences-count")).to_have_text(words)
        expect(page.locator("#export-preferences-made")).to_have_text("")
        expect(page.locator("button#export-preferences")).to_be_enabled(enabled=is_usable)
    expect(page.locator("#export-preferences-first li")).to_have_count(0)

    page.get_by_role("tab", name="Answers").click()
    expect(ready).to_contain_text("5 rows")
    page.locator("#export-style input").click()
    page.get_by_role("option", name="Alpaca").click()
    expect(ready).to_have_text("")
    expect(page.locator("#export-first li").first).to_contain_text('"instruction": "Q0')
    assert page.evaluate("window.pwned") is None


def test_a_file_that_cannot_be_used_says_so(page: Page, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    page.goto("/?tab=seeds")
    page.locator("#seeds-upload input[type=file]").set_input_files(empty)
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("empty.jsonl is empty")


@pytest.mark.slow
def test_several_texts_become_passages(page: Page, running_app, tmp_path: Path) -> None:
    texts = []
    for name in ("one.md", "two.txt"):
        texts.append(tmp_path / name)
        texts[-1].write_text("\n\n".join(f"{name} {n} {EVIL} " + "word " * 60 for n in range(4)))
    open_tab(page, "seeds", make_space(running_app, "texts"))
    page.locator("#seeds-upload input[type=file]").set_input_files(texts)
    expect(page.locator("#seeds-summary")).to_contain_text("2 documents")
    expect(page.locator("#seeds-columns")).to_be_hidden()
    page.locator("#seeds-words input").fill("150")
    page.locator("#seeds-words input").blur()
    expect(page.locator("button#seeds-import")).to_have_text("Import 4 prompts")
    expect(page.locator("#seeds-examples")).to_contain_text("two.txt 2 of 2")
    page.locator("button#seeds-import").click()
    expect(page.locator("#seeds-result")).to_contain_text("4 new prompts stored")
    expect(page.locator("#seeds-list")).to_contain_text("one.md 1 of 2")
    assert page.evaluate("window.pwned") is None
