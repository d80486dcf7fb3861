"""The whole pass as a person walks it, in Chromium, on real models: steps 2 to 10 of the flow.

Seeds, generate, curate, review, prefer, freeze, distill (SFT, then DPO), evaluate, export; after
each step the store is asked for the facts.
"""

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import await_filled, enter
from tests.conftest import RunningApp

pytestmark = [pytest.mark.browser, pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(1500)]

SPACE = "walk"
LONG_MS = 400_000
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Egypt": "Cairo",
    "Norway": "Oslo", "Poland": "Warsaw", "Greece": "Athens", "Kenya": "Nairobi", "Peru": "Lima",
    "Cuba": "Havana", "Ghana": "Accra", "Chile": "Santiago", "Austria": "Vienna",
    "Finland": "Helsinki", "Ireland": "Dublin", "Portugal": "Lisbon", "Hungary": "Budapest",
    "Sweden": "Stockholm", "Denmark": "Copenhagen",
}  # fmt: skip
ANSWER = "The capital of {country} is {city}. It is a lively place, and many people live there."


def write_files(folder: Path) -> tuple[Path, Path, Path]:
    """Answered pairs with one near-duplicate and one broken line; bare prompts; preferences."""
    rows = [
        {"question": f"What is the capital of {c}?", "answer": ANSWER.format(country=c, city=t)}
        for c, t in CAPITALS.items()
    ]
    rows.append({**rows[0], "question": "What is the capital of France ??"})
    lines = [json.dumps(row) for row in rows]
    lines.insert(6, "{broken")
    answered = folder / "answered.jsonl"
    answered.write_text("\n".join(lines), encoding="utf-8")
    prompts = folder / "prompts.csv"
    prompts.write_text("instruction\nName a colour.\nName an animal.\n", encoding="utf-8")
    preferences = folder / "preferences.jsonl"
    preferences.write_text(
        "\n".join(
            json.dumps({
                "prompt": f"Where would I land when I fly to {city}?",
                "chosen": f"You would land in {country}.",
                "rejected": f"Flying is fun, and {city} is a word with {len(city)} letters.",
            })
            for country, city in CAPITALS.items()
        ),
        encoding="utf-8",
    )
    return answered, prompts, preferences


