"""The Evaluate tab in Chromium: teachers that answer at once, with hostile text, or stall."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import expect

from tests.browser.bench_data import make_workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EVIL = (
    "<img src=x onerror=\"window.pwned='img'\"><script>window.pwned='script'</script>"
    "[click](javascript:window.pwned='link') ${window.pwned='template'} "
    "![pixel](https://tracker.example/p.png) **bold**"
)
LEAVE = threading.Event()


class Server(BaseHTTPRequestHandler):
    """Chat completions as an event stream; the model's name says how it behaves."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        pieces, pause_s = {
            "fast": ([f"quick{i} " for i in range(8)], 0.03),
            "evil": ([EVIL], 0.0),
            "near": (["quick0 ", "swift1 ", "quick2 quick3 quick4 "], 0.0),
            "slow": ([f"slow{i} " for i in range(6000)], 0.1),
            "stalled": (["first ", "never"], 600.0),
        }[body["model"]]
        try:
            for number, piece in enumerate(pieces):
                if number and LEAVE.wait(pause_s):
                    return
                chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0,
                         "model": body["model"],
                         "choices": [{"index": 0, "delta": {"content": piece}}]}  # fmt: skip
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # the studio hung up: it was stopped

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def space(running_app) -> Iterator[str]:
    """A workspace with five teachers behind one address and three held-out prompts."""
    LEAVE.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = make_workspace(running_app.home, [])
    for model in ("fast", "evil", "near", "slow", "stalled"):
        teacher = {
            "name": model, "kind": "openai", "model": model,
            "base_url": f"http://127.0.0.1:{server.server_port}/v1", "timeout_s": 900,
            **({"price_in": 2.0, "price_out": 8.0} if model == "fast" else {}),
        }  # fmt: skip
        running_app.call("teachers_save", workspace=name, teacher=teacher)
    snapshot = running_app.home / "workspaces" / name / "snapshots" / "by-hand"
    snapshot.mkdir(parents=True)
    rows = [
        {"messages": [{"role": "user", "content": f"Held-out {n}?"},
                      {"role": "assistant", "content": "a"}]}
        for n in ("one", "two", "three")
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), snapshot / "validation.parquet")
    yield name
    LEAVE.set()
    server.shutdown()


@pytest.fixture
def tab(page, space):
    """The tab, open in that workspace."""
    open_tab(page, space)
    return page


def open_tab(page, space: str, comparison: str = "") -> None:
    link = f"&comparison={comparison}" if comparison else ""
    page.goto(f"/?tab=evaluate&workspace={space}{link}")
    page.locator("#evaluate-example").wait_for()  # filled, and from this workspace
    page.locator("#evaluate-models .token").first.wait_for()


def choose(page, *names: str) -> None:
    """Make exactly these the chosen models."""
    box = page.locator("#evaluate-models")
    while box.locator(".token").count():
        box.locator(".token .token-remove").first.click()
    for name in names:
        box.locator("input").fill(name)
        page.get_by_role("option", name=f"{name} · teacher").click()
    page.keyboard.press("Escape")


def ask(page, prompt: str) -> None:
    page.locator("#evaluate-prompt textarea").fill(prompt)
    page.locator("button#evaluate-run").click()


def pane(page, place: int):
    return page.locator(f"#evaluate-panes .ev-pane[data-place='{place}']")


def test_a_stalled_model_holds_up_nobody_and_hostile_text_is_only_text(tab):
    errors: list[str] = []
    asked: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    choose(tab, "stalled", "fast", "evil")
    ask(tab, "Answer <b>me</b> ${window.pwned='prompt'}")
    pane(tab, 2).get_by_text("quick7").wait_for()
    pane(tab, 3).get_by_text("bold").wait_for()
    pane(tab, 2).get_by_text("pieces/s").wait_for()
    expect(pane(tab, 1)).to_contain_text("first")
    expect(pane(tab, 1).get_by_text("writing")).to_be_visible()  # for ten minutes
    assert pane(tab, 3).locator("strong", has_text="bold").is_visible()
    assert "<script>" in pane(tab, 3).inner_text()
    assert "https://tracker.example/p.png" in pane(tab, 3).inner_text()
    assert pane(tab, 3).locator("img, script, a[href^='javascript']").count() == 0
    tab.locator("#ds-tab-freeze-button").click()
    tab.wait_for_timeout(300)
    tab.locator("#ds-tab-evaluate-button").click()
    pane(tab, 2).get_by_text("quick7").wait_for()  # still there, and still running
    expect(pane(tab, 1).get_by_text("writing")).to_be_visible()
    tab.locator("button#evaluate-stop").click()
    pane(tab, 1).get_by_text("stopped").wait_for()
    tab.locator("button#evaluate-vote-2").wait_for()
    expect(tab.locator("button#evaluate-vote-1")).to_be_disabled()  # a stopped answer cannot win
    assert tab.evaluate("window.pwned") is None
    assert errors == []
    assert all("127.0.0.1" in url for url in asked)


