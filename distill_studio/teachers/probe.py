"""Which device and number format are fastest here: measured once, remembered in the cache.

Machines differ (bf16 is five times faster than fp32 with AVX512-BF16 and far slower without), so
nothing is decided by rule. Start at `choose`.
"""

import json
import logging
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_ROWS_HIDDEN_INNER = ((16, 576, 1536), (256, 576, 1536))  # one decode step, one prompt
_ROUNDS, _REPEATS = 8, 4
_MIN_GAIN = 1.15  # bf16 must be clearly faster: fp32 is more exact


@dataclass(frozen=True)
class Choice:
    """Where and how to compute.

    Attributes:
        device: cpu, cuda or mps.
        dtype: float32 or bfloat16.
    """

    device: str
    dtype: str


def choose_device(wanted: str = "auto") -> str:
    """The device to use: `wanted` where it is there, else cuda, mps, cpu in this order."""
    import torch

    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there.insert(0, "cuda")
    return wanted if wanted in there else there[0]


def choose(cache_folder: Path, wanted_device: str = "auto") -> Choice:
    """The fastest number format on the device; timed at the first call on a machine (< 2 s)."""
    import torch

    device = choose_device(wanted_device)
    key = "|".join((device, _device_name(device), torch.__version__))
    path = cache_folder / "probe.json"
    known = _read(path)
    if key not in known:
        gain = bfloat16_gain(device)
        known[key] = asdict(Choice(device, "bfloat16" if gain >= _MIN_GAIN else "float32"))
        logger.info("probe: %s", known[key])
        cache_folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"probe.{time.monotonic_ns()}.tmp")
        draft.write_text(json.dumps(known, indent=2), encoding="utf-8")
        draft.replace(path)
    return Choice(device, str(known[key]["dtype"]))


def bfloat16_gain(device: str) -> float:
    """How many times as fast as float32 bfloat16 is; timed now (< 2 s on an idle machine)."""
    import torch

    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    best = {name: [float("inf")] * len(_ROWS_HIDDEN_INNER) for name in dtypes}
    for _ in range(_ROUNDS):  # in turn and the best of each, so that a busy machine misleads less
        for name, dtype in dtypes.items():
            times = [_seconds(device, dtype, *shape) for shape in _ROWS_HIDDEN_INNER]
            best[name] = [min(pair) for pair in zip(best[name], times, strict=True)]
    return _answer_seconds(best["float32"]) / _answer_seconds(best["bfloat16"])


def _answer_seconds(times: list[float]) -> float:
    """Weights the two shapes as an answer does: 100 prompt tokens, 150 written, 16 rows."""
    return times[0] * 150 / _ROWS_HIDDEN_INNER[0][0] + times[1] * 100 / _ROWS_HIDDEN_INNER[1][0]


def _seconds(device: str, dtype: "torch.dtype", rows: int, hidden: int, inner: int) -> float:
    """Time of one gated feed-forward block."""
    import torch

    x_TH = torch.randn(rows, hidden, device=device, dtype=dtype)
    up_IH = torch.randn(inner, hidden, device=device, dtype=dtype)
    down_HI = torch.randn(hidden, inner, device=device, dtype=dtype)
    with torch.inference_mode():
        start = time.perf_counter()
        for _ in range(_REPEATS):
            gate_TI = torch.nn.functional.linear(x_TH, up_IH)
            up_TI = torch.nn.functional.linear(x_TH, up_IH)
            torch.nn.functional.linear(torch.nn.functional.silu(gate_TI) * up_TI, down_HI)
        if device != "cpu":
            getattr(torch, device).synchronize()
    return (time.perf_counter() - start) / _REPEATS


def _device_name(device: str) -> str:
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", "").split()) & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
    return f"{facts.get('model name', platform.machine())} {' '.join(sorted(flags))}"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
