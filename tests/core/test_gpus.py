"""What the driver's tool lists; a script stands for it."""

from pathlib import Path

import pytest

from distill_studio.core.gpus import Gpu, nvidia_gpus
from distill_studio.services.run_choices import _memory_of
from distill_studio.teachers.vllm_install import has_nvidia_gpu


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str, code: int = 0) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{lines}'\nexit {code}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_names_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, "NVIDIA A10G, 23028\\nNVIDIA GB10, [N/A]\\n")
    first, second = nvidia_gpus()
    assert str(first) == "NVIDIA A10G, 22 GiB"
    assert second == Gpu("NVIDIA GB10", 0.0)
    assert has_nvidia_gpu()


def test_without_a_driver_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_gpus() == []
    pretend(tmp_path, monkeypatch, "NVIDIA-SMI has failed", code=9)
    assert nvidia_gpus() == []
    assert not has_nvidia_gpu()


def test_a_run_has_to_fit_in_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_machine = _memory_of("cpu")
    pretend(tmp_path, monkeypatch, "A, 24576\\nB, 81920\\nC, [N/A]\\n")
    assert [_memory_of(d) for d in ("auto", "cuda:0", "cuda:1")] == [24.0, 24.0, 80.0]
    assert _memory_of("cpu") == of_machine
    assert _memory_of("cuda:2") == of_machine
