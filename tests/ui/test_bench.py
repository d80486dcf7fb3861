"""The benches' scripts and the one way by which markup enters them."""

import re
import shutil
import subprocess
from importlib import resources

import gradio as gr
import pytest

from distill_studio.core.actor import Actor
from distill_studio.services.studio import Studio
from distill_studio.ui.bench import MOST_TEXTS, bench_value, render_texts
from distill_studio.ui.context import Ui
from distill_studio.ui.tabs import review

STATIC = resources.files("distill_studio.ui") / "static"


@pytest.mark.parametrize(
    "name",
    [
        "bench.js",
        "held.js",
        "keys.js",
        "review.js",
        "prefer.js",
        "rank.js",
        "made.js",
        "learnt.js",
        "logged_out.js",
        "notes.js",
        "replies.js",
    ],
)
def test_markup_enters_only_through_set_html(name: str) -> None:
    script = (STATIC / name).read_text(encoding="utf-8")
    sinks = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert len(sinks) == (1 if name == "bench.js" else 0)
    calls = re.findall(r"setHtml\((?!node, safeHtml)[^)]*\)", script)
    assert calls in ([], ["setHtml(node, html)"])  # in drawText, with the server's HTML


def test_nothing_is_loaded_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        assert not re.search(r"https?://", file.read_text(encoding="utf-8"))


def test_texts_come_back_safe_and_in_order() -> None:
    made = render_texts(["**a**", "<img src=x onerror=1> ${7*7}"])
    assert made[0].strip() == "<p><strong>a</strong></p>"
    assert "<img" not in made[1]
    assert "${" not in made[1]


def test_too_many_texts_are_not_parsed() -> None:
    assert len(render_texts(["*x*"] * (MOST_TEXTS + 5))) == MOST_TEXTS


def test_a_value_is_never_the_same_twice() -> None:
    assert bench_value(workspace="main") != bench_value(workspace="main")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the script")
def test_the_session_counts_decisions_in_force() -> None:
    script = (STATIC / "bench.js").read_text(encoding="utf-8")
    pace = script[script.index("class Pace {") : script.index("/* ---- Word diff")]
    steps = """
    const pace = new Pace(), counts = [];
    const look = () => counts.push(pace.done);
    pace.mark("r1", "d1"); pace.mark("r2", "d2"); look();  // two records
    pace.mark("r1", "d3"); look();       // the first one anew: still two
    pace.unmark("r1", "d3"); look();     // back to its first decision
    pace.unmark("r1", "d1"); look();     // undone: one
    pace.unmark("r9", "old"); look();    // from before the page was opened
    pace.unmark("r2", "skip"); look();   // a skip was never counted
    console.log(counts.join());"""
    done = subprocess.run(
        ["node", "-e", pace + steps], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "2,2,2,1,1,1"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the script")
def test_a_clock_that_is_set_back_keeps_the_order() -> None:
    """The undo goes out after its decision, also when the page is loaded in between."""
    script = (STATIC / "bench.js").read_text(encoding="utf-8")
    held = (STATIC / "held.js").read_text(encoding="utf-8")
    outbox = held + script[script.index("class ApiError") : script.index("/* ---- Keys: nothing")]
    steps = """
    const kept = new Map();
    globalThis.navigator ??= {};
    globalThis.localStorage = {
      get length() { return kept.size; }, key: (n) => [...kept.keys()][n],
      getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key) };
    const sent = [];
    let isDown = true, now = 2e12;
    Date.now = () => now;
    const open = () => new Outbox({ mode: "review", user: "ann", workspace: "main",
      send: async (items) => {
        if (isDown) throw new ApiError(0, "offline", "No connection");
        const ids = items.map((item) => item.id);
        sent.push(...ids); return { stored: ids, refused: [] };
      }, onChange: () => {}, onStored: () => {} });
    const before = open();
    before.push({ id: "z-decision" }); before.push({ id: "y-decision" });
    now -= 3600e3;                                        // an hour back
    before.push({ id: "b-undo" });
    before.close();
    now -= 3600e3;
    const after = open();                                 // the page is loaded anew
    after.push({ id: "a-undo" });
    console.log(after.items.map((item) => item.id).join());
    isDown = false; after.retryNow();
    setTimeout(() => { console.log(sent.join()); process.exit(0); }, 900);"""
    done = subprocess.run(
        ["node", "-e", outbox + steps], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["z-decision,y-decision,b-undo,a-undo"] * 2


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the script")
def test_a_key_is_what_it_writes_and_a_digit_its_place() -> None:
    script = (STATIC / "bench.js").read_text(encoding="utf-8")
    key_of = script[script.index("function keyOf") : script.index("function onKeys")]
    steps = """
    const said = [["Digit2", "é"], ["Digit1", "!"], ["Numpad2", "2"], ["Numpad2", "ArrowDown"],
      ["Numpad1", "End"], ["KeyA", "A"], ["Slash", "?"]];
    console.log(said.map(([code, key]) => keyOf({ code, key })).join(" "));"""
    done = subprocess.run(
        ["node", "-e", key_of + steps], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["2", "1", "2", "ArrowDown", "End", "a", "?"]


def test_the_search_follows_the_typing(studio: Studio, owner: Actor) -> None:
    with gr.Blocks() as page:
        chooser = gr.Dropdown(["main"], value="main")
        with gr.Tabs() as tabs, gr.Tab("Review"):
            review.build(Ui(studio, lambda request: owner, chooser, tabs))
    search = next(b for b in page.blocks.values() if b.elem_id == "review-search")
    wired = {
        name: fn.trigger_mode
        for fn in page.fns.values()
        for target, name in fn.targets
        if target == search._id
    }
    assert wired["change"] == "always_last"
    assert "submit" in wired
