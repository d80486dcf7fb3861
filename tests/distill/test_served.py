"""A run whose teacher is behind a vLLM server: what is refused, what is asked, how it trains."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.distill.config import LogitRun, RunConfig, parse_config
from distill_studio.distill.findings import Finding
from distill_studio.distill.preflight import check
from distill_studio.distill.server_checks import (
    KEY_VARIABLE,
    key_of,
    server_findings,
    stored_finding,
)
from tests.distill.run_worker import kinds, run_worker
from tests.stub_openai import Answer, StubServer, failure
from tests.stub_vllm import VllmLike
from tests.tiny_model import build_tiny_model

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")


@pytest.fixture(scope="module")
def vllm(tiny_model: Path) -> VllmLike:
    return VllmLike(tiny_model)


@pytest.fixture
def stub(vllm: VllmLike) -> Iterator[StubServer]:
    server = StubServer(vllm)
    server.owner = "vllm"
    server.about = {"root": "/models/tiny", "max_model_len": vllm.context}
    yield server
    server.close()


def server_at(url: str, **fields: Any) -> TeacherConfig:
    common = {"name": "Big", "kind": TeacherKind.OPENAI, "model": "stub-1", "max_retries": 0}
    return TeacherConfig(**(common | {"base_url": url} | fields))


def followed(url: str, folder: Path | str = "", **fields: Any) -> dict[str, Any]:
    """A run's teacher behind the server at `url`."""
    server = server_at(url, **fields).model_dump(mode="json")
    return {"folder": str(folder), "id": "server:Big", "server": server}


def notes(events: list[Any]) -> str:
    return " ".join(note.message for note in kinds(events, "note"))


def pruned(tiny_model: Path) -> dict[str, Any]:
    return {"base_folder": str(tiny_model), "base_id": "tiny", "keep_layers": 2}


# -- training -----------------------------------------------------------------------------


def test_it_trains_as_from_a_store_of_the_forward_pass(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path, stub: StubServer
) -> None:
    common = {
        "student": pruned(tiny_model),
        "signal": "cache",
        "top_k": 16,
        "grad_accumulation": 2,
        "batch_size": 3,
        "samples": 0,
        "cache_folder": str(tmp_path / "caches"),
    }
    forward = run_worker(make_run("logit", "forward", **common))
    served = run_worker(make_run("logit", "served", teacher=followed(stub.url), **common))
    assert served[-1].kind == "done", served[-1]
    for kind in ("step", "eval"):
        both = [[(e.loss, e.ce, e.kl) for e in kinds(one, kind)] for one in (forward, served)]
        assert len(both[0]) > 1
        for ours, theirs in zip(*both, strict=True):
            assert ours == pytest.approx(theirs, rel=2e-3)
    said = notes(served)
    assert "told by server:Big: the top 16 cover" in said
    assert "Asked again about 4 rows, the server differs by 0.00" in said
    assert "in this process" not in said, "its files are elsewhere"
    here = followed(stub.url, tiny_model)
    alike = run_worker(make_run("logit", "here", teacher=here, **common))
    assert alike[-1].kind == "done", alike[-1]
    assert "The same model in this process differs from its server by 0.00" in notes(alike)
    rows = len({tuple(r["prompt"]) for r in stub.requests if isinstance(r["prompt"], list)})
    asked = len(stub.requests)
    again = run_worker(make_run("logit", "again", teacher=here, **common | {"max_steps": 2}))
    assert again[-1].kind == "done"
    assert len(stub.requests) - asked == min(4, rows), "the store serves; a sample is asked again"


def test_a_store_that_is_whole_does_without_the_server(
    make_run: MakeRun, tmp_path: Path, stub: StubServer, vllm: VllmLike
) -> None:
    common = {"signal": "cache", "top_k": 8, "samples": 0, "max_steps": 2}
    common |= {"cache_folder": str(tmp_path / "caches"), "teacher": followed(stub.url)}
    assert run_worker(make_run("logit", "one", **common))[-1].kind == "done"
    stub.behave = lambda _: Answer(drops=True)
    again = run_worker(make_run("logit", "two", **common))
    assert again[-1].kind == "done"
    assert "the server was not asked again" in notes(again)
    lost = run_worker(make_run("logit", "three", **common | {"max_length": 24}))
    assert lost[-1].kind == "failed"
    assert "cannot be reached" in lost[-1].message
    stub.behave = VllmLike(build_tiny_model(tmp_path / "other", layers=5))
    changed = run_worker(make_run("logit", "four", **common))
    assert changed[-1].kind == "failed"
    assert "Big says something else of row" in changed[-1].message
    assert vllm.chat is not None


def test_a_server_with_another_model_than_its_files_is_found_out(
    make_run: MakeRun, tmp_path: Path, stub: StubServer
) -> None:
    other = build_tiny_model(tmp_path / "other", layers=5)
    teacher = followed(stub.url, other)
    events = run_worker(make_run("logit", teacher=teacher, signal="cache", top_k=8))
    assert events[-1].kind == "failed"
    assert "something else than the same model in this process" in events[-1].message
    assert "another revision" in events[-1].hint


