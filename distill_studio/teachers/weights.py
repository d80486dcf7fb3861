"""Tokenizer and weights into memory, ready to answer. Start at `load`.

Callers hold `loading.LOADING` meanwhile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from distill_studio.core.errors import Unavailable
from distill_studio.teachers import zero_gpu
from distill_studio.teachers.answer import AnswerEngine
from distill_studio.teachers.probe import choose

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from distill_studio.teachers.chat_format import ChatFormat

_KV_BYTES = {"cpu": 1 << 30, "mps": 1 << 30, "cuda": 8 << 30}
_MAX_ROWS = {"cpu": 32, "mps": 32, "cuda": 128}


@dataclass(frozen=True)
class Loaded:
    """What exists once the weights are in memory."""

    engine: AnswerEngine
    chat: ChatFormat
    dtype: str
    device: str


def load(folder: Path, cache_folder: Path, device: str, dtype: str) -> Loaded:
    """A model ready to answer.

    Args:
        folder: Its files.
        cache_folder: Where the speed probe's result is kept, and models made here.
        device: auto, cpu, cuda or mps.
        dtype: auto (the probe chooses), float32 or bfloat16.

    Raises:
        Unavailable: It cannot be read.
    """
    if zero_gpu.is_here():
        return _load_elsewhere(folder, cache_folder, "bfloat16" if dtype == "auto" else dtype)
    choice = choose(cache_folder, device)
    return load_here(
        folder, cache_folder, choice.device, choice.dtype if dtype == "auto" else dtype
    )


def _load_elsewhere(folder: Path, cache_folder: Path, dtype: str) -> Loaded:
    """The tokenizer only: the weights are read by the process that is lent a GPU."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    from distill_studio.teachers.chat_format import ChatFormat

    source = str(base_folder(folder, cache_folder))
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        config = AutoConfig.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError) as err:
        raise _not_loadable(folder, err) from err
    try:
        generation = GenerationConfig.from_pretrained(source, local_files_only=True)
    except OSError:  # it has no such file
        generation = None
    facts: Any = SimpleNamespace(config=config, generation_config=generation)
    engine = zero_gpu.ZeroGpuEngine(folder, cache_folder, dtype)
    return Loaded(engine, ChatFormat(tokenizer, facts), dtype, "cuda")


def load_here(folder: Path, cache_folder: Path, device: str, dtype: str) -> Loaded:
    """Read tokenizer and weights; a folder with a LoRA adapter gives its base, merged.

    Raises:
        Unavailable: They cannot be read.
    """
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from distill_studio.teachers.chat_format import ChatFormat
    from distill_studio.teachers.engine import Engine

    disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model: Any = _read_weights(folder, cache_folder, dtype)
        model = model.to(device).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as err:
        raise _not_loadable(folder, err) from err
    chat = ChatFormat(tokenizer, model)
    engine = Engine(
        model,
        chat.end_ids,
        max_rows=_MAX_ROWS[device],
        max_cached_tokens=_KV_BYTES[device] // _kv_bytes_per_token(model),
    )
    return Loaded(engine, chat, dtype, device)


def _not_loadable(folder: Path, err: Exception) -> Unavailable:
    return Unavailable(
        f"The model in {folder} cannot be loaded: {str(err)[:300]}",
        "It needs a transformers causal language model with its tokenizer, and memory for it.",
    )


def base_folder(folder: Path, cache_folder: Path) -> Path:
    """Where the whole model lies: the folder itself, or the base of its LoRA adapter."""
    if (folder / "config.json").is_file():
        return folder
    from distill_studio.teachers.models import resolve_model

    adapter = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return resolve_model(adapter["base_model_name_or_path"], cache_folder)


def _read_weights(folder: Path, cache_folder: Path, dtype: str) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    whole = base_folder(folder, cache_folder)
    base: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        str(whole), dtype=dtype, local_files_only=True
    )
    if whole == folder:
        return base
    from peft import PeftModel

    merged: PreTrainedModel = PeftModel.from_pretrained(base, str(folder)).merge_and_unload()
    return merged


def _kv_bytes_per_token(model: PreTrainedModel) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    item_bytes = next(model.parameters()).element_size()
    return int(2 * config.num_hidden_layers * heads * width * item_bytes)