def open_tab(page: Page, word: str) -> None:
    page.goto(f"/?tab={word}&workspace={SPACE}")
    expect(page.locator(f"#ds-tab-{word}-button")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#ds-workspace input")).to_have_value(SPACE)


def fill(page: Page, elem_id: str, value: str) -> None:
    box = page.locator(f"#{elem_id} input, #{elem_id} textarea").first
    box.fill(value)
    box.blur()


def choose(page: Page, elem_id: str, text: str) -> None:
    page.locator(f"#{elem_id} input").click()
    page.get_by_role("option", name=text).first.click()


def import_file(page: Page, path: Path) -> None:
    open_tab(page, "seeds")
    page.locator("#seeds-upload input[type=file]").set_input_files(path)
    button = page.locator("button#seeds-import")
    expect(button).to_be_enabled()
    button.click()
    expect(page.locator("#seeds-result")).to_contain_text("new prompts")


def counts(app: RunningApp) -> dict[str, int]:
    return app.call("overview_counts", workspace=SPACE)


def test_the_whole_pass(page: Page, running_app: RunningApp, tmp_path: Path) -> None:
    app = running_app
    answered, prompts, preferences = write_files(tmp_path)
    page.goto("/")
    page.locator("#ds-manage").click()
    fill(page, "ds-new-name", SPACE)
    page.locator("#ds-create").click()
    expect(page.locator("#ds-workspace input")).to_have_value(SPACE)

    seeds(page, app, answered, prompts, preferences)
    generate(page, app)
    curate(page, app)
    review(page, app)
    prefer(page, app)
    freeze(page, app)
    distill(page, app, "facts", "SFT", "walk-sft")
    distill(page, app, "taste", "DPO", "walk-dpo")
    evaluate(page, app)
    export(page, app, tmp_path)


def seeds(page, app, answered, prompts, preferences):
    open_tab(page, "seeds")
    page.locator("#seeds-upload input[type=file]").set_input_files(answered)
    expect(page.locator("#seeds-problems")).to_contain_text("7")
    expect(page.locator("button#seeds-import")).to_have_text("Import 21 prompts and 21 answers")
    import_file(page, answered)
    import_file(page, prompts)
    import_file(page, preferences)
    found = counts(app)
    assert (found["seeds"], found["total"], found["preferences"]) == (43, 61, 20)


def generate(page, app):
    open_tab(page, "generate")
    page.locator("#generate-teachers label", has_text="SmolLM2").locator("input").check()
    page.locator("#generate-recipe label", has_text="Best of").locator("input").check()
    fill(page, "generate-n", "2")
    fill(page, "generate-max-tokens", "24")
    expect(page.locator("#generate-count")).to_contain_text("2 of 43")
    page.locator("#generate-preview-box button").first.click()
    expect(page.locator("#generate-preview")).to_contain_text("Name a")
    page.locator("button#generate-run").click()
    open_tab(page, "generate")  # close the page and come back: it goes on
    expect(page.locator("#generate-live")).to_contain_text("done", timeout=LONG_MS)
    assert counts(app)["total"] == 65
    assert counts(app)["unanswered"] == 0


def curate(page, app):
    open_tab(page, "curate")
    page.locator("button#curate-find").click()
    expect(page.locator("#curate-histogram svg")).to_be_visible(timeout=LONG_MS)
    fill(page, "curate-threshold", "0.98")  # sentences about two capitals are near, not the same
    page.wait_for_timeout(1500)
    # short answers are fine here, answers cut off by the limit too
    page.locator("#curate-filter-length > button").click()
    page.locator("#curate-length-drop-truncated input[type=checkbox]").uncheck()
    page.locator("button#curate-apply").click()
    expect(page.locator("#curate-report")).to_contain_text("same text")
    await_duplicates(page, app, 1)
    removed = app.call("review_page", workspace=SPACE, query={"curation": "duplicate"})
    assert [r["messages"][-1]["content"] for r in removed] == ["What is the capital of France ??"]
    page.locator("button#curate-undo").click()
    await_duplicates(page, app, 0)
    page.locator("button#curate-apply").click()
    await_duplicates(page, app, 1)


def await_duplicates(page, app, wanted):
    """The store says so many, before long: the page tells before the rows are written."""
    for _ in range(240):
        if counts(app)["duplicate"] == wanted:
            return
        page.wait_for_timeout(250)
    pytest.fail(f"{counts(app)['duplicate']} duplicates, not {wanted}")


def review(page, app):
    open_tab(page, "review")
    bench = page.locator("#review-bench")
    expect(bench.locator(".ds-prompt")).to_be_visible()
    page.keyboard.press("e")
    bench.get_by_label("Edited answer").fill("Paris, on the river Seine.")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("r")
    page.keyboard.press("1")
    page.keyboard.press("Control+z")
    for _ in range(19):
        page.keyboard.press("a")
    expect(bench.locator(".ds-save")).to_have_text("Saved")
    accepted = app.call("review_page", workspace=SPACE, query={"status": "accepted"})
    assert len(accepted) == 20
    assert accepted[0]["edited_answer"] == "Paris, on the river Seine."
    assert counts(app)["rejected"] == 0


def prefer(page, app):
    before = counts(app)["preferences"]
    open_tab(page, "prefer")
    bench = page.locator("#prefer-bench")
    expect(bench.locator(".ds-prompt")).to_be_visible()
    page.keyboard.press("1")
    expect(bench.locator(".ds-save")).to_have_text("Saved")
    assert counts(app)["preferences"] == before + 1


def freeze(page, app):
    open_tab(page, "freeze")
    shapes = (
        ("facts", "Prompt and completion", "prompt_completion"),
        ("taste", "Prompt, chosen", "preference"),
    )
    for name, label, shape in shapes:
        rows = app.call("freeze_preview", workspace=SPACE, format=shape)["rows"]
        assert rows >= 19  # the vote may have been on an imported preference
        choose(page, "freeze-format", label)
        expect(page.locator("button#freeze-create")).to_have_text(f"Freeze {rows} rows")
        fill(page, "freeze-name", name)
        page.locator("button#freeze-create").click()
        expect(page.locator("#freeze-facts h3")).to_have_text(name)
    assert counts(app)["snapshots"] == 2


def distill(page, app, snapshot, method, name):
    open_tab(page, "distill")
    await_filled(page, "distill", SPACE)  # what is entered before may be filled over
    page.locator("#distill-method label", has_text=method).locator("input").check()
    choose(page, "distill-snapshot", snapshot)
    page.locator("#distill-preset label", has_text="Quick").locator("input").check()
    page.get_by_role("button", name="Advanced").click()
    enter(page.locator("#distill-name input, #distill-name textarea").first, name)
    expect(page.locator("button#distill-start")).to_be_enabled()
    page.locator("button#distill-start").click()
    expect(page.locator("#distill-runs")).to_contain_text(name)
    open_tab(page, "distill")  # the page goes, the training stays
    expect(page.locator("#distill-runs")).to_contain_text("done", timeout=LONG_MS)
    for _ in range(300):
        run = app.call("distill_get", workspace=SPACE, name=name)
        if run["state"] not in ("queued", "running"):
            break
        page.wait_for_timeout(1000)
    assert run["state"] == "done", run["error"]
    assert run["metrics"]["loss_after"] < run["metrics"]["loss_before"]
    if method == "DPO":
        assert run["metrics"]["margin_after"] > run["metrics"]["margin_before"]


def evaluate(page, app):
    before = counts(app)["preferences"]
    open_tab(page, "evaluate")
    page.locator("#evaluate-models .token").nth(1).wait_for()  # teacher (and base), student
    # a prompt on which student and teacher differ: equal answers can only tie
    page.locator("#evaluate-prompt textarea").fill("Where would I land when I fly to Paris?")
    page.locator("button#evaluate-run").click()
    expect(page.locator("button#evaluate-vote-1")).to_be_visible(timeout=LONG_MS)
    expect(page.locator("#evaluate-panes")).to_contain_text("tokens/s")
    page.locator("button#evaluate-vote-2").click()
    expect(page.locator("#evaluate-said")).not_to_be_empty()
    for _ in range(240):
        if counts(app)["preferences"] > before:
            break
        page.wait_for_timeout(500)
    assert counts(app)["preferences"] > before


def export(page, app, folder):
    open_tab(page, "export")
    choose(page, "export-status", "accepted")
    expect(page.locator("#export-count")).to_contain_text("20 answers match")
    page.locator("button#export-pairs").click()
    with page.expect_download() as download:
        page.locator("#export-pairs-made a").click()
    rows = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 20
    file_name = app.call("distill_package", workspace=SPACE, name="walk-sft", kind="merged")
    with zipfile.ZipFile(app.home / "workspaces" / SPACE / "exports" / file_name) as archive:
        archive.extractall(folder / "student")
    assert "Paris" in answer_of(folder / "student", "What is the capital of France?")
    adapter = app.call("distill_package", workspace=SPACE, name="walk-sft", kind="adapter")
    with zipfile.ZipFile(app.home / "workspaces" / SPACE / "exports" / adapter) as archive:
        assert any(n.endswith("adapter_model.safetensors") for n in archive.namelist())


def answer_of(folder: Path, prompt: str) -> str:
    """Greedy answer of a plain transformers model folder, wherever in `folder` it lies."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (config,) = folder.rglob("config.json")
    tokenizer = AutoTokenizer.from_pretrained(config.parent)
    model = AutoModelForCausalLM.from_pretrained(config.parent, dtype=torch.float32)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    made = model.generate(ids, max_new_tokens=24, do_sample=False)
    return tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
