"""`import-hub` and `leaks collection` as commands, with a fake Hub, in a process of their own."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, app_environment
from tests.fake_hub import FakeHub
from tests.hub_data import jsonl, put

ROWS = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(8)]
SLUG = "ann/benchmarks-64f9a55bb3115b4f513ec026"
Run = Callable[..., str]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    put(hub.add("ann/rows"), {"train.jsonl": jsonl(ROWS), "test.jsonl": jsonl(ROWS[:3])})
    hub.collect(SLUG, "Benchmarks", [("dataset", "ann/rows", "")])
    yield hub
    hub.close()


@pytest.fixture
def run(hub: FakeHub, tmp_path: Path) -> Run:
    env = app_environment(
        tmp_path / "home", 0, hub.environment() | {"HF_HOME": str(tmp_path / "hf")}
    )

    def run(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "distill_studio", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if not code else done.stderr

    return run


def test_look_import_and_import_again(hub: FakeHub, run: Run) -> None:
    commit = hub.repo("ann/rows").head.id
    shown = run("import-hub", "ann/rows", "--preview")
    assert f"main, commit {commit}" in shown
    assert "train, test" in shown
    assert "prompt = question" in shown
    assert "row 1: What is 0?" in shown
    report = json.loads(
        run("import-hub", "ann/rows", "--rows", "5", "--map", "topic=answer", "--json")
    )
    assert report["source"] == f"ann/rows@{commit[:12]} (default, train)"
    assert report["counts"]["pairs_new"] == 5
    assert "8 rows: 3 new prompts (5 known)" in run("import-hub", f"{hub.url}/datasets/ann/rows")
    assert "has no split 'dev'" in run("import-hub", "ann/rows", "--split", "dev", code=1)


@pytest.mark.slow
def test_a_collection(run: Run) -> None:
    assert "ann/rows" in run("leaks", "collection", SLUG, "--look")
    assert "No benchmark yet" in run("leaks", "list")
    added = run("leaks", "collection", SLUG)
    assert "added" in added
    assert json.loads(run("leaks", "list", "--json"))[0]["items"] == 3
