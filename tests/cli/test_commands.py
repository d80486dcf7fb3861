"""Each command, with the app stopped and with it running."""

import io
import json
import uuid
import zipfile
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
    made = studio("export", "trainer", "llama-factory", "first", "-o", str(out / "t.zip")).out
    assert "11 rows" in made
    assert zipfile.ZipFile(out / "t.zip").testzip() is None
    assert studio("export", "trainer", "axolotl", "none", "-o", str(out / "n.zip"), code=1).err
    assert studio("export", "pairs", "-o", str(out / "a.txt"), code=1).err
    assert studio("export", "preferences", "-o", str(out / "p.jsonl"), code=1).err


def test_generate_from_a_server(studio, stub, rows_file):
    studio("import", str(rows_file))
    line = ("teacher", "add", "stub", "--model", "stub-1", "--url", stub.url, "--json")
    more = studio(*line, "--url", "http://127.0.0.1:9/v1", "--requests-per-min", "600").json
    assert (more["base_urls"], more["requests_per_min"]) == (["http://127.0.0.1:9/v1"], 600)
    told = studio("teacher", "test", "stub").out
    assert "1 of 2 addresses answers." in told
    assert [line.split()[1] for line in told.splitlines() if line.startswith("http")] == [
        "ok",
        "error",
    ]
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
    packed = studio("train", "any", "--method", "dpo", "--packing", code=1)
    assert "packing belongs to sft and logit" in packed.err


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


def test_accounts_from_a_shell(studio, monkeypatch):
    """The owner never gets a password: the shared app would ask everybody to log in."""
    boss, name = (f"{word}-{uuid.uuid4().hex[:8]}" for word in ("boss", "ann"))
    assert "/join?code=" in studio("user", "add", boss, "--role", "owner").out
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert "10 characters" in studio("user", "add", name, "--stdin", code=1).err
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert studio("user", "add", name, "--stdin", "--json").json["account"]["has_password"]
    listed = {row["name"]: row for row in studio("user", "list", "--json").json}
    assert listed[name]["role"] == "reviewer"
    assert not listed[boss]["has_password"]
    assert "may log in" in studio("user", "list").out
    studio("user", "role", name, "viewer")
    assert "/join?code=" in studio("user", "invite", name).out
    monkeypatch.setattr("sys.stdin", io.StringIO("another horse battery\n"))
    assert studio("user", "passwd", name, "--stdin", "--json").json["role"] == "viewer"
    assert studio("user", "disable", name, "--json").json["is_disabled"]
    assert not studio("user", "enable", name, "--json").json["is_disabled"]
    assert studio("user", "role", name, "emperor", code=1).err.startswith("Error: ")
    studio("user", "disable", boss)


def test_leaks_and_report(studio, stub, tmp_path):
    ducks = (
        "Janet keeps ducks that lay 16 eggs per day and she eats three of them for breakfast,"
        " how many eggs are left?"
    )
    rows = tmp_path / "rows.jsonl"
    texts = [(f"Solve: {ducks}", "13"), ("Why do ships float?", "Water."), ("A\x1b[31m?", "B.")]
    rows.write_text("\n".join(json.dumps({"prompt": p, "response": r}) for p, r in texts))
    bench = tmp_path / "sums.jsonl"
    bench.write_text(json.dumps({"frage": ducks, "note": "x", "loesung": "It is thirteen."}))
    studio("import", str(rows))
    assert "leaks add FILE" in studio("leaks", "list").out
    assert "openai/gsm8k" in studio("leaks", "known").out
    assert studio("leaks", "check", code=1).err.startswith("Error: There is no benchmark")
    added = studio("leaks", "add", str(bench), "--question", "frage", "--answer", "loesung")
    assert "Added sums: 1 items" in added.out
    checked = studio("leaks", "check", "--json").json
    assert checked == {"sums": {"checked": 3, "rows": 1, "items": 1}}
    shown = studio("leaks", "report", "sums").out
    assert "ngram 100%" in shown
    assert "janet keeps ducks" in shown
    example = studio("leaks", "report", "sums", "--json").json["examples"][0]
    place = ("sums", str(example["item"]), example["text_hash"])
    studio("leaks", "judge", *place, "not_leak")
    assert studio("leaks", "report", "sums", "--json").json["denied"] == 1
    studio("leaks", "judge", *place, "clear")
    assert studio("leaks", "queue", "--json").json["candidates"] == []
    studio("teacher", "add", "stub", "--model", "stub-1", "--url", stub.url)
    assert "no candidate" in studio("leaks", "ask", "stub", code=1).err
    assert "cannot be reached" in studio("leaks", "get", "GSM8K", code=1).err

    printed = studio("report").out
    assert printed.startswith("# Report on the dataset")
    assert "\x1b" not in printed
    report = studio("report", "--json").json
    assert report["came_in"]["rows"] == 3
    assert report["checked"][0]["rows_hit"] == 1
    for name, begins in (("r.html", "<!doctype"), ("r.md", "# Report"), ("r.json", "{")):
        studio("report", "-o", str(tmp_path / name))
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    assert studio("report", "-o", str(tmp_path / "r.pdf"), code=1).err
    studio("leaks", "forget", "sums")
    assert studio("leaks", "list", "--json").json == []


