"""`runs compare`, `runs note` and `train --like`, over a data folder with two finished runs."""

from pathlib import Path
from typing import Any

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.cli.session import Session
from distill_studio.core.settings import Settings
from tests.services.test_runs import add_run
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.parametrize("place", ["stopped"], indirect=True)


@pytest.fixture
def runs(home: Path, starter_cache: Path) -> None:
    made = build_studio(Settings(home=home, cache=starter_cache, port=0))
    workspace = made.workspace("main")
    add_run(workspace, "one")
    add_run(workspace, "two", learning_rate=3e-4, alpha=0.5)
    made.close()


def test_runs_are_compared_and_noted(studio, runs: None) -> None:
    shown = studio("runs", "compare", "one", "two").out
    for said in ("Learning rate", "0.0003", "Held-out loss after", "cannot be compared: Alpha"):
        assert said in shown, said
    found = studio("runs", "compare", "two", "one", "--json").json
    assert [run["name"] for run in found["runs"]] == ["two", "one"]
    assert studio("runs", "compare", "one", code=1).err
    studio("runs", "note", "one", "too fast")
    studio("runs", "note", "one", "for sums", "--card")
    assert "too fast" in studio("runs", "notes", "one").out
    assert [n["in_card"] for n in studio("runs", "notes", "one", "--json").json] == [False, True]


def test_train_like_a_run_keeps_what_is_not_given(
    studio, runs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    real = Session.call

    def call(self: Session, operation: str, **arguments: Any) -> Any:
        if operation != "distill_preflight":
            return real(self, operation, **arguments)
        asked.append(arguments["spec"])
        return []

    monkeypatch.setattr(Session, "call", call)
    studio("train", "--like", "two", "--set", "learning_rate=1e-5", "--check")
    studio("train", "--like", "two", "--set", "epochs=2", "--teacher", "run:x", "--check")
    first, second = asked
    assert (first["snapshot"], first["method"], first["student"]) == (
        "a", "logit", "smollm2-135m-instruct",
    )  # fmt: skip
    assert (first["alpha"], first["learning_rate"], first["max_steps"]) == (0.5, 1e-5, 4)
    assert (second["learning_rate"], second["teacher"]) == (3e-4, "run:x")
    assert (second["max_steps"], second["epochs"]) == (None, 2)
    assert "No snapshot" in studio("train", "--check", code=1).err


def test_a_student_as_gguf(studio, runs: None, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.gguf"
    build_tiny_model(home / "workspaces" / "main" / "runs" / "one" / "model")
    assert str(file) in studio("export", "gguf", "one", "--type", "bf16", "-o", str(file)).out
    assert file.read_bytes()[:4] == b"GGUF"
    wrong = str(tmp_path / "one.zip")
    assert ".gguf" in studio("export", "gguf", "one", "-o", wrong, code=1).err
