"""Where to compute, in which numbers, with which attention, quantised or not: the one place that
decides. Imports torch late.
"""

import importlib.util
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from distill_studio.core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import torch

_PROBE_SIZE = 768
_PROBE_REPEATS = 3


def one_gpu(wanted: str, processes: int, environment: MutableMapping[str, str]) -> str:
    """Let a training of one process see one GPU; the device it is then to ask for.

    Trainers spread over every GPU that a process sees, and ours refuse to. To be called before
    torch looks for GPUs.

    Args:
        wanted: As `pick_device` takes it; `cuda:1` is the second of those that may be seen.
        processes: Of the training; several see all and take one each.
        environment: Of this process; `CUDA_VISIBLE_DEVICES` is set.

    Raises:
        Unavailable: There are not so many.
    """
    kind, _, number = wanted.partition(":")
    if processes > 1 or kind not in ("auto", "cuda"):
        return wanted
    index = int(number or 0)
    seen = environment.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in seen.split(",") if name.strip()] if seen else []
    if names and index >= len(names):
        raise Unavailable(
            f"This process may see {len(names)} GPU(s), so there is no '{wanted}'.",
            "CUDA_VISIBLE_DEVICES says which; choose a lower number.",
        )
    if seen is None or names:  # an empty list hides them all, and goes on to
        environment["CUDA_VISIBLE_DEVICES"] = names[index] if names else str(index)
    return kind


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
        return torch.bfloat16 if _has_bf16() else torch.float32
    seconds = {dtype: _matmul_seconds(dtype) for dtype in (torch.bfloat16, torch.float32)}
    return min(seconds, key=lambda dtype: seconds[dtype])


def pick_attention(device: str, dtype: "torch.dtype") -> str | None:
    """The attention that transformers is asked for; None leaves it the choice.

    FlashAttention 2 where it is installed and can run: on NVIDIA GPUs from compute capability 8
    (Ampere) on, in half precision. Everywhere else torch's own fused kernel, which transformers
    takes by itself, but for architectures that cannot use it, such as Gemma 2.
    """
    import torch

    if not device.startswith("cuda") or dtype not in (torch.bfloat16, torch.float16):
        return None
    is_there = importlib.util.find_spec("flash_attn") is not None
    major, _ = torch.cuda.get_device_capability(device)
    return "flash_attention_2" if is_there and major >= 8 else None


def quantisation(wanted: str, device: str, has_lora: bool) -> object | None:
    """`none` or `nf4` -> how transformers packs the frozen weights (QLoRA, arXiv:2305.14314).

    Raises:
        Unavailable: No NVIDIA GPU, or bitsandbytes is missing.
        InvalidInput: Without LoRA nothing could be trained.
    """
    if wanted == "none":
        return None
    if not has_lora:
        raise InvalidInput(
            "Four-bit weights cannot be trained themselves.", "Train with LoRA, or do not quantise."
        )
    if not device.startswith("cuda"):
        raise Unavailable(
            "Four-bit weights (QLoRA) need an NVIDIA GPU.", "Train with LoRA, not quantised."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise Unavailable(
            "Four-bit weights (QLoRA) need the package bitsandbytes.",
            "Install requirements-gpu.txt, or train with LoRA, not quantised.",
        )
    import torch
    from transformers import BitsAndBytesConfig

    is_bf16 = _has_bf16()
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if is_bf16 else torch.float16,
    )


def check_sharding(sharding: str, device: str) -> None:
    """Refuse to spread a student over devices that cannot hold a part of it.

    Raises:
        Unavailable: FSDP without GPUs.
    """
    if sharding == "fsdp" and not device.startswith("cuda"):
        raise Unavailable(
            "Spreading the student over several devices (FSDP) needs NVIDIA GPUs.",
            "Train with sharding none: each process then holds the whole student.",
        )


def memory_gib(device: str) -> float:
    """Peak memory of this process so far: of the GPU, or resident on a CPU."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated()) / 2**30
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**30


def _has_bf16() -> bool:
    """Whether the GPU has bf16 instructions; before compute capability 8 torch emulates them."""
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


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
