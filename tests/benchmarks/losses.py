"""Memory and time of the distillation losses against the dense form, TRL's and Liger's.

`python -m tests.benchmarks.losses --json`

Cases: `kl` is what a run computes, 0.1 CE + 0.9 T^2 KL at T = 2, with a frozen head (LoRA) and one
that trains; `jsd` is the one divergence that TRL and Liger have too; `uld` sorts both vocabularies,
in spans of one token. Forward and backward, fp32,
every position learned. Memory: the peak of resident memory above what the inputs take, each side
in a process of its own. Time: one process, sides alternate, medians of at least five rounds. Liger
takes part where it is installed (`liger-kernel` with `triton`; it runs on a CPU uncompiled).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.nn import functional

from distill_studio.distill.head import Head, Projection
from distill_studio.distill.losses.aligned_term import AlignedTerm
from distill_studio.distill.losses.cross_entropy import CrossEntropy
from distill_studio.distill.losses.distill_term import DistillTerm
from distill_studio.distill.losses.forward_kl import ForwardKl
from distill_studio.distill.losses.jsd import Jsd
from distill_studio.distill.losses.tiled import Term, tiled_loss
from distill_studio.distill.losses.unlike import UldDistance
from distill_studio.distill.signals.online import DenseTeacher

ALPHA, BETA, TEMPERATURE = 0.1, 0.9, 2.0
MOST_MEMORY, MOST_TIME, MOST_ERROR = 0.25, 1.1, 1e-4
CASES = ("kl_frozen_head", "kl", "jsd", "uld")


@dataclass
class Inputs:
    """Hidden states of both models, (N, H); heads (V, H); the tokens that follow, (N,)."""

    student_NH: Tensor
    weight_VH: Tensor
    teacher_NH: Tensor
    teacher_weight_VH: Tensor
    targets_N: Tensor

    def clear(self) -> None:
        """Forget gradients."""
        self.student_NH.grad = self.weight_VH.grad = None


def inputs(tokens: int, vocab: int, width: int, case: str) -> Inputs:
    """Random states whose logits spread like a language model's (a deviation of about 3)."""
    torch.manual_seed(0)
    scale = 3.0 / width**0.5
    return Inputs(
        torch.randn(tokens, width).requires_grad_(),
        (torch.randn(vocab, width) * scale).requires_grad_(case != "kl_frozen_head"),
        torch.randn(tokens, width),
        torch.randn(vocab, width) * scale,
        torch.randint(0, vocab, (tokens,)),
    )


def naive(x: Inputs, case: str) -> Tensor:
    """As one writes it first: all logits of both models."""
    logits_NV = x.student_NH @ x.weight_VH.T
    with torch.no_grad():
        teacher_NV = x.teacher_NH @ x.teacher_weight_VH.T
    if case == "uld":
        q_NV, p_NV = logits_NV.softmax(-1), teacher_NV.softmax(-1)
        gap_NV = q_NV.sort(descending=True).values - p_NV.sort(descending=True).values
        return gap_NV.abs().sum()
    if case == "jsd":
        log_q, log_p = logits_NV.log_softmax(-1), teacher_NV.log_softmax(-1)
        log_m = torch.logaddexp(log_q, log_p) - torch.log(torch.tensor(2.0))
        return 0.5 * (
            functional.kl_div(log_m, log_p, reduction="sum", log_target=True)
            + functional.kl_div(log_m, log_q, reduction="sum", log_target=True)
        )
    ce = functional.cross_entropy(logits_NV, x.targets_N, reduction="sum")
    kl = functional.kl_div(
        (logits_NV / TEMPERATURE).log_softmax(-1),
        (teacher_NV / TEMPERATURE).log_softmax(-1),
        reduction="sum",
        log_target=True,
    )
    return ALPHA * ce + BETA * TEMPERATURE**2 * kl


def ours(x: Inputs, case: str) -> Tensor:
    """The tiled loss."""
    teacher_NH = x.teacher_NH
    head = Projection(Head(x.teacher_weight_VH), teacher_NH.dtype, teacher_NH.device)
    terms: list[Term]
    if case == "jsd":
        terms = [DistillTerm(Jsd(), DenseTeacher(teacher_NH, head))]
    elif case == "uld":
        at_N = torch.arange(len(x.targets_N))
        spans_G4 = torch.stack([at_N, at_N + 1, at_N, at_N + 1], 1)
        ids, vocab = x.targets_N, len(x.weight_VH)
        teacher = DenseTeacher(teacher_NH, head)
        terms = [AlignedTerm(UldDistance(), teacher, spans_G4, ids, ids, vocab, vocab)]
    else:
        teacher = DenseTeacher(teacher_NH, head, TEMPERATURE)
        terms = [
            CrossEntropy(x.targets_N, ALPHA),
            DistillTerm(ForwardKl(), teacher, TEMPERATURE, weight=BETA),
        ]
    return tiled_loss(x.student_NH, Head(x.weight_VH), terms).total


