"""What a training on a rented machine takes and costs, before it is paid for. Guesses say so."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import Field

from distill_studio.core.errors import InvalidInput, StudioError
from distill_studio.core.records import Record, RunState
from distill_studio.distill.alike import update_shape
from distill_studio.distill.config import DpoRun, KtoRun, LogitRun, RunConfig
from distill_studio.distill.estimate import Estimate
from distill_studio.distill.findings import Finding
from distill_studio.distill.preflight import check
from distill_studio.hub.jobs import Flavor
from distill_studio.remote.package import refuse_served
from distill_studio.services.remote_models import packed_bytes
from distill_studio.store import runs
from distill_studio.store.database import Database

# Dense bf16 matrix products per second, 10^12, as the makers state them; the T4 has fp16 alone.
_PEAK_TFLOPS = {
    "T4": 65.0,
    "A10G": 70.0,
    "L4": 121.0,
    "A100": 312.0,
    "L40S": 362.0,
    "RTX PRO 6000": 500.0,
    "H100": 989.0,
    "H200": 989.0,
}
# The share of it that a training reaches: small models in small batches little, see docs/remote.md.
_SHARE = (0.05, 0.40)
_REFERENCE_FLOPS = 420.0 * 6 * 134.5e6  # behind the pre-flight's guess: two cores, distill/estimate
_CPU_SHARE = (0.3, 1.0)  # of that guess per two virtual cores
_SET_UP_S = (120.0, 480.0)  # fetching the image, installing, downloading the package
_INSTALLED_GB = 8.0  # torch with its CUDA libraries, downloaded and unpacked
_START_S = 20.0  # in the pre-flight's guess, whatever the machine
_SPREAD = (0.8, 1.3)  # of what was measured there before
_LEAST_LIMIT_MIN, _MOST_LIMIT_MIN = 10, 7 * 24 * 60


class RemoteQuote(Record):
    """What a run would take on a machine, from least to most."""

    flavor: Flavor = Field(description="The machine.")
    findings: list[Finding] = Field(description="Of pre-flight, for that machine.")
    minutes: tuple[float, float] = Field(description="From the start of its machine to the end.")
    usd: tuple[float, float] = Field(description="Price of these minutes.")
    is_measured: bool = Field(description="From an earlier run of such a student there.")
    limit_minutes: int = Field(description="After which the Hub ends it.")
    limit_usd: float = Field(description="The most that it can cost, but for minutes of starting.")
    sent_bytes: int = Field(description="That are sent to the Hub before.")

    @property
    def is_refused(self) -> bool:
        """True when it cannot work."""
        return any(one.level == "error" for one in self.findings)


def quote(
    db: Database,
    config: RunConfig,
    flavor: Flavor,
    limit_minutes: int = 0,
    runs_folder: Path | None = None,
) -> RemoteQuote:
    """Pre-flight and price of a run on a machine. Asks nobody.

    Args:
        db: Of earlier runs.
        config: The run, with folders of this machine.
        flavor: The machine.
        limit_minutes: Time limit; 0 = one and a half times the most that is expected.
        runs_folder: Where students of earlier runs lie, here.

    Raises:
        InvalidInput: The limit cannot be.
    """
    there = config.model_copy(update={"device": "cuda" if flavor.gpus else "cpu"})
    report = check(there, runs_folder=runs_folder)
    findings = [one for one in report.findings if one.code != "estimate"]
    findings += _travel_findings(config)
    seconds, is_measured = (0.0, 0.0), False
    if report.estimate is not None:
        findings += _machine_findings(config, report.estimate, flavor)
        seconds, is_measured = _seconds(db, config, report.estimate, flavor)
    minutes = (math.ceil(seconds[0] / 60), math.ceil(seconds[1] / 60))
    wide = min(max(30, 5 * math.ceil(minutes[1] * 1.5 / 5)), _MOST_LIMIT_MIN)
    limit = checked_limit(limit_minutes) if limit_minutes else wide
    is_refused = any(one.level == "error" for one in findings)
    return RemoteQuote(
        flavor=flavor,
        findings=findings,
        minutes=minutes,
        usd=(minutes[0] * flavor.usd_per_minute, minutes[1] * flavor.usd_per_minute),
        is_measured=is_measured,
        limit_minutes=limit,
        limit_usd=limit * flavor.usd_per_minute,
        sent_bytes=0 if is_refused else packed_bytes(config),
    )


def refuse_unfit(config: RunConfig, flavor: Flavor) -> None:
    """Refuse a machine that a run cannot train on.

    Raises:
        InvalidInput: Says why, with the way out.
    """
    there = config.model_copy(update={"device": "cuda" if flavor.gpus else "cpu"})
    took = check(there).estimate
    for one in _machine_findings(config, took, flavor) if took else ():
        if one.level == "error":
            raise InvalidInput(one.message, one.hint)


def checked_limit(minutes: int) -> int:
    """A time limit that somebody asked for, in minutes.

    Raises:
        InvalidInput: It is too short to load anything, or longer than a Job should be.
    """
    if not _LEAST_LIMIT_MIN <= minutes <= _MOST_LIMIT_MIN:
        raise InvalidInput(
            f"A Job cannot have {minutes:,} minutes.",
            f"Give {_LEAST_LIMIT_MIN} (it fetches and installs first) to {_MOST_LIMIT_MIN:,}.",
        )
    return minutes


def _travel_findings(config: RunConfig) -> list[Finding]:
    try:
        refuse_served(config)
        packed_bytes(config)
    except StudioError as err:
        return [Finding(level="error", code="stays", message=err.user_message, hint=err.hint)]
    if not config.keep_checkpoints:
        return []
    return [
        Finding(
            level="warning",
            code="checkpoints",
            message="No checkpoint comes back from another machine: the model alone does.",
            hint="Train here to compare checkpoints.",
        )
    ]


def _machine_findings(config: RunConfig, took: Estimate, flavor: Flavor) -> list[Finding]:
    found = []
    has = flavor.gpu_memory_gb if flavor.gpus else flavor.memory_gb
    if has and took.memory_gib * 2**30 > 0.9 * has * 1e9:
        found.append(
            Finding(
                level="warning",
                code="memory",
                message=f"It may need about {took.memory_gib:.1f} GiB of memory; {flavor.label} has"
                f" {has:.0f} GB{' on a GPU' if flavor.gpus else ''}.",
                hint="Lower the batch size or the longest length, use LoRA, or choose a larger"
                " machine.",
            )
        )
    taken = _INSTALLED_GB + took.disk_gib * 2**30 / 1e9
    if flavor.disk_gb and taken > flavor.disk_gb:
        found.append(
            Finding(
                level="error",
                code="disk",
                message=f"The libraries, the model and its checkpoints take about {taken:.0f} GB;"
                f" {flavor.label} has a disk of {flavor.disk_gb:.0f} GB.",
                hint="Use LoRA, a smaller student, or choose a machine with a larger disk.",
            )
        )
    if config.devices > max(1, flavor.gpus):
        found.append(
            Finding(
                level="error",
                code="devices",
                message=f"The run wants {config.devices} devices; {flavor.label} has"
                f" {max(1, flavor.gpus)}.",
                hint="Choose a machine with more GPUs, or fewer devices.",
            )
        )
    if config.devices < flavor.gpus:
        found.append(
            Finding(
                level="warning",
                code="idle_gpus",
                message=f"{flavor.label} has {flavor.gpus} GPUs, the run uses {config.devices}.",
                hint="Set devices to use them all, or choose a cheaper machine.",
            )
        )
    if config.quantise == "nf4" and not flavor.gpus:
        found.append(
            Finding(
                level="error",
                code="quantise",
                message="Four-bit weights need a GPU.",
                hint="Choose a machine with a GPU.",
            )
        )
    return found


def _seconds(
    db: Database, config: RunConfig, took: Estimate, flavor: Flavor
) -> tuple[tuple[float, float], bool]:
    """Least and most seconds, and whether they follow from an earlier run there."""
    measured = _measured(db, config, flavor)
    if measured is not None:
        per_step, steps = measured, took.steps
        low, high = (per_step * steps * factor for factor in _SPREAD)
        return (_SET_UP_S[0] + low, _SET_UP_S[1] + high), True
    work = max(0.0, took.seconds - _START_S)
    if not flavor.gpus:
        per_core = work * 2 / max(1, flavor.cpus)
        fast, slow = per_core / _CPU_SHARE[1], per_core / _CPU_SHARE[0]
    else:
        peak = max((p for name, p in _PEAK_TFLOPS.items() if name in flavor.gpu), default=65.0)
        speed = peak * 1e12 / _REFERENCE_FLOPS * min(config.devices, flavor.gpus)
        fast, slow = work / speed / _SHARE[1], work / speed / _SHARE[0]
    return (_SET_UP_S[0] + _START_S + fast, _SET_UP_S[1] + _START_S + slow), False


def _measured(db: Database, config: RunConfig, flavor: Flavor) -> float | None:
    """Seconds per update of the newest like run there, held-out figures included.

    None also where a pass over all rows comes first: its time is in no figure of a run.
    """
    if _reads_first(config):
        return None
    wanted = update_shape(config.model_dump(mode="json"))
    for run in runs.page(db, limit=200):
        is_there = run.state is RunState.DONE and run.metrics.get("flavor") == flavor.name
        if is_there and update_shape(run.config) == wanted:
            steps, seconds = run.metrics.get("steps"), run.metrics.get("seconds")
            if steps and seconds:
                return float(seconds) / float(steps)
    return None


def _reads_first(config: RunConfig) -> bool:
    """Whether a teacher's signal or the reference is stored before the first update."""
    if isinstance(config, DpoRun | KtoRun):
        return config.reference == "stored" or (config.reference is None and config.lora is None)
    return isinstance(config, LogitRun) and config.signal == "cache"
