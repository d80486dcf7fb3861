"""The first program on the other machine: `python package/start.py`. Standard library alone.

Checks every file of the package, unpacks the app's code, installs what it needs (unless
DISTILL_STUDIO_REMOTE_INSTALL=skip) and becomes `python -m distill_studio.remote.machine`. First of
all it starts itself anew without the token, which comes through a pipe: neither the installer of
the requirements nor the worker finds it in their environment or in that of the process above them.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

TOKEN_VARIABLE = "HF_TOKEN"
PIPE_VARIABLE = "DISTILL_STUDIO_REMOTE_TOKEN_PIPE"  # number of what the token is read from
BEGAN_VARIABLE = "DISTILL_STUDIO_REMOTE_BEGAN"


def main() -> int:
    """Returns only when something is wrong: else this process becomes the training."""
    if TOKEN_VARIABLE in os.environ:
        _begin_anew()
    token = _piped()
    began = f"{time.time():.0f}"
    package = Path(__file__).resolve().parent
    manifest = json.loads((package / "package.json").read_text(encoding="utf-8"))
    for name, mark in manifest["files"].items():
        if digest(package / name) != mark["sha256"]:
            sys.stderr.write(f"{name} did not arrive as it was packed.\n")
            return 3
    code = package.parent / "code"
    with zipfile.ZipFile(package / "code.zip") as archive:
        archive.extractall(code)
    if os.environ.get("DISTILL_STUDIO_REMOTE_INSTALL") != "skip":
        said = [sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore"]
        wanted = ["-r", str(package / "requirements.txt")]
        done = subprocess.run([*said, *wanted], check=False)
        if done.returncode:
            sys.stderr.write("The requirements could not be installed.\n")
            return 4
    sys.stdout.flush()
    environment = os.environ | {
        "PYTHONPATH": str(code),
        "PYTHONUNBUFFERED": "1",
        BEGAN_VARIABLE: began,
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if token:
        environment[PIPE_VARIABLE] = str(_pipe(token))
    command = [sys.executable, "-m", "distill_studio.remote.machine", str(package)]
    os.execve(sys.executable, command, environment)


def _begin_anew() -> None:
    """Become this program without the token in what /proc shows of it."""
    token = os.environ.pop(TOKEN_VARIABLE)
    environment = {**os.environ, PIPE_VARIABLE: str(_pipe(token.encode()))}
    os.execve(sys.executable, [sys.executable, os.path.abspath(__file__)], environment)


def _pipe(token: bytes) -> int:
    """The number of a pipe that the next program reads the token from."""
    readable, writable = os.pipe()
    os.write(writable, token)
    os.close(writable)
    os.set_inheritable(readable, True)
    return readable


def _piped() -> bytes:
    """What the pipe holds; it is closed, so that the installer finds none to open in /proc."""
    number = os.environ.pop(PIPE_VARIABLE, "")
    if not number:
        return b""
    with os.fdopen(int(number), "rb") as pipe:
        return pipe.read()


def digest(path: Path) -> str:
    """SHA-256 of a file, as hex digits; '' where it is missing."""
    if not path.is_file():
        return ""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