def test_agreement_and_a_judges_votes(studio, tmp_path):
    rows = [
        {"instruction": f"Say {n}.", "output_1": f"{n}!", "generator_1": "big",
         "output_2": f"{n}?", "generator_2": "small", "preference": 1 + (n % 4 == 0)}
        for n in range(8)
    ]  # fmt: skip
    path = tmp_path / "judged.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert "Nobody has decided" in studio("agreement").out
    counts = studio("import", str(path), "--judge", "gpt", "--json").json["counts"]
    assert counts["preferences"] == 8
    found = studio("agreement", "ranking", "--anchor", "small", "--json").json
    assert (found["sources"], found["voters"]) == ("judges", {"gpt": 8})
    assert found["rates"][0]["rate"] == 0.75
    table = studio("agreement", "ranking", "--anchor", "small").out
    assert "big" in table
    assert "1191" in table  # odds of 3 to 1
    csv = studio("agreement", "ranking", "--anchor", "small", "--csv").out.splitlines()
    assert csv[0].startswith("model,rating,low,high")
    assert len(csv) == 3


@pytest.fixture
def static_model(tmp_path: Path) -> Path:
    """A sentence-transformers folder: a vector at random for each of a few words."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["name", "a", "fact", "about", "the", "number", "is", "nice", ".", "?"]
    vocabulary = {word: k for k, word in enumerate(["[UNK]", *words, *map(str, range(12))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "static"
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)])
    model.save(str(folder), create_model_card=False)
    return folder


def test_dedup_by_another_model(studio, rows_file, static_model):
    studio("import", str(rows_file))
    missing = studio("dedup", "--model", "/nowhere/at/all", code=1)
    assert "There is no model in /nowhere/at/all" in missing.err
    words = ("dedup", "--no-filters", "--field", "answer", "--threshold", "0.5")
    done = studio(*words, "--model", str(static_model), "--json").json
    assert done["settings"]["model"] == done["model"] == str(static_model)
    assert done["embedded"] == 12
    again = studio(*words).out  # the model in force stays, and nothing is embedded anew
    assert f"Compared by {static_model}; its similarities are its own." in again
    assert studio(*words, "--json").json["embedded"] == 0
    used = studio(*words, "--accepted", "--json").json["settings"]
    assert (used["field"], used["remove_accepted"]) == ("answer", True)
    assert studio("dedup", "--json").json["settings"] == used, "what is left out is as in force"
    kept = studio("dedup", "--not-accepted", "--json").json["settings"]
    assert (kept["field"], kept["remove_accepted"]) == ("answer", False)


def test_plans_say_what_is_wrong_with_them(studio, tmp_path):
    assert studio("plan", "--json").json == []
    file = tmp_path / "stages.json"
    file.write_text("{}", encoding="utf-8")
    assert "holds no list" in studio("stages", "p", str(file), code=1).err
    file.write_text("[", encoding="utf-8")
    assert "is not JSON" in studio("stages", "p", str(file), code=1).err
    file.write_text("[]", encoding="utf-8")
    assert "no stages yet" in studio("stages", "p", str(file), code=1).err
    varied = studio("sweep", "p", "snap", "--grid", "alpha=x", code=1).err
    assert "varies nothing" in varied
    one = studio("sweep", "p", "snap", "--grid", "seed=1", code=1).err
    assert "This grid has 1 run" in one
