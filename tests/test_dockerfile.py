"""The Dockerfile, as far as it can be tried without Docker: its files, arguments and commands.

Each RUN is run by a shell in which pip, python, apt-get and the like only write down how they were
called.
"""

import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from distill_studio.core.settings import Settings
from distill_studio.teachers import vllm_server
from tests.conftest import ROOT

PLAYED = ("pip", "python", "apt-get", "useradd", "install", "rm")
SCRIPT = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "{bin}/pip" "$3/bin/pip" ;;
esac
"""


def instructions() -> list[tuple[str, str]]:
    """Each instruction and the rest of its line, continuations joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line.strip()]


def of(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def built(tmp_path: Path, **arguments: str) -> list[str]:
    """The commands that a build with these arguments runs."""
    log, tools = tmp_path / "log", tmp_path / "bin"
    tools.mkdir()
    for name in PLAYED:
        path = tools / name
        path.write_text(SCRIPT.format(log=log, bin=tools), encoding="utf-8")
        path.chmod(0o755)
    declared = {name: value.strip('"') for name, _, value in (a.partition("=") for a in of("ARG"))}
    assert set(arguments) <= set(declared)
    env = declared | arguments | {"PATH": f"{tools}:{os.environ['PATH']}"}
    for command in of("RUN"):
        subprocess.run(["sh", "-e", "-c", command], cwd=tmp_path, env=env, check=True)
    return log.read_text(encoding="utf-8").splitlines()


def test_what_it_copies_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in of("COPY"):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert not any(fnmatch(source, pattern) for pattern in ignored), source


def test_every_requirements_file_it_installs_was_copied_before() -> None:
    copied: set[str] = set()
    for kind, rest in instructions():
        if kind == "COPY":
            copied |= set(rest.split()[:-1])
        for name in re.findall(r"-r (\S+\.txt)", rest) if kind == "RUN" else ():
            assert name in copied, name


def test_every_argument_is_used_and_every_setting_known() -> None:
    runs = " ".join(of("RUN"))
    for argument in of("ARG"):
        assert f"${argument.partition('=')[0]}" in runs
    for name in re.findall(r"DISTILL_STUDIO_(\w+)=", " ".join(of("ENV"))):
        assert name.lower() in Settings.model_fields, name


def test_a_plain_build_installs_neither_compiler_nor_vllm(tmp_path: Path) -> None:
    commands = built(tmp_path)
    installs = [command for command in commands if command.startswith("pip")]
    assert installs == [
        "pip install --no-cache-dir -r requirements.txt",
        "pip install --no-cache-dir --no-deps -r requirements-starter.txt",
    ]
    assert not any(command.startswith("apt-get") for command in commands)


@pytest.mark.parametrize("arguments", [{"GPU": "1"}, {"GPU": "1", "VLLM": "1"}])
def test_a_build_for_gpus(tmp_path: Path, arguments: dict[str, str]) -> None:
    commands = built(tmp_path, PIP_EXTRA="--extra-index-url https://x.example", **arguments)
    extra = "pip install --no-cache-dir --extra-index-url https://x.example"
    assert f"{extra} -r requirements-gpu.txt" in commands
    assert any("gcc" in command for command in commands), "Triton compiles when it runs"
    assert (f"{extra} -r requirements-vllm.txt" in commands) == ("VLLM" in arguments)
    assert (tmp_path / ".venv-vllm" / "bin" / "pip").exists() == ("VLLM" in arguments)


def test_vllm_lies_where_the_app_looks_for_it(tmp_path: Path, monkeypatch) -> None:
    assert of("WORKDIR") == ["/app"]
    monkeypatch.setattr(vllm_server, "_ROOT", tmp_path)
    python = tmp_path / ".venv-vllm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert vllm_server.interpreter(None) == python


def test_shell_commands_are_well_formed() -> None:
    for command in of("RUN"):
        subprocess.run(["sh", "-n", "-c", command], check=True)
