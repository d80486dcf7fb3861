"""The parts of the harness's child that need no harness: refusals, events, hashes, its results."""

import json
import subprocess
import sys
from types import SimpleNamespace

import httpx
import pytest

from distill_studio.core.errors import InvalidInput, Unavailable
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.core.records.benchmark import BenchmarkSettings
from distill_studio.evaluate.harness import command, worker
from distill_studio.evaluate.harness.catalogue import KNOWN, MAIN_METRIC, refuse_code
from distill_studio.evaluate.harness.results import read_events, read_results
from tests.stub_openai import StubServer


def task(output: str, *, unsafe: bool = False) -> SimpleNamespace:
    return SimpleNamespace(OUTPUT_TYPE=output, config=SimpleNamespace(unsafe_code=unsafe))


def test_tasks_that_run_code_or_ask_a_chat_for_likelihoods_are_refused():
    with pytest.raises(worker.Refused, match="outside the sandbox"):
        worker.check_tasks({"x": task("generate_until", unsafe=True)}, "hf")
    with pytest.raises(worker.Refused, match="chat server does not tell"):
        worker.check_tasks({"x": task("multiple_choice")}, "local-chat-completions")
    worker.check_tasks({"x": task("multiple_choice")}, "local-completions")
    worker.check_tasks({"x": task("generate_until")}, "local-chat-completions")


@pytest.mark.parametrize("name", ["humaneval", "humaneval_plus", "mbpp_instruct", "cruxeval_i"])
def test_the_way_out_for_code_is_a_suite(name):
    with pytest.raises(InvalidInput, match="suite scored by unit tests"):
        refuse_code(["gsm8k", name])


def test_an_unknown_task_is_told_its_neighbours():
    with pytest.raises(worker.Refused) as refused:
        worker.check_names(["gsm8"], ["gsm8k", "mmlu"])
    assert "gsm8k" in refused.value.hint


def test_known_tasks_are_named_once_and_main_figures_belong_to_them():
    names = [one.name for one in KNOWN]
    assert len(set(names)) == len(names)
    assert set(MAIN_METRIC) <= set(names)


def test_no_event_holds_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    path = tmp_path / "events.jsonl"
    worker.Events(path).write("failed", message="401 for sk-secret", hint="")
    events, offset = read_events(path)
    assert events == [{"kind": "failed", "message": "401 for ***", "hint": ""}]
    with path.open("a") as file:
        file.write('{"kind": "no')  # a line still being written
    assert read_events(path, offset) == ([], offset)


def test_no_output_holds_the_key(tmp_path):
    with (tmp_path / "stdout.log").open("w") as file:
        out = worker.Masked(file, "sk-secret")
        print("headers={'Authorization': 'Bearer sk-secret'}", file=out)
        out.flush()
    assert (tmp_path / "stdout.log").read_text() == "headers={'Authorization': 'Bearer ***'}\n"


def test_an_adapter_is_asked_with_its_own_tokenizer(tmp_path):
    asked = command.local_run(
        tmp_path / "adapter", tmp_path / "base", ["gsm8k"], BenchmarkSettings(),
        device="cpu", dtype="float32", own_tasks="",
    ).model_args  # fmt: skip
    assert asked["pretrained"] == str(tmp_path / "base")
    assert asked["peft"] == asked["tokenizer"] == str(tmp_path / "adapter")


