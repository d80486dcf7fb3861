"""What the browser keeps until the backup has it, run in node against a server that forgets."""

import json
import shutil
import subprocess
from importlib import resources
from typing import Any

import pytest

STATIC = resources.files("distill_studio.ui") / "static"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")

# A server with a disk, a backup and a clock; `crash` leaves it what the backup has.
SERVER = """
const kept = new Map();
let most = Infinity;
globalThis.navigator ??= {};
globalThis.localStorage = {
  get length() { return kept.size; }, key: (n) => [...kept.keys()][n],
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => {
    if (!kept.has(key) && kept.size >= most) throw new Error("quota");
    kept.set(key, value);
  },
  removeItem: (key) => kept.delete(key) };
let now = 0, life = "one", covered = 0, hasBackup = true, isDown = false;
let disk = [], backup = [], sent = [];
const point = () => hasBackup ? { life, now: ++now, covered } : null;
const backUp = () => { covered = ++now; backup = [...disk]; };
const crash = () => { disk = [...backup]; life += "x"; now = covered = 0; };
async function send(items) {
  if (isDown) throw new ApiError(0, "offline", "No connection");
  for (const { id } of items) { sent.push(id); if (!disk.includes(id)) disk.push(id); }
  return { stored: items.map((i) => i.id), refused: [], backup: point() };
}
const open = () => new Outbox({ mode: "review", user: "ann", workspace: "main", send,
  onChange: () => {}, onStored: () => {} });
const rest = (ms = 20) => new Promise((done) => setTimeout(done, ms));
callApi = async (workspace, operation) => {
  if (operation !== "backup_point") throw new Error(operation);
  if (isDown) throw new ApiError(0, "offline", "No connection");
  return point();
};
"""


def run(steps: str) -> Any:
    bench = (STATIC / "bench.js").read_text(encoding="utf-8")
    api = bench[bench.index("class ApiError") : bench.index("/* ---- Keys: nothing")]
    api = api.replace("async function callApi(", "let callApi = async function (", 1)
    held = (STATIC / "held.js").read_text(encoding="utf-8")
    script = f"{held}{api}{SERVER}(async () => {{ {steps} ; process.exit(0); }})();"
    done = subprocess.run(
        ["node", "-e", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_the_backup_has_not_is_sent_again_after_a_reload():
    said = run("""
        const page = open();
        page.push({ id: "a" }); page.push({ id: "b" }); await rest(); backUp();
        page.push({ id: "c" }); page.push({ id: "undo-c" }); await rest();
        const before = [page.size, page.held.size];
        page.close(); crash();
        const again = open(); await rest();
        const left = again.size, held = again.held.size;
        console.log(JSON.stringify({ before, disk, sent, left, held }));
    """)
    assert said["before"] == [0, 2]
    assert said["disk"] == ["a", "b", "c", "undo-c"]
    assert said["sent"] == ["a", "b", "c", "undo-c", "c", "undo-c"]  # in their order
    assert (said["left"], said["held"]) == (0, 2)


def test_what_is_covered_is_forgotten():
    said = run("""
        const page = open();
        page.push({ id: "a" }); await rest(); const one = page.held.size;
        backUp(); page.held._look(); await rest();
        console.log(JSON.stringify({ one, held: page.held.size, kept: kept.size, sent }));
    """)
    assert said == {"one": 1, "held": 0, "kept": 0, "sent": ["a"]}


def test_the_page_that_stays_open_notices_the_other_life_by_its_next_answer():
    said = run("""
        const page = open();
        page.push({ id: "a" }); await rest(); crash();
        page.push({ id: "b" }); await rest();
        console.log(JSON.stringify({ disk, sent }));
    """)
    assert sorted(said["disk"]) == ["a", "b"]
    assert said["sent"] == ["a", "b", "a"]


def test_without_a_backup_nothing_is_held():
    said = run("""
        hasBackup = false; const page = open();
        page.push({ id: "a" }); await rest();
        console.log(JSON.stringify({ held: page.held.size, kept: kept.size }));
    """)
    assert said == {"held": 0, "kept": 0}


def test_a_backup_that_is_switched_off_lets_go():
    said = run("""
        const page = open();
        page.push({ id: "a" }); await rest(); page.close();
        hasBackup = false;
        const again = open(); await rest();
        console.log(JSON.stringify({ held: again.held.size, kept: kept.size, sent }));
    """)
    assert said == {"held": 0, "kept": 0, "sent": ["a"]}


def test_what_is_unsaved_comes_before_what_is_held_where_the_browser_is_full():
    said = run("""
        const page = open();
        for (const id of ["a", "b", "c"]) page.push({ id }); await rest();
        most = kept.size; isDown = true;
        page.push({ id: "d" });
        console.log(JSON.stringify({ isKept: page.isKept, held: page.held.size }));
    """)
    assert said == {"isKept": True, "held": 3}


def test_offline_keeps_everything():
    said = run("""
        const page = open();
        page.push({ id: "a" }); await rest(); isDown = true;
        page.held._look(); await rest();
        page.close(); const again = open(); await rest();
        console.log(JSON.stringify({ held: again.held.size, kept: kept.size }));
    """)
    assert said == {"held": 1, "kept": 1}