def test_a_vote_by_key_becomes_a_preference_and_the_link_shows_it(tab, space, running_app):
    choose(tab, "fast", "evil")
    ask(tab, "Vote for me 1 2 t")  # typed keys are text, not votes
    tab.locator("button#evaluate-vote-1").wait_for()
    comparison_id = tab.locator("#evaluate-current input, #evaluate-current textarea").input_value()

    def get() -> dict:
        return running_app.call("evaluate_get", workspace=space, comparison_id=comparison_id)

    assert get()["verdict"] is None
    tab.locator("#evaluate-panes .ev-question").click()
    tab.keyboard.press("1")
    pane(tab, 1).get_by_text("preferred").wait_for()
    assert get()["verdict"]["winner"] == "1"
    made = running_app.call("prefer_page", workspace=space, query={})
    assert [(p["source"], p["outcome"]) for p in made] == [("arena", "win")]
    expect(tab.locator("#evaluate-said")).to_contain_text("leaves such votes out")
    blind_only = running_app.call("arena_standings", workspace=space)
    assert (blind_only["n"], blind_only["sighted_votes"]) == (0, 1)
    standings = running_app.call("arena_standings", workspace=space, sighted=True)
    rates = {(r["model"], r["against"]): r for r in standings["rates"]}
    assert rates["fast", "evil"]["wins"] == 1
    expect(tab).to_have_url(re.compile(f"comparison={comparison_id}"))
    open_tab(tab, space)
    tab.locator(f"#evaluate-history a[data-comparison='{comparison_id}']").click()
    pane(tab, 1).get_by_text("preferred").wait_for()
    open_tab(tab, space, comparison_id)
    pane(tab, 1).get_by_text("preferred").wait_for()
    assert tab.evaluate("window.pwned") is None


def test_costs_and_the_words_that_differ(tab, space):
    choose(tab, "fast", "evil")
    ask(tab, "What does it cost?")
    tab.locator("button#evaluate-vote-1").wait_for()
    expect(pane(tab, 1)).to_contain_text("about $0.000074 to ask")  # 5 tokens read, 8 written
    expect(pane(tab, 2)).to_contain_text("free to ask")  # its server is of this machine
    assert tab.locator("#evaluate-panes del, #evaluate-panes ins").count() == 0
    expect(tab.locator("#evaluate-current")).to_be_hidden()
    tab.get_by_label("Show differences").check()
    expect(pane(tab, 1)).to_contain_text("compared with")
    assert "quick7" in "".join(pane(tab, 1).locator("del").all_inner_texts())
    assert "<script>" in pane(tab, 2).inner_text()
    assert pane(tab, 2).locator("ins").count() > 0
    assert pane(tab, 2).locator("img, script, a, strong:not(header strong)").count() == 0
    tab.locator("#evaluate-against input").click()
    tab.get_by_role("option", name="2 evil").click()
    expect(pane(tab, 2)).to_contain_text("compared with")
    assert "quick7" in "".join(pane(tab, 1).locator("ins").all_inner_texts())
    choose(tab, "fast", "near")
    ask(tab, "And once more?")  # the switch stays for the next answers
    expect(tab.locator("#evaluate-panes .ev-question")).to_contain_text("And once more?")
    expect(pane(tab, 2)).to_contain_text("compared with")
    assert pane(tab, 1).locator("ins").all_inner_texts()[0] == "quick1"
    assert pane(tab, 2).locator("del").all_inner_texts()[0] == "swift1"
    tab.get_by_label("Show differences").uncheck()
    expect(tab.locator("#evaluate-panes del, #evaluate-panes ins")).to_have_count(0)
    assert tab.evaluate("window.pwned") is None


def test_blind_until_the_vote(tab):
    choose(tab, "fast", "evil")
    tab.get_by_label("Blind").check()
    ask(tab, "Who are you?")
    tab.locator("button#evaluate-vote-2").wait_for()
    shown = tab.locator("#evaluate-panes").inner_text()
    assert "Model A" in shown
    assert "Model B" in shown
    assert "fast" not in shown
    first = "fast" if "quick" in pane(tab, 1).inner_text() else "evil"
    tab.locator("button#evaluate-vote-2").click()
    pane(tab, 2).get_by_text("preferred").wait_for()
    assert pane(tab, 1).locator("strong").first.inner_text() == first