def test_the_hash_follows_contents(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = worker.weights_hash([str(tmp_path)])
    (tmp_path / "notes.txt").write_text("no weights")
    assert worker.weights_hash([str(tmp_path)]) == first
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert worker.weights_hash([str(tmp_path)]) != first
    assert worker.weights_hash([]) == ""


def test_a_group_counts_its_parts_and_only_what_was_asked_is_a_column(tmp_path):
    figures = {"alias": "x", "sample_len": 3, "acc,none": 0.5, "acc_stderr,none": "N/A"}
    leaf = {"acc,none": 0.25, "acc_stderr,none": 0.1, "acc_norm,none": 0.5}
    counts = {"original": 100, "effective": 3}
    found = {
        "results": {"mmlu": figures, "mmlu_law": leaf, "mmlu_art": leaf, "easy": leaf},
        "group_subtasks": {"mmlu": ["mmlu_law", "mmlu_art"]},
        "versions": {"mmlu_law": 1.0},
        "n-shot": {"mmlu_law": 5},
        "higher_is_better": {"mmlu_law": {"acc": False}},
        "n-samples": {"mmlu_law": counts, "mmlu_art": counts, "easy": counts},
        "fingerprints": {"mmlu_law": "a", "mmlu_art": "b"},
        "packages": {"lm_eval": "0.4.13"},
        "model": {"sha256": ""},
        "seconds": 1.0,
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps(found))
    scores, facts = read_results(path, ("mmlu", "a_tag"))
    by_task = {(one.task, one.metric): one for one in scores}
    assert len(by_task) == 7
    whole, law = by_task["mmlu", "acc"], by_task["mmlu_law", "acc"]
    assert (whole.value, whole.stderr, whole.n, whole.total) == (0.5, None, 6, 200)
    assert (law.stderr, law.n, law.shots, law.version) == (0.1, 3, 5, "1.0")
    assert not law.is_higher_better
    assert whole.is_asked
    assert not law.is_asked
    assert by_task["easy", "acc"].is_asked  # a tag opened into its tasks
    assert facts["packages"] == {"lm_eval": "0.4.13"}


def test_a_server_is_told_no_key_and_a_limit_that_would_not_hold_is_refused():
    teacher = TeacherConfig(
        name="t", kind=TeacherKind.OPENAI, model="m", base_url="http://h/v1", key_env="MY_KEY"
    )
    chat = command.server_run(teacher, None, ["gsm8k"], BenchmarkSettings(), own_tasks="")
    assert chat.model_args["base_url"] == "http://h/v1/chat/completions"
    assert "key" not in chat.model_dump_json().lower()
    by_completions = BenchmarkSettings(api="completions", chat_template=False)
    other = command.server_run(teacher, None, ["mmlu"], by_completions, own_tasks="")
    assert other.backend == "local-completions"
    for limit in ({"spend_limit_usd": 1.0}, {"requests_per_min": 5}, {"tokens_per_min": 5}):
        bounded = teacher.model_copy(update=limit)
        with pytest.raises(InvalidInput, match="does not keep it"):
            command.server_run(bounded, None, ["gsm8k"], BenchmarkSettings(), own_tasks="")
    with pytest.raises(InvalidInput, match="chat turns"):
        command.server_run(
            teacher, None, ["gsm8k"], BenchmarkSettings(chat_template=False), own_tasks=""
        )


def test_a_missing_environment_says_how_to_make_it(tmp_path):
    with pytest.raises(Unavailable, match="make lm-eval"):
        command.interpreter(tmp_path / "python")


def test_the_child_connects_to_nothing_private(tmp_path):
    """In a process of its own, for what it does cannot be undone; the harness's two libraries."""
    servers = [StubServer(), StubServer()]
    barred, ours = (httpx.URL(s.url).port for s in servers)
    program = f"""
import runpy, urllib.request
child = runpy.run_path({worker.__file__!r})
child["stay_outside"](["named.example:{barred}"], [{ours}])
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({{}})))

def ask(host, port):
    try:
        return urllib.request.urlopen(f"http://{{host}}:{{port}}/v1/models", timeout=60).status
    except OSError as err:
        return "private" if "private" in str(err) else repr(err)

print(ask("127.0.0.1", {barred}), ask("localhost", {barred}), ask("2130706433", {barred}))
print(ask("127.0.0.1", {ours}))
import requests
session = requests.Session()
session.trust_env = False
try:
    session.get("http://127.0.0.1:{barred}/v1/models")
except requests.ConnectionError as err:
    print("private" if "private" in str(err) else err)
"""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=240
        )
    finally:
        for server in servers:
            server.close()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["private private private", "200", "private"]
    assert servers[0].paths == []
    assert servers[1].paths == ["/v1/models"]


def test_the_child_reaches_a_name_that_is_allowed():
    server = StubServer()
    port = httpx.URL(server.url).port
    program = f"""
import runpy, socket, urllib.request
plain = socket.getaddrinfo
there = lambda host: "127.0.0.1" if "example" in host else host
socket.getaddrinfo = lambda host, *a, **k: plain(there(host), *a, **k)
child = runpy.run_path({worker.__file__!r})
child["stay_outside"](["good.example"], [])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
for name in ("bad.example", "good.example"):
    try:
        print(opener.open(f"http://{{name}}:{port}/v1/models", timeout=60).status)
    except OSError as err:
        print("private" if "private" in str(err) else repr(err))
"""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=240
        )
    finally:
        server.close()
    assert done.stdout.splitlines() == ["private", "200"], done.stderr


def test_a_run_is_told_where_it_may_connect(tmp_path):
    from distill_studio.core.reach import Reach
    from distill_studio.services.benchmark_work import _within

    teacher = TeacherConfig(
        name="T", kind=TeacherKind.OPENAI, model="m", base_url="http://127.0.0.1:1/v1"
    )
    settings = BenchmarkSettings()
    told = command.server_run(teacher, None, ["gsm8k"], settings, own_tasks="")
    assert not _within(told, Reach()).is_guarded
    within = _within(told, Reach(is_open=False, allowed=("a.example",), own_ports=lambda: {8001}))
    assert (within.is_guarded, within.allow_hosts, within.own_ports) == (
        True, ["a.example"], [8001],
    )  # fmt: skip
