"""Where to compute and in which numbers: the one place that decides. Imports torch late."""

import time
from typing import TYPE_CHECKING

from distill_studio.core.errors import Unavailable

if TYPE_CHECKING:
    import torch

_PROBE_SIZE = 768
_PROBE_REPEATS = 3


def pick_device(wanted: str) -> str:
    """`auto`, `cpu`, `cuda` or `mps` -> the device to use.

    Raises:
        Unavailable: The wanted device is not in this machine.
    """
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.insert(0, "cuda")
    elif torch.backends.mps.is_available():
        found.insert(0, "mps")
    if wanted == "auto":
        return found[0]
    if wanted.split(":")[0] not in found:
        raise Unavailable(
            f"This machine has no device '{wanted}'.", f"Choose auto or {' or '.join(found)}."
        )
    return wanted


def pick_dtype(wanted: str, device: str) -> "torch.dtype":
    """`auto`, `bf16` or `fp32` -> the dtype to compute in.

    On a CPU `auto` measures: bf16 is several times quicker with AVX512-BF16 or AMX, and several
    times slower without.
    """
    import torch

    if wanted == "bf16":
        return torch.bfloat16
    if wanted == "fp32" or device == "mps":
        return torch.float32
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    seconds = {dtype: _matmul_seconds(dtype) for dtype in (torch.bfloat16, torch.float32)}
    return min(seconds, key=lambda dtype: seconds[dtype])


def memory_gib(device: str) -> float:
    """Peak memory of this process so far: of the GPU, or resident on a CPU."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated()) / 2**30
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**30


def _matmul_seconds(dtype: "torch.dtype") -> float:
    """Best of some square products, after one to warm up."""
    import torch

    left = torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=dtype)
    left @ left
    best = float("inf")
    for _ in range(_PROBE_REPEATS):
        start = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - start)
    return best