def test_equal_answers_of_one_model_are_a_tie_and_the_arena_has_room_to_say_so(
    tab, space, running_app
):
    teacher = next(
        one for one in running_app.call("teachers_page", workspace=space) if one["name"] == "fast"
    )
    twin = {key: teacher[key] for key in ("kind", "model", "base_url")}
    running_app.call("teachers_save", workspace=space, teacher={**twin, "name": "twin"})
    open_tab(tab, space)
    choose(tab, "fast", "twin")
    expect(tab.locator("#evaluate-held-out")).to_contain_text("fast and twin are the same model")
    tab.get_by_label("Blind").check()
    ask(tab, "Which of you two?")
    tab.locator("button#evaluate-vote-tie").wait_for()
    said = tab.locator("#evaluate-said")
    expect(said).to_contain_text("Both answers are the same: a vote would count as a tie.")
    expect(tab.locator("#evaluate-votes button")).to_have_count(1)
    tab.locator("#evaluate-panes .ev-question").click()
    tab.keyboard.press("1")  # no such button
    tab.keyboard.press("t")
    expect(said).to_contain_text("your vote counts as a tie. Your vote is stored")
    expect(tab.locator("#evaluate-panes")).to_contain_text("twin")
    assert tab.get_by_text("preferred", exact=True).count() == 0
    expect(tab.locator("#evaluate-history tbody tr").first).to_contain_text("tie")
    tab.get_by_role("button", name="Arena: models ranked by votes").click()
    reason = tab.locator("td small", has_text="One prompt only: no interval.").first
    reason.wait_for()
    row = tab.locator("tr", has=reason).first
    assert row.bounding_box()["height"] < 140
    assert row.locator("xpath=ancestor::div[1]").evaluate("e => e.scrollWidth <= e.clientWidth")
    heads = row.locator("xpath=ancestor::table//th").all_inner_texts()
    assert heads[-1] == "Votes of judges"


def test_on_a_phone_the_note_on_blind_has_a_row_of_its_own(tab):
    tab.set_viewport_size({"width": 390, "height": 844})
    models, blind = (tab.locator(f"#evaluate-{one}").bounding_box() for one in ("models", "blind"))
    assert blind["y"] >= models["y"] + models["height"] - 1
    assert blind["width"] > 280
    assert models["width"] > 280
    assert blind["height"] < 120


def test_a_reload_in_mid_stream_keeps_what_was_written(tab):
    choose(tab, "slow", "fast")
    ask(tab, "A long story")
    pane(tab, 1).get_by_text("slow3").wait_for()
    pane(tab, 2).get_by_text("quick7").wait_for()
    tab.reload()
    pane(tab, 1).get_by_text("stopped").wait_for()
    assert "slow3" in pane(tab, 1).inner_text()
    assert "quick7" in pane(tab, 2).inner_text()


def test_run_can_be_pressed_again_after_it_was_refused(tab):
    choose(tab, "fast", "evil")
    run, stop = tab.locator("button#evaluate-run"), tab.locator("button#evaluate-stop")
    ask(tab, " ")
    tab.get_by_text("There is no question to answer").wait_for()
    expect(run).to_be_enabled()
    expect(stop).to_be_hidden()
    choose(tab, "fast")
    ask(tab, "Who answers alone?")
    tab.get_by_text("Choose 2 to 4 different models.").wait_for()
    expect(run).to_be_enabled()
    expect(stop).to_be_hidden()
    choose(tab, "fast", "evil")
    ask(tab, "And now?")
    pane(tab, 1).get_by_text("quick7").wait_for()
    tab.locator("button#evaluate-vote-1").wait_for()
    expect(run).to_be_enabled()
    expect(stop).to_be_hidden()


def test_two_pages_stream_at_the_same_time(tab, space, chromium, app_url):
    other_context = chromium.new_context(base_url=app_url)
    other_context.set_default_timeout(120_000)
    other = other_context.new_page()
    open_tab(other, space)
    choose(other, "fast", "evil")
    tab.bring_to_front()
    choose(tab, "slow", "fast")
    ask(tab, "A long story")
    pane(tab, 1).get_by_text("slow1").wait_for()
    ask(other, "A short one")
    other.locator("button#evaluate-vote-1").wait_for()
    expect(pane(tab, 1).get_by_text("writing")).to_be_visible()
    tab.bring_to_front()  # a page behind another draws about once a second, and clicks wait for it
    tab.locator("button#evaluate-stop").click()
    pane(tab, 1).get_by_text("stopped").wait_for()
    other_context.close()


def test_held_out_prompts_one_by_one_and_as_a_set(tab, space, running_app):
    choose(tab, "fast", "evil")
    expect(tab.locator("#evaluate-example")).to_contain_text("of the snapshot by-hand")
    tab.locator("#evaluate-example input").click()
    tab.get_by_role("option", name="Held-out two?").click()
    expect(tab.locator("#evaluate-prompt textarea")).to_have_value("Held-out two?")
    tab.get_by_role("button", name="Several prompts at once").click()
    expect(tab.locator("#evaluate-set-count")).to_contain_text("of the snapshot by-hand")
    tab.locator("button#evaluate-set-run").click()
    rows = tab.locator("#evaluate-set-table tbody tr")
    expect(rows.filter(has_text="Held-out three?")).to_have_count(1)
    expect(rows.filter(has_text="Held-out")).to_have_count(3)
    rows.filter(has_text="Held-out two?").locator("a").click()
    pane(tab, 1).get_by_text("quick7").wait_for()
    assert "Held-out two?" in tab.locator("#evaluate-panes .ev-question").inner_text()
    tab.locator("button#evaluate-vote-1").click()
    expect(rows.filter(has_text="Held-out two?")).to_contain_text("fast")
    assert tab.evaluate("window.pwned") is None
