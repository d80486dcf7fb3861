"""What another machine is told to run: in a folder of its own, at the same Hub, with no token."""

import shlex
import subprocess
from pathlib import Path

import pytest

from distill_studio.services.remote_state import RemoteRun
from distill_studio.services.remote_work import command, environment

TOKEN = "hf_annsTokenThatNobodyMayEverSee"


@pytest.fixture(autouse=True)
def another_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_a_command_names_the_hub_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    state = RemoteRun(kind="job", repo="ann/r", commit="a; rm -r b", timeout_s=600)
    assert environment(state)["HF_ENDPOINT"].startswith("http://127.0.0.1:")
    assert environment(state)["DISTILL_STUDIO_REMOTE_LIMIT_S"] == "600"
    assert "--revision 'a; rm -r b' " in command(state)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/it's")
    assert shlex.split(command(state))[:2] == ["export", "HF_ENDPOINT=https://hub.example/it's"]
    monkeypatch.setenv("HF_ENDPOINT", "https://huggingface.co/")
    assert "HF_ENDPOINT" not in command(state)
    assert "HF_ENDPOINT" not in environment(state)


def test_every_start_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """The command with programs that tell what they were asked."""
    for name, text in (
        ("hf", 'echo "hf $*"'),
        ("python", '[ "$1" = -m ] && { echo "pip ${HF_TOKEN-none}"; exit 0; }; ls -ld "${1%/*/*}"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    state = RemoteRun(kind="job", repo="ann/r", commit="c" * 40)
    there = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path), "HF_TOKEN": TOKEN}
    said = [
        subprocess.run(
            ["sh", "-c", command(state)], env=there, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert len({*tmp_path.glob("distill-run.*")}) == 2
    assert all("pip none\nhf download ann/r --revision cccc" in one for one in said)
    assert all("drwx------" in one for one in said)


def test_a_gpu_that_is_paid_for_must_be_there() -> None:
    state = RemoteRun(kind="job", repo="ann/r", commit="c" * 40)
    assert "DISTILL_STUDIO_REMOTE_DEVICE" not in environment(state)
    paid = state.model_copy(update={"gpus": 1})
    assert environment(paid)["DISTILL_STUDIO_REMOTE_DEVICE"] == "cuda"