def trl(x: Inputs, case: str) -> Tensor:
    """TRL's function behind its DistillationTrainer."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    assert case == "jsd"
    found = ChunkedDivergenceFunction.apply(
        x.student_NH, x.weight_VH, None, x.teacher_NH, x.teacher_weight_VH, None, 0.5
    )
    return found[0].sum()


def liger(x: Inputs, case: str) -> Tensor:
    """Liger's chunked JSD, uncompiled (its compiled form needs a GPU's compiler)."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    assert case == "jsd"
    loss = LigerFusedLinearJSDLoss(0.0, 1.0, beta=0.5, compiled=False)
    return loss(x.student_NH, x.weight_VH, x.teacher_NH, x.teacher_weight_VH, x.targets_N) * len(
        x.targets_N
    )


SIDES: dict[str, Callable[[Inputs, str], Tensor]] = {
    "naive": naive,
    "ours": ours,
    "trl": trl,
    "liger": liger,
}


def sides_of(case: str) -> list[str]:
    """Sides that can run a case here."""
    names = ["naive", "ours", "trl", "liger"] if case == "jsd" else ["naive", "ours"]
    if "liger" in names:
        try:
            import liger_kernel.chunked_loss  # noqa: F401
        except ImportError:
            names.remove("liger")
    return names


def peak_mib(side: str, case: str, shape: tuple[int, int, int]) -> float:
    """Peak resident memory of one forward and backward above that of the inputs (Linux)."""
    small = inputs(8, 64, shape[2], case)
    SIDES[side](small, case).backward()  # libraries allocate on first use
    x = inputs(*shape, case)
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    SIDES[side](x, case).backward()
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return peak / 1024 - before / 2**20


def peak_in_child(side: str, case: str, options: argparse.Namespace) -> float:
    """`peak_mib` in a process of its own."""
    shape = [f"--{name}={getattr(options, name)}" for name in ("tokens", "vocab", "width")]
    argv = [sys.executable, "-m", "tests.benchmarks.losses", f"--peak={side}:{case}", *shape]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def timed(
    x: Inputs, case: str, names: list[str], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """(seconds, processor seconds) of each side, alternating; the first round warms up.

    Processor seconds say more on a machine that does other things too.
    """
    seconds: dict[str, list[float]] = {name: [] for name in names}
    spent: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names:
            x.clear()
            start, start_cpu = time.perf_counter(), time.process_time()
            SIDES[name](x, case).backward()
            if turn:
                seconds[name].append(time.perf_counter() - start)
                spent[name].append(time.process_time() - start_cpu)
    return seconds, spent


def error(x: Inputs, case: str, name: str) -> float:
    """Largest difference from the dense form's gradients, as a share of their largest value."""
    found = []
    for side in ("naive", name):
        x.clear()
        SIDES[side](x, case).backward()
        found.append([t.grad for t in (x.student_NH, x.weight_VH) if t.grad is not None])
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))


def measure(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """A case, all its sides."""
    names = sides_of(case)
    x = inputs(options.tokens, options.vocab, options.width, case)
    seconds, spent = timed(x, case, names, options.rounds)
    sides: dict[str, dict[str, Any]] = {}
    for name in names:
        sides[name] = {
            "median_s": round(statistics.median(seconds[name]), 3),
            "min_s": round(min(seconds[name]), 3),
            "max_s": round(max(seconds[name]), 3),
            "median_cpu_s": round(statistics.median(spent[name]), 3),
        }
        if name != "naive":
            sides[name]["gradient_error"] = error(x, case, name)
    del x
    for name in names:
        sides[name]["peak_mib"] = round(peak_in_child(name, case, options), 1)
    for name in names[1:]:
        sides[name]["time_share"] = round(sides[name]["median_s"] / sides["naive"]["median_s"], 3)
        sides[name]["memory_share"] = round(sides[name]["peak_mib"] / sides["naive"]["peak_mib"], 3)
    return sides


def is_good(sides: dict[str, dict[str, Any]]) -> bool:
    """Ours within what is promised."""
    found = sides["ours"]
    return bool(
        found["memory_share"] <= MOST_MEMORY
        and found["time_share"] <= MOST_TIME
        and found["gradient_error"] <= MOST_ERROR
    )


def main() -> int:
    """Print the figures; 1 when ours is over a limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=4 * 512)
    parser.add_argument("--vocab", type=int, default=49_152)
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    if options.peak:
        side, case = options.peak.split(":")
        print(peak_mib(side, case, (options.tokens, options.vocab, options.width)))
        return 0
    loads = [round(os.getloadavg()[0], 1)]
    found = {}
    for case in CASES:
        if options.case in (None, case):
            found[case] = measure(case, options)
            loads.append(round(os.getloadavg()[0], 1))
    shape = {name: getattr(options, name) for name in ("tokens", "vocab", "width", "rounds")}
    result = {**shape, "cases": found, "load": loads, "cpus": os.cpu_count()}
    result["is_within_limits"] = all(is_good(sides) for sides in found.values())
    if options.json:
        print(json.dumps(result))
    else:
        for case, sides in found.items():
            for name, values in sides.items():
                print(f"{case:15} {name:6} {values}")
        print(f"load {loads}")
    return 0 if result["is_within_limits"] else 1


if __name__ == "__main__":
    sys.exit(main())
