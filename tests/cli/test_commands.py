"""Each command, with the app stopped and with it running."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.stub_openai import Answer, StubServer, completion, echo, failure

ROWS = [
    {"instruction": f"Name a fact about the number {n}.", "output": f"The number {n} is nice."}
    for n in range(12)
]


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(row) for row in ROWS]
    lines.insert(6, '{"instruction": "broken')
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_from_a_file_to_files(studio, rows_file, tmp_path):
    seen = studio("import", str(rows_file), "--preview", "--json").json
    assert seen["mapping"]["prompt"] == "instruction"
    assert studio("list", "--count").out.strip() == "0"

    report = studio("import", str(rows_file), "--json").json["counts"]
    assert (report["seeds_new"], report["pairs_new"], report["problem_count"]) == (12, 12, 1)
    assert report["problems"][0]["line"] == 7
    again = studio("import", str(rows_file)).out
    assert "0 new prompts (12 known), 0 new answers (12 known)" in again
    assert "line 7" in again

    pairs = studio("list", "--json").json
    assert [p["prompt"] for p in pairs] == [row["instruction"] for row in ROWS]
    assert pairs[0]["final_answer"] == "The number 0 is nice."
    assert [p["id"] for p in studio("list", "--limit", "2", "--newest", "--json").json] == [
        pairs[-1]["id"],
        pairs[-2]["id"],
    ]
    page = studio("list", "--after", pairs[9]["id"], "--json").json
    assert [p["id"] for p in page] == [p["id"] for p in pairs[10:]]
    assert pairs[3]["id"] in studio("list", "--search", "NUMBER 3").out
    assert len(studio("list", "seeds", "--json").json) == 12

    first, second, third = (p["id"] for p in pairs[:3])
    studio("decide", "accept", first)
    studio("decide", "reject", second, "--reason", "wrong")
    studio("decide", "edit", third, "--answer", "Two is even.")
    done = {p["id"]: p for p in studio("list", "--json").json}
    assert done[first]["status"] == "accepted"
    assert (done[second]["status"], done[second]["reject_reason"]) == ("rejected", "wrong")
    assert done[third]["final_answer"] == "Two is even."
    assert "Took back 1" in studio("decide", "undo").out
    assert studio("list", "--status", "accepted", "--count", "--json").json == {"count": 1}
    assert studio("decide", "accept", "--all", "--search", "number 11", "--json").json["count"] == 1
    assert studio("decide", "accept", "--all", "--json").json["count"] == 9
    assert studio("decide", "accept", "--all", "--json").json["count"] == 0

    assert "11 rows" not in studio("freeze", "first", "--preview").out
    assert studio("list", "snapshots", "--json").json == []
    snapshot = studio("freeze", "first", "--validation-share", "0.2", "--json").json
    assert snapshot["train_rows"] + snapshot["validation_rows"] == 11
    assert "first" in studio("list", "snapshots").out
    assert studio("freeze", "first", code=1).err.startswith("Error: ")

    out = tmp_path / "out"
    out.mkdir()
    studio("export", "pairs", "--status", "accepted", "-o", str(out / "a.jsonl"))
    lines = (out / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 11
    assert json.loads(lines[0])["messages"][-1]["content"] == "The number 0 is nice."
    studio("export", "pairs", first, second, "-o", str(out / "two.parquet"))
    assert pq.read_table(out / "two.parquet").num_rows == 2
    studio("export", "snapshot", "first", "-o", str(out / "s.zip"))
    assert (out / "s.zip").read_bytes()[:2] == b"PK"
    assert studio("export", "pairs", "-o", str(out / "a.txt"), code=1).err
    assert studio("export", "preferences", "-o", str(out / "p.jsonl"), code=1).err


def test_generate_from_a_server(studio, stub, rows_file):
    studio("import", str(rows_file))
    line = ("teacher", "add", "stub", "--model", "stub-1", "--url", stub.url, "--json")
    more = studio(*line, "--url", "http://127.0.0.1:9/v1", "--requests-per-min", "600").json
    assert (more["base_urls"], more["requests_per_min"]) == (["http://127.0.0.1:9/v1"], 600)
    saved = studio(*line).json
    assert saved["kind"] == "openai"
    assert "stub" in studio("teacher", "list").out
    assert studio("teacher", "test", "stub", "--json").json

    arguments = ("generate", "--teacher", "stub", "--recipe", "best_of_n", "--n", "2")
    asked = len(stub.requests)
    nothing = studio(*arguments, code=1)  # every prompt has an answer already
    assert nothing.err.startswith("Error: ")
    seen = studio(*arguments, "--again", "--preview", "--json").json
    assert seen["requests"] == 24
    assert seen["first"]["body"]["model"] == "stub-1"
    assert len(stub.requests) == asked
    job = studio(*arguments, "--again", "--limit", "5", "--max-tokens", "7", "--json").json
    assert job["state"] == "done"
    assert len(stub.requests) == asked + 10
    assert stub.requests[-1]["max_tokens"] == 7 or stub.requests[-1]["max_completion_tokens"] == 7
    assert studio("list", "--job", job["id"], "--count").out.strip() == "10"
    made = studio("list", "--from", "stub", "--by", "best_of_n", "--limit", "1", "--json").json[0]
    assert made["answer"].startswith("Answer to: Name a fact")

    assert "count=5" in studio("recipes").out
    tried = ("generate", "--teacher", "stub", "--recipe", "self_instruct", "--again", "--try")
    stub.behave = lambda body: Answer(completion("None that I know of."))
    assert "nothing kept" in studio(*tried, "--option", "count=2").out
    stub.behave = echo
    assert "outside 1 to 20" in studio(*tried, "--option", "count=99", code=1).err
    assert "NAME=VALUE" in studio(*tried, "--option", "count", code=1).err
    asked = len(stub.requests)
    assert [j["kind"] for j in studio("jobs", "--json").json] == [
        "generate_try",
        "generate",
        "import",
    ]
    assert "done" in studio("jobs", "show", job["id"]).out
    assert studio("jobs", "show", job["id"][-8:], "--json").json["id"] == job["id"]
    assert studio("jobs", "resume", job["id"], "--json").json["state"] == "done"
    assert len(stub.requests) == asked  # nothing was missing
    studio("teacher", "delete", "stub")
    assert studio("generate", "--teacher", "stub", "--again", code=1).err


def test_a_generation_that_fails_says_why(studio, stub, rows_file):
    studio("import", str(rows_file))
    studio("teacher", "add", "stub", "--model", "stub-1", "--url", stub.url)
    line = ("generate", "--teacher", "stub", "--again", "--limit", "2")
    stub.behave = lambda body: (
        failure(400, "this prompt is not liked") if "number 1." in str(body) else echo(body)
    )
    assert "1 failed at stub" in studio(*line).out
    stub.behave = lambda body: failure(401, "bad key")
    refused = studio(*line, code=1)
    assert "401" in refused.err
    assert "jobs resume" in refused.err
    assert "Traceback" not in refused.err


def test_workspaces(studio, rows_file):
    assert "main" in studio("workspace", "list", "--json").json
    name = f"other-{uuid.uuid4().hex[:8]}"
    studio("workspace", "create", name)
    assert studio("workspace", "create", name, "--json", code=1).json["error"]["code"] == "conflict"
    studio("--workspace", name, "import", str(rows_file))
    assert studio("list", "--count", "--workspace", name).out.strip() == "12"
    assert studio("list", "--count").out.strip() == "0"
    moved_to = Path(studio("workspace", "delete", name, "--yes", "--json").json["moved_to"])
    assert (moved_to / "studio.duckdb").is_file()
    assert name not in studio("workspace", "list").out.split()
    missing = studio("--workspace", name, "list", "--json", code=1).json
    assert missing["error"]["code"] == "not_found"


def test_refusals_are_told_in_words_and_as_json(studio, tmp_path):
    ran = studio("import", str(tmp_path / "nowhere.jsonl"), code=1)
    assert ran.out == ""
    assert "nowhere.jsonl is not there" in ran.err
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert studio("import", str(empty), code=1).err.startswith("Error: ")
    assert "No pair is named" in studio("decide", "accept", code=1).err
    unknown = studio("jobs", "cancel", "0" * 36, "--json", code=1).json
    assert unknown["error"]["code"] == "not_found"
    assert studio("decide", "explode", code=2).err
    assert studio("train", "no-such-snapshot", "--json", code=1).json["error"]["message"]


def test_detach_needs_the_app(studio, stub, rows_file, home):
    studio("import", str(rows_file))
    studio("teacher", "add", "stub", "--model", "stub-1", "--url", stub.url)
    line = ("generate", "--teacher", "stub", "--again", "--limit", "3", "--detach", "--json")
    if not (home / "server.json").exists():
        refusal = studio(*line, code=1).json["error"]
        assert "running app" in refusal["message"]
        assert stub.requests == []
        return
    job = studio(*line).json
    assert job["state"] in ("queued", "running", "done")
    assert studio("jobs", "show", job["id"], "--json").json["id"] == job["id"]