def test_the_key_comes_from_the_environment_alone(
    make_run: MakeRun, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = followed(stub.url, key_env="BIG_KEY")
    server = server_at(stub.url, key_env="BIG_KEY")
    assert key_of(server, {"BIG_KEY": "a"}) == "a"
    assert key_of(server, {"BIG_KEY": "a", KEY_VARIABLE: "b"}) == "b"
    assert key_of(server_at(stub.url), {}) == ""
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret-1")
    folder = make_run("logit", teacher=teacher, signal="cache", top_k=8, max_steps=1, samples=0)
    assert run_worker(folder)[-1].kind == "done"
    assert {h["authorization"] for h in stub.headers} == {"Bearer sk-secret-1"}
    kept = [p for p in folder.rglob("*") if p.is_file() and b"sk-secret-1" in p.read_bytes()]
    assert kept == []


# -- pre-flight ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": 2.0}, "temperature 1 alone"),
        ({"kept": "draws"}, "random draws need all"),
        ({"signal": "online"}, "cannot be asked at each update"),
        ({"divergence": "reverse_kl"}, "only forward KL"),
        ({"features": {}}, "no hidden states"),
        ({"more_teachers": True}, "cannot be mixed"),
    ],
)
def test_what_a_server_cannot_give_is_refused(
    make_config: MakeConfig, tiny_model: Path, fields: dict[str, Any], words: str
) -> None:
    if "more_teachers" in fields:
        fields = {"more_teachers": [{"folder": str(tiny_model), "id": "tiny"}]}
    common = {"teacher": followed("http://127.0.0.1:1/v1"), "signal": "cache"}
    report = check(make_config("logit", **common | fields))
    errors = [f for f in report.findings if f.level == "error"]
    assert len(errors) == 1
    assert words in errors[0].message
    assert errors[0].hint


def test_on_policy_needs_the_teacher_here(make_config: MakeConfig) -> None:
    config = make_config("on_policy", teacher=followed("http://127.0.0.1:1/v1"))
    (error,) = [f for f in check(config).findings if f.level == "error"]
    assert "not of what the student will say" in error.message


def test_a_teacher_is_somewhere(make_config: MakeConfig) -> None:
    with pytest.raises(InvalidInput, match="a folder or a server"):
        parse_config(
            make_config("logit")
            .model_copy(update={"teacher": {"folder": "", "id": "x"}})
            .model_dump_json()
        )


def findings(make_config: MakeConfig, stub: StubServer, **fields: Any) -> list[Finding]:
    config = make_config("logit", teacher=followed(stub.url), signal="cache", **fields)
    assert check(config).is_ok
    return server_findings(config, "")


def test_preflight_asks_the_server(
    make_config: MakeConfig, stub: StubServer, tiny_model: Path, vllm: VllmLike
) -> None:
    (good,) = findings(make_config, stub, top_k=16)
    assert good.level == "info"
    assert "tells the top 16 of each token at temperature 1" in good.message
    assert server_findings(make_config("logit"), "") == []
    (long,) = findings(make_config, stub, top_k=16, max_length=256)
    assert (long.code, long.level) == ("over_context", "error")
    assert "255 or less" in long.hint
    stub.behave = VllmLike(tiny_model, max_logprobs=20)
    assert findings(make_config, stub, top_k=20)[0].level == "info"
    (more,) = findings(make_config, stub, top_k=64)
    assert more.level == "error"
    assert "--max-logprobs 64" in more.hint
    stub.behave = lambda body: failure(404, "no such page")
    (none,) = findings(make_config, stub)
    assert "Only vLLM's own server" in none.hint
    stub.behave = lambda body: Answer({"choices": [{"text": "x"}]})  # it takes no notice
    (other,) = findings(make_config, stub)
    assert "no log-probabilities of the prompt" in other.message
    stub.behave = lambda body: failure(401, "who are you?")
    assert "refused the key" in findings(make_config, stub)[0].message


def test_a_server_with_another_tokenizer_is_refused(
    make_config: MakeConfig, stub: StubServer, vllm: VllmLike
) -> None:
    def other(body: dict[str, Any]) -> Answer:
        answer = vllm(body)
        choice = answer.body["choices"][0]
        choice["prompt_token_ids"] = [*choice["prompt_token_ids"][:-1], 7]
        return answer

    stub.behave = other
    (error,) = findings(make_config, stub)
    assert (error.level, error.code) == ("error", "teacher")
    assert "different tokens" in error.message
    assert "SFT" in error.hint


def test_a_silent_server_warns_where_something_is_stored(
    make_run: MakeRun, make_config: MakeConfig, tmp_path: Path, stub: StubServer
) -> None:
    caches = tmp_path / "caches"
    common = {"teacher": followed(stub.url), "signal": "cache", "cache_folder": str(caches)}
    config = make_config("logit", **common)
    assert isinstance(config, LogitRun)
    stub.close()
    (error,) = server_findings(config, "")
    assert (error.level, error.code) == ("error", "server_unreachable")
    assert stored_finding(config, error) is None
    fresh = StubServer(stub.behave)
    try:
        again = common | {"teacher": followed(fresh.url)}
        assert run_worker(make_run("logit", **again, max_steps=1, samples=0))[-1].kind == "done"
        stored = make_config("logit", **again)
        assert isinstance(stored, LogitRun)
        warning = stored_finding(stored, error)
        assert warning is not None
        assert warning.level == "warning"
        assert stored_finding(config, error) is None, "another address is another teacher"
        torn = caches / "torn"
        torn.mkdir()
        (torn / "key.json").write_text('{"teacher": "x')
        assert stored_finding(stored, error) == warning
    finally:
        fresh.close()
    shutil.rmtree(caches)
    assert stored_finding(stored, error) is None
