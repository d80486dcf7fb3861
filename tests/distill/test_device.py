"""What is chosen on which machine; the GPU is a faked probe, the CPU is this one."""

import importlib.util
from typing import Any

import pytest
import torch

from distill_studio.core.errors import InvalidInput, Unavailable
from distill_studio.distill import device as choices


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend to have a GPU: `gpu(capability=(8, 0), bf16=True, packages=())`."""

    def pretend(capability: tuple[int, int] = (8, 0), bf16: bool = True, *packages: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True: bf16 or including_emulation,
        )
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        found = importlib.util.find_spec

        def find_spec(name: str) -> Any:
            if name in ("flash_attn", "bitsandbytes"):
                return object() if name in packages else None
            return found(name)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)

    return pretend


def test_a_gpu_is_taken_where_there_is_one(gpu: Any) -> None:
    gpu()
    assert choices.pick_device("auto") == "cuda"
    assert choices.pick_device("cuda:1") == "cuda:1"
    assert choices.pick_device("cpu") == "cpu"
    with pytest.raises(Unavailable, match="no device 'mps'") as caught:
        choices.pick_device("mps")
    assert "auto or cuda or cpu" in caught.value.hint


def test_without_a_gpu_the_cpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choices.pick_device("auto") == "cpu"
    with pytest.raises(Unavailable, match="no device 'cuda'"):
        choices.pick_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choices.pick_device("auto") == "mps"
    assert choices.pick_dtype("auto", "mps") == torch.float32


@pytest.mark.parametrize(("bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_numbers_of_a_gpu(gpu: Any, bf16: bool, dtype: torch.dtype) -> None:
    gpu(bf16=bf16)
    assert choices.pick_dtype("auto", "cuda") == dtype
    assert choices.pick_dtype("bf16", "cuda") == torch.bfloat16
    assert choices.pick_dtype("fp32", "cuda") == torch.float32


@pytest.mark.parametrize("faster", [torch.bfloat16, torch.float32])
def test_a_cpu_is_measured(monkeypatch: pytest.MonkeyPatch, faster: torch.dtype) -> None:
    monkeypatch.setattr(choices, "_matmul_seconds", lambda dtype: 1.0 if dtype == faster else 2.0)
    assert choices.pick_dtype("auto", "cpu") == faster
    assert choices.pick_dtype("fp32", "cpu") == torch.float32


@pytest.mark.parametrize(
    ("capability", "packages", "dtype", "attention"),
    [
        ((8, 0), ("flash_attn",), torch.bfloat16, "flash_attention_2"),
        ((9, 0), ("flash_attn",), torch.float16, "flash_attention_2"),
        ((7, 5), ("flash_attn",), torch.float16, None),
        ((8, 0), ("flash_attn",), torch.float32, None),
        ((8, 0), (), torch.bfloat16, None),
    ],
)
def test_attention(
    gpu: Any,
    capability: tuple[int, int],
    packages: tuple[str, ...],
    dtype: torch.dtype,
    attention: str | None,
) -> None:
    gpu(capability, True, *packages)
    assert choices.pick_attention("cuda:0", dtype) == attention
    assert choices.pick_attention("cpu", dtype) is None


def test_four_bits_need_a_gpu_a_package_and_lora(gpu: Any) -> None:
    assert choices.quantisation("none", "cpu", has_lora=False) is None
    with pytest.raises(InvalidInput, match="cannot be trained"):
        choices.quantisation("nf4", "cuda", has_lora=False)
    with pytest.raises(Unavailable, match="need an NVIDIA GPU"):
        choices.quantisation("nf4", "cpu", has_lora=True)
    gpu()
    with pytest.raises(Unavailable, match="bitsandbytes"):
        choices.quantisation("nf4", "cuda", has_lora=True)


@pytest.mark.parametrize(
    ("wanted", "seen", "sees", "asks"),
    [
        ("auto", None, "0", "auto"),
        ("cuda", None, "0", "cuda"),
        ("cuda:3", None, "3", "cuda"),
        ("auto", "4,5", "4", "auto"),
        ("cuda:1", "4, GPU-5f", "GPU-5f", "cuda"),
        ("auto", "", "", "auto"),  # all are hidden, and stay so
        ("cpu", None, None, "cpu"),
        ("mps", None, None, "mps"),
    ],
)
def test_a_training_of_one_process_sees_one_gpu(
    wanted: str, seen: str | None, sees: str | None, asks: str
) -> None:
    environment = {} if seen is None else {"CUDA_VISIBLE_DEVICES": seen}
    assert choices.one_gpu(wanted, 1, environment) == asks
    assert environment.get("CUDA_VISIBLE_DEVICES") == sees


def test_several_processes_see_all_gpus() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert choices.one_gpu("cuda", 2, environment) == "cuda"
    assert environment == {"CUDA_VISIBLE_DEVICES": "0,1"}
    with pytest.raises(Unavailable, match="may see 2 GPU"):
        choices.one_gpu("cuda:2", 1, environment)
