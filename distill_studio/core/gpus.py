"""NVIDIA GPUs as the driver's own tool lists them, whether torch can use them or not.

Needs nothing but the standard library: the environment of vLLM is made with it.
"""

import shutil
import subprocess
from dataclasses import dataclass

_QUERY = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Gpu:
    """One of them. `memory_gib` is 0 where it shares the machine's."""

    name: str
    memory_gib: float

    def __str__(self) -> str:
        return f"{self.name}, {self.memory_gib:.0f} GiB" if self.memory_gib else self.name


def nvidia_gpus() -> list[Gpu]:
    """All of them, in the driver's order; none where there is no driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        listing = subprocess.run(
            [command, *_QUERY], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [gpu for line in listing.stdout.splitlines() if (gpu := _gpu(line)) is not None]


def _gpu(line: str) -> Gpu | None:
    name, comma, memory = line.rpartition(",")
    try:
        return Gpu(name.strip(), float(memory) / 1024) if comma else None
    except ValueError:  # "[N/A]"
        return Gpu(name.strip(), 0.0)
