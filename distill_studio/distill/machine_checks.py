"""Pre-flight of what depends on the machine: number format, four bits, devices. Torch-free.

The worker refuses the same when it starts (`device.py`); here it is said before.
"""

import importlib.util
import sys

from distill_studio.distill.config import RunConfig
from distill_studio.distill.estimate import cpu_has_bf16
from distill_studio.distill.findings import Finding


def machine_findings(config: RunConfig, gpus: int | None) -> list[Finding]:
    """What the machine cannot do, or only slowly.

    Args:
        config: The run.
        gpus: NVIDIA GPUs that it may use; None where it will train on another machine.
    """
    findings = []
    if config.quantise != "none":
        findings += _quantise(config, gpus)
    if config.sharding != "none":
        findings += _sharding(config, gpus)
    if gpus is not None and config.devices > 1:
        findings += _devices(config.devices, gpus)
    if gpus == 0 and config.dtype == "bf16" and sys.platform == "linux" and not cpu_has_bf16():
        findings.append(
            Finding(
                level="warning",
                code="dtype",
                message="This CPU has no instructions for bf16: it is several times slower there"
                " than fp32.",
                hint="Leave the number format to what is measured, or choose fp32.",
            )
        )
    return findings


def _quantise(config: RunConfig, gpus: int | None) -> list[Finding]:
    plain = "Train a LoRA adapter on weights that are not quantised."
    if config.lora is None:
        message = "Four-bit weights cannot be trained themselves."
        return [_error("quantise", message, "Train a LoRA adapter, or do not quantise.")]
    if gpus == 0:
        return [_error("quantise", "Four-bit weights (QLoRA) need an NVIDIA GPU.", plain)]
    if gpus and importlib.util.find_spec("bitsandbytes") is None:
        message = "Four-bit weights (QLoRA) need the package bitsandbytes."
        return [_error("quantise", message, f"Install requirements-gpu.txt. {plain}")]
    return []


def _sharding(config: RunConfig, gpus: int | None) -> list[Finding]:
    whole = "Keep the whole student on each device."
    if gpus == 0:
        message = "Spreading the student over several devices (FSDP) needs NVIDIA GPUs."
        return [_error("sharding", message, whole)]
    if config.devices == 1:
        message = "There is one device: the student cannot be spread over several."
        hint = f"Set how many devices train, or: {whole[0].lower()}{whole[1:]}"
        return [Finding(level="warning", code="sharding", message=message, hint=hint)]
    return []


def _devices(wanted: int, gpus: int) -> list[Finding]:
    if not gpus:
        message = f"This machine has no GPU: {wanted} processes share its CPUs."
        hint = "One process uses all cores already; several make nothing quicker."
        return [Finding(level="warning", code="devices", message=message, hint=hint)]
    if wanted > gpus:
        there = "1 GPU" if gpus == 1 else f"{gpus} GPUs"
        message = f"The run wants {wanted} devices; this machine has {there}."
        return [_error("devices", message, f"Choose at most {gpus}.")]
    return []


def _error(code: str, message: str, hint: str) -> Finding:
    return Finding(level="error", code=code, message=message, hint=hint)
