"""The review bench in Chromium: keys, undo, the outbox, hostile text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from distill_studio.core.records import Run, RunState, Snapshot
from distill_studio.store import runs, snapshots
from distill_studio.store.database import Database
from tests.browser.bench_data import HOSTILE, make_pairs, make_workspace

if TYPE_CHECKING:
    from distill_studio.core.records import Pair
    from tests.conftest import RunningApp

pytestmark = pytest.mark.browser
BENCH = "#review-bench"


def open_bench(page: Page, workspace: str) -> None:
    page.goto(f"/?tab=review&workspace={workspace}")
    expect(page.locator(f"{BENCH} .ds-prompt")).to_be_visible()


def prompt(page: Page) -> str:
    return page.locator(f"{BENCH} .ds-prompt").inner_text()


def expect_saved(page: Page) -> None:
    expect(page.locator(f"{BENCH} .ds-save")).to_have_text("Saved")


def states(app: RunningApp, workspace: str) -> list[dict[str, object]]:
    return app.call("review_page", workspace=workspace, query={"limit": 1000})


def decisions_of(app: RunningApp, workspace: str) -> int:
    """How many decisions the store holds, skips and undos included."""
    rows = states(app, workspace)
    return sum(
        len(app.call("review_history", workspace=workspace, pair_id=row["id"])) for row in rows
    )


def test_keys_decide_edit_and_undo(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(6))
    open_bench(page, workspace)
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("2")
    page.keyboard.press("e")
    page.get_by_label("Edited answer").fill("My own words: a r e s j k 1 2")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("s")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    assert prompt(page) == "Question number 5?"
    page.keyboard.press("Control+z")
    assert prompt(page) == "Question number 4?"
    expect_saved(page)
    rows = states(running_app, workspace)
    assert [r["status"] for r in rows] == [
        "accepted",
        "rejected",
        "accepted",
        "pending",
        "pending",
        "pending",
    ]
    assert rows[1]["reject_reason"] == "Does not do what was asked"
    assert rows[2]["edited_answer"] == "My own words: a r e s j k 1 2"
    expect(page.locator(f"{BENCH} .ds-left")).to_have_text("3 to review")


@pytest.mark.slow
def test_the_end_keeps_what_lies_behind_it(page: Page, running_app: RunningApp) -> None:
    """Opening the tab again at the end of the list forgets no record, and skipped ones return."""
    workspace = make_workspace(running_app.home, make_pairs(3))
    open_bench(page, workspace)
    for key in ("s", "a", "a"):
        page.keyboard.press(key)
    expect_saved(page)
    expect(page.locator(f"{BENCH} .ds-empty")).to_contain_text("Everything is reviewed")
    page.get_by_role("tab", name="Home").click()
    page.get_by_role("tab", name="Review").click()
    expect(page.locator(f"{BENCH} .ds-prompt")).to_contain_text("Question number 0?")
    page.keyboard.press("k")
    expect(page.locator(f"{BENCH} .ds-prompt")).to_contain_text("Question number 2?")


@pytest.mark.slow
def test_undo_reaches_back_across_a_reload(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(4))
    open_bench(page, workspace)
    page.keyboard.press("a")
    page.keyboard.press("a")
    expect_saved(page)
    open_bench(page, workspace)
    assert prompt(page) == "Question number 2?"
    expect(page.locator(f"{BENCH} .ds-undo")).to_be_enabled()
    page.keyboard.press("Control+z")
    assert prompt(page) == "Question number 1?"
    page.keyboard.press("Control+z")
    assert prompt(page) == "Question number 0?"
    expect_saved(page)
    assert {r["status"] for r in states(running_app, workspace)} == {"pending"}


def test_nothing_is_lost_or_doubled_without_the_server(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(70))
    page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
    open_bench(page, workspace)
    page.route("**/review_decide", lambda route: route.abort())
    for _ in range(30):
        page.keyboard.press("a")
    assert prompt(page) == "Question number 30?"
    save = page.locator(f"{BENCH} .ds-save")
    expect(save).to_contain_text("30 decisions not saved yet")
    page.reload()
    expect(save).to_contain_text("30 decisions not saved yet")
    assert prompt(page) == "Question number 30?"  # they count as decided
    page.keyboard.press("r")
    page.keyboard.press("1")
    page.unroute("**/review_decide")
    page.evaluate("window.dispatchEvent(new Event('online'))")  # do not wait for the next try
    expect_saved(page)
    rows = states(running_app, workspace)
    assert [r["status"] for r in rows[:31]] == ["accepted"] * 30 + ["rejected"]
    assert {r["status"] for r in rows[31:]} == {"pending"}
    assert decisions_of(running_app, workspace) == 31


@pytest.mark.slow
def test_an_answer_lost_on_the_way_back_doubles_nothing(
    page: Page, running_app: RunningApp
) -> None:
    workspace = make_workspace(running_app.home, make_pairs(5))
    open_bench(page, workspace)
    lost = []

    def lose_the_first_answer(route):
        if not lost:
            lost.append(route.fetch())  # the server has stored it
            route.abort()
        else:
            route.continue_()

    page.route("**/review_decide", lose_the_first_answer)
    page.keyboard.press("a")
    page.keyboard.press("a")
    expect_saved(page)
    assert lost
    assert decisions_of(running_app, workspace) == 2


@pytest.mark.slow
def test_what_is_refused_is_shown(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(2))
    open_bench(page, workspace)
    page.route(
        "**/review_decide",
        lambda route: route.continue_(
            post_data=route.request.post_data.replace('"accept"', '"approve"')
        ),
    )
    page.keyboard.press("a")
    refused = page.locator(f"{BENCH} .ds-refused")
    expect(refused).to_contain_text("1 decision could not be stored")
    refused.locator("summary").click()
    with page.expect_download() as download:
        refused.get_by_role("button", name="Download them").click()
    assert '"kind":"accept"' in download.value.path().read_text()
    save = page.locator(f"{BENCH} .ds-save")
    expect(save).to_have_text("1 decision refused")  # nothing waits, and yet it is not saved
    expect(save).to_have_attribute("data-state", "refused")
    alarm = page.locator(f"{BENCH} .ds-saving [role=alert]")
    expect(alarm).to_contain_text("1 decision refused: ")
    assert save.get_attribute("role") is None  # what changes with every key is not spoken
    refused.get_by_role("button", name="Remove from this list").click()
    expect_saved(page)
    expect(alarm).to_have_text("")
    expect(page.locator(f"{BENCH} .ds-record")).to_be_focused()


@pytest.mark.slow
def test_notes_and_redo_outlive_a_reload(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(4))
    open_bench(page, workspace)
    page.keyboard.press("n")
    page.keyboard.type("a clear answer, reject? no")
    page.keyboard.press("Tab")
    page.keyboard.type("good, short,good")
    page.keyboard.press("Enter")
    assert prompt(page) == "Question number 0?"  # a note decides nothing
    expect(page.locator(f"{BENCH} .ds-tag")).to_have_text(["good", "short"])
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("1")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    assert prompt(page) == "Question number 1?"
    expect_saved(page)
    assert [r["status"] for r in states(running_app, workspace)][:2] == ["accepted", "pending"]
    open_bench(page, workspace)
    redo = page.get_by_role("button", name="Redo")
    expect(redo).to_be_visible()
    redo.click()
    expect(page.locator(f"{BENCH} .ds-left")).to_have_text("2 to review")
    expect_saved(page)
    rows = states(running_app, workspace)
    assert [r["status"] for r in rows] == ["accepted", "rejected", "pending", "pending"]
    assert rows[1]["reject_reason"] == "Wrong or made up"
    tagged = running_app.call("review_queue", workspace=workspace, query={"tag": "short"})
    assert [(r["note"], r["tags"]) for r in tagged] == [
        ("a clear answer, reject? no", ["good", "short"])
    ]


@pytest.mark.slow
def test_keys_and_reasons_can_be_changed(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(4))
    open_bench(page, workspace)
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    keys.get_by_role("button", name="Accept: a. Change").click()
    page.keyboard.press("s")
    expect(keys).to_contain_text("S is taken: Skip")
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    open_bench(page, workspace)
    page.keyboard.press("a")
    assert prompt(page) == "Question number 0?"
    page.keyboard.press("x")
    assert prompt(page) == "Question number 1?"
    page.keyboard.press("r")
    page.get_by_role("button", name="Change reasons").click()
    reasons = page.get_by_role("dialog", name="Reasons for rejecting")
    reasons.get_by_role("textbox").fill("Too vague\n\nToo long for a boy\nToo vague")
    reasons.get_by_role("button", name="Save reasons").click()
    expect(reasons).to_contain_text("Reason 3 is there twice")
    reasons.get_by_role("textbox").fill("Too vague\n\nToo clever")
    reasons.get_by_role("button", name="Save reasons").click()
    expect(reasons).to_be_hidden()
    page.keyboard.press("2")
    expect_saved(page)
    assert [(r["status"], r["reject_reason"]) for r in states(running_app, workspace)][:2] == [
        ("accepted", ""),
        ("rejected", "Too clever"),
    ]


@pytest.mark.slow
def test_keys_do_nothing_in_text_boxes_and_hidden_tabs(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(5))
    open_bench(page, workspace)
    page.locator("#review-search textarea, #review-search input").first.click()
    page.keyboard.type("arsejkm?123")
    page.keyboard.press("Control+z")
    page.locator("#review-search textarea, #review-search input").first.fill("nowhere")
    expect(page.locator(f"{BENCH} .ds-empty")).to_contain_text("Nothing matches")  # as typed
    page.locator("#review-search textarea, #review-search input").first.fill("")
    expect(page.locator(f"{BENCH} .ds-prompt")).to_be_visible()
    page.locator("#review-search textarea, #review-search input").first.blur()
    page.keyboard.press("e")
    page.keyboard.type("ares jkm?123 ")
    editor = page.get_by_label("Edited answer")
    assert editor.input_value().startswith("ares jkm?123 Answer 0")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.type("ares jknmc?123")
    page.keyboard.press("Control+z")
    page.keyboard.press("Tab")
    page.keyboard.type("ares jknmc?123")
    page.keyboard.press("Tab")
    page.keyboard.type("arsn")  # on a button of the editor
    page.keyboard.press("Escape")
    expect(page.locator(f"{BENCH} .ds-note-editor")).to_be_hidden()
    page.get_by_role("tab", name="Home").click()
    expect(page.locator(BENCH)).to_be_hidden()
    for key in ("a", "s", "r", "Enter", "e", "n", "c", "Control+z", "Control+Shift+z"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert decisions_of(running_app, workspace) == 0


@pytest.mark.slow
def test_no_text_breaks_the_page(page: Page, running_app: RunningApp) -> None:
    """What a model may write, each shown raw, rendered, in the diff and beside another answer."""
    answers = [
        "<svg/onload=window.pwned=1><iframe src=javascript:window.pwned=2></iframe>",
        "[a](javascript:window.pwned=3) [b](data:text/html,<script>window.pwned=4</script>)",
        "![shot](http://example.com/a.png) <img src=http://example.com/b.png>",
        '<div style="position:fixed;inset:0;z-index:9">over all</div><b id="btn-accept">x</b>',
        "| " + " | ".join("wide" for _ in range(200)) + " |\n" + "|---" * 200 + "|\n" + "|x" * 200,
        "\u202eright to left \u0634\u0643\u0631\u0627, \u05e9\u05dc\u05d5\u05dd ${window.pwned=5}",
        "word " * 20_000,
        "x" * 100_000,
        "```python\nnever closed\n| a | b\n$$ \\frac{1}{ $$ **bold _and",
        "> " * 400 + "deep",
        "- " * 200 + "deeper",
    ]
    made = [make_pairs(1, answer=text)[0] for text in answers]
    made = [pair.model_copy(update={"sample": n}) for n, pair in enumerate(made)]
    workspace = make_workspace(running_app.home, made)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(f"example.com: {error}"))
    open_bench(page, workspace)
    page.keyboard.press("c")  # the other answers beside each
    expect(page.locator(f"{BENCH} .ds-related-row")).to_have_count(len(answers) - 1)
    answer = page.locator(f"{BENCH} .ds-record > .ds-text")
    for text in answers:
        expect(answer).to_have_class("ds-text ds-rendered")
        page.keyboard.press("m")
        assert answer.evaluate("node => node.textContent") == text
        page.keyboard.press("m")
        box = page.locator(BENCH).bounding_box()
        assert box is not None
        assert box["width"] < 1400
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.keyboard.press("a")
    expect_saved(page)
    assert {row["status"] for row in states(running_app, workspace)} == {"accepted"}
    assert page.evaluate("window.pwned") is None
    assert page.locator(f"{BENCH} img, {BENCH} #btn-accept, {BENCH} iframe").count() == 0
    assert [url for url in asked if "example.com" in url] == []


def test_hostile_text_is_text(page: Page, running_app: RunningApp) -> None:
    made = make_pairs(1, answer=HOSTILE, reasoning=HOSTILE, topic=HOSTILE, teacher=HOSTILE)
    workspace = make_workspace(running_app.home, made)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_bench(page, workspace)
    answer = page.locator(f"{BENCH} .ds-record > .ds-text")
    expect(answer).to_have_class("ds-text ds-rendered")
    expect(answer).to_contain_text("<img src=x onerror=window.pwned=1> ${window.pwned=2}")
    page.keyboard.press("m")
    expect(answer).to_have_text(HOSTILE)
    page.keyboard.press("e")
    page.keyboard.type("x ")
    page.wait_for_timeout(300)
    page.keyboard.press("Control+Enter")
    expect_saved(page)
    page.keyboard.press("k")
    expect(page.locator(f"{BENCH} .ds-diff ins").first).to_have_text("x ")
    assert page.evaluate("window.pwned") is None
    assert page.locator(f"{BENCH} img, {BENCH} #btn-accept, {BENCH} script").count() == 0
    assert [url for url in asked if "example.com" in url] == []


@pytest.mark.slow
def test_bulk_on_a_filtered_list_and_its_undo(page: Page, running_app: RunningApp) -> None:
    workspace = make_workspace(running_app.home, make_pairs(9))
    open_bench(page, workspace)
    page.locator("#review-topic input").click()
    page.get_by_role("option", name="odd").click()
    expect(page.locator(f"{BENCH} .ds-prompt")).to_have_text("Question number 1?")
    page.locator("#review-bulk button").first.click()
    page.locator("#review-accept-all").click()
    expect(page.locator("#review-bulk-question")).to_contain_text("Accept 4 records?")
    page.locator("#review-bulk-confirm").click()
    expect(page.locator("#review-bulk-outcome")).to_contain_text("Accepted 4 records")
    expect(page.locator(f"{BENCH} .ds-empty")).to_be_visible()
    assert [r["status"] for r in states(running_app, workspace)].count("accepted") == 4
    page.locator("#review-bulk-undo").click()
    expect(page.locator(f"{BENCH} .ds-prompt")).to_have_text("Question number 1?")
    assert {r["status"] for r in states(running_app, workspace)} == {"pending"}


def with_models(app: RunningApp, made: list[Pair]) -> str:
    """A workspace in which the first row was trained on, the second held out, the third neither."""
    workspace = make_workspace(app.home, made)
    folder = app.home / "workspaces" / workspace
    database = Database(folder / "studio.duckdb")
    frozen = Snapshot(
        name="facts", format="prompt_completion", content_hash="h", train_rows=1, validation_rows=1
    )
    snapshots.insert(database, frozen)
    place = folder / "snapshots" / frozen.name
    place.mkdir(parents=True)
    for split, pair in zip(("train", "validation"), made, strict=False):
        pq.write_table(pa.table({"id": [pair.id]}), place / f"{split}.parquet")
    for name, snapshot_id, config in (
        ("first-run", frozen.id, {"student": {"base_id": "smol"}}),
        ("pupil", "another", {"student": {"base_id": "smol"}, "teacher": {"id": "run:first-run"}}),
        ("beside", "another", {"student": {"base_id": "smol"}}),
    ):
        run = Run(name=name, method="logit", snapshot_id=snapshot_id, config=config)
        runs.insert(database, run.model_copy(update={"state": RunState.DONE}))
    database.close()
    return workspace


def test_a_row_tells_which_models_learned_from_it(page: Page, running_app: RunningApp) -> None:
    workspace = with_models(running_app, make_pairs(3))
    open_bench(page, workspace)
    box = page.locator(f"{BENCH} details", has_text="What learned from this row")
    words = box.locator(".ds-learnt")
    box.locator("summary").click()
    expect(words).to_contain_text("facts to train on")
    expect(words).to_contain_text("first-run LOGIT trained on it, in facts")
    expect(words).to_contain_text("pupil LOGIT was taught by first-run")
    expect(words).not_to_contain_text("beside")
    page.keyboard.press("j")
    expect(words).to_be_hidden()  # of another row: asked anew
    box.locator("summary").click()
    expect(words).to_contain_text("facts held out, to measure with")
    expect(words).to_contain_text("None: it is held out")
    page.keyboard.press("j")
    box.locator("summary").click()
    expect(words).to_contain_text("None yet: Freeze makes one of what is accepted.")
    expect(words).to_contain_text("None: what no snapshot holds is not trained on.")
    page.keyboard.press("k")
    page.keyboard.press("k")
    box.locator("summary").click()
    words.get_by_role("link", name="pupil").click()
    expect(page.locator("#distill-run-body")).to_contain_text("pupil")
