"""What a student's GGUF file will hold, found in its configuration and its files' heads.

`read_plan` refuses every student whose file would load and answer wrongly.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.llama_cpp.number_formats import (
    NUMBER_FORMATS,
    GgufType,
    format_of,
    stored_bytes,
)
from distill_studio.distill.llama_cpp.rope import Rope, read_rope
from distill_studio.distill.llama_cpp.weights import Weight, read_weights

WAY_OUT = (
    "Take the whole model (safetensors) and convert it with llama.cpp's own script:"
    " python convert_hf_to_gguf.py FOLDER."
)
_ARCHITECTURES = ("llama", "qwen2", "qwen3")  # called so by transformers, gguf and llama.cpp alike
_ROPE_BUFFER = ".rotary_emb.inv_freq"  # of old files; worked out again by whoever loads them


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor of the file.

    Attributes:
        name: In the file.
        weight: Where it comes from.
        heads: How many heads its rows are brought into llama.cpp's order for; 0 = as they are.
    """

    name: str
    weight: Weight
    heads: int = 0


@dataclass(frozen=True)
class Plan:
    """A student that can be written as GGUF.

    Attributes:
        folder: Of the model.
        architecture: llama, qwen2 or qwen3.
        config: Its config.json.
        head_dim: Numbers per attention head.
        rope: How positions turn.
        rows: Of the embeddings.
        tensors: In the order of the file.
    """

    folder: Path
    architecture: str
    config: dict[str, Any]
    head_dim: int
    rope: Rope
    rows: int
    tensors: tuple[PlannedTensor, ...]

    def size_bytes(self, kind: GgufType) -> int:
        """About how large the file is: its weights, and its vocabulary as tokenizer.json has it."""
        weights = sum(
            stored_bytes(one.weight.shape, format_of(kind, one.name, one.weight.shape))
            for one in self.tensors
        )
        return weights + (self.folder / "tokenizer.json").stat().st_size

    def share_at_16_bits(self, kind: GgufType) -> float:
        """Part of the weights that stay at 16 bits because their rows are no whole blocks."""
        if kind in ("f16", "bf16"):
            return 0.0
        sizes = [(prod(one.weight.shape), one) for one in self.tensors]
        whole = sum(
            size for size, one in sizes if format_of(kind, one.name, one.weight.shape).name == "F16"
        )
        return whole / sum(size for size, _ in sizes)

    def sizes(self) -> dict[GgufType, int]:
        """`size_bytes` of every number format."""
        return {kind: self.size_bytes(kind) for kind in NUMBER_FORMATS}


def read_plan(folder: Path) -> Plan:
    """Look at a model's folder; reads no weights.

    Raises:
        InvalidInput: Its file would not be right; says why, and the way out.
        NotFound: It has no weights.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = str(config.get("model_type"))
    if architecture not in _ARCHITECTURES:
        raise InvalidInput(
            f"A student of the architecture {architecture} is not written as GGUF here:"
            f" {', '.join(_ARCHITECTURES)} are.",
            WAY_OUT,
        )
    rope = read_rope(config, WAY_OUT)
    _refuse_odd(config)
    heads = int(config["num_attention_heads"])
    tensors = tuple(_tensors(architecture, config, heads, read_weights(folder)))
    embeddings = next(one for one in tensors if one.name == "token_embd.weight")
    return Plan(
        folder=folder,
        architecture=architecture,
        config=config,
        head_dim=int(config.get("head_dim") or config["hidden_size"] // heads),
        rope=rope,
        rows=embeddings.weight.shape[0],
        tensors=tensors,
    )


def _refuse_odd(config: dict[str, Any]) -> None:
    """Settings that llama.cpp's graph of these architectures does not know."""
    layers = set(config.get("layer_types") or ())
    width = int(config.get("head_dim") or 0) * int(config["num_attention_heads"])
    odd = {
        "packed weights": bool(config.get("quantization_config")),
        "another activation than SiLU": config.get("hidden_act", "silu") != "silu",
        "attention in a sliding window": bool(layers - {"full_attention"}),
        "biases in its attention": config["model_type"] == "qwen3"
        and bool(config.get("attention_bias")),
        "heads that together are not as wide as its hidden states": config["model_type"] == "qwen2"
        and width not in (0, config["hidden_size"]),
    }
    if found := [name for name, is_so in odd.items() if is_so]:
        raise InvalidInput(
            f"The student has {' and '.join(found)}, which is not written as GGUF here.", WAY_OUT
        )


def _tensors(
    architecture: str, config: dict[str, Any], heads: int, weights: list[Weight]
) -> list[PlannedTensor]:
    """Every weight under its GGUF name; embeddings first, then layer by layer.

    Raises:
        InvalidInput: A weight that this architecture does not have.
    """
    name_of = _names(architecture, int(config["num_hidden_layers"]))
    pairs = int(config.get("num_key_value_heads") or heads)
    turned = {"attn_q": heads, "attn_k": pairs} if architecture == "llama" else {}
    is_tied = bool(config.get("tie_word_embeddings"))
    found = []
    for weight in weights:
        if weight.name.endswith(_ROPE_BUFFER) or (is_tied and weight.name == "lm_head.weight"):
            continue  # llama.cpp takes the embeddings where there is no output layer
        name = name_of(weight.name)
        if name is None:
            raise InvalidInput(
                f"The student has a weight that its architecture does not: {weight.name}.", WAY_OUT
            )
        part = name.removeprefix("blk.").partition(".")[2].partition(".")[0]
        found.append(PlannedTensor(name, weight, turned.get(part, 0)))
    return sorted(found, key=_place)


def _names(architecture: str, layers: int) -> Callable[[str], str | None]:
    """Names in transformers -> names in the file."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH[architecture.upper()], layers)

    def name_of(name: str) -> str | None:
        found: str | None = names.get_name(name, try_suffixes=(".weight", ".bias"))
        return found

    return name_of


def _place(tensor: PlannedTensor) -> tuple[bool, int, str]:
    """Tables and the last norm, then the layers by number."""
    is_layer = tensor.name.startswith("blk.")
    return is_layer, int(tensor.name.split(".")[1]) if is_layer else 0, tensor.name
