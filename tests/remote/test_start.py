"""The first program on the other machine, started as it is there."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from distill_studio.remote import records, start

TOKEN = "hf_annsTokenThatNobodyMayEverSee"
LOOKS = """
import os, pathlib, subprocess, sys
from distill_studio.start_pipe import piped
child = "import os,pathlib;print(pathlib.Path(f'/proc/{os.getppid()}/environ').read_bytes())"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, check=True).stdout)
print(pathlib.Path("/proc/self/environ").read_bytes(), dict(os.environ))
print("piped", len(piped()))
"""
PIPED = """
import os
def piped():
    return os.read(int(os.environ.pop("DISTILL_STUDIO_REMOTE_TOKEN_PIPE")), 4096)
"""


PIP = """
import os, pathlib
above = pathlib.Path(f"/proc/{os.getppid()}")
print("pip", (above / "environ").read_bytes())
for one in (above / "fd").iterdir():
    if int(one.name) > 2 and os.readlink(one).startswith("pipe:"):
        print(os.read(os.open(one, os.O_RDONLY | os.O_NONBLOCK), 4096))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """start.py in a package whose code tells what it can see."""
    package = tmp_path / "package"
    package.mkdir()
    with zipfile.ZipFile(package / records.CODE, "w") as archive:
        for name, text in (
            ("__init__", ""),
            ("start_pipe", PIPED),
            ("remote/__init__", ""),
            ("remote/machine", LOOKS),
        ):
            archive.writestr(f"distill_studio/{name}.py", text)
    files = {records.CODE: {"sha256": start.digest(package / records.CODE)}}
    (package / records.MANIFEST).write_text(json.dumps({"files": files}))
    (package / records.START).write_bytes(Path(start.__file__).read_bytes())
    return package / records.START


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc here")
@pytest.mark.parametrize("installs", [False, True])
def test_nobody_below_can_read_the_token(program: Path, installs: bool) -> None:
    there = {**os.environ, "HF_TOKEN": TOKEN, records.SKIP_INSTALL: "" if installs else "skip"}
    (program.parent / "pip.py").write_text(PIP)  # found before the real one
    ran = subprocess.run(
        [sys.executable, program], cwd=program.parent, env=there, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ("pip b'" in ran.stdout) == installs
    assert f"piped {len(TOKEN)}" in ran.stdout
    assert TOKEN not in ran.stdout + ran.stderr
    assert "HF_TOKEN" not in ran.stdout
