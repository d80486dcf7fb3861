"""Random models of several architectures, three layers each: `build(folder, name)`."""

from pathlib import Path
from typing import Any

from tests.tiny_model import tiny_tokenizer

_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_GROUPED = _SHAPE | {"num_key_value_heads": 2}
# config class of transformers and its fields; `window` is shorter than some of the tests' rows
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _GROUPED),
    "qwen3": ("Qwen3Config", _GROUPED | {"head_dim": 8}),
    "gemma2": (
        "Gemma2Config",
        _GROUPED | {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    ),
    "gemma3": (
        "Gemma3TextConfig",
        _GROUPED
        | {
            "head_dim": 8,
            "sliding_window": 8,
            "query_pre_attn_scalar": 8,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "phi3": ("Phi3Config", _GROUPED),
    "smollm3": ("SmolLM3Config", _GROUPED | {"no_rope_layers": [1, 0, 1]}),
    "falcon": (
        "FalconConfig",
        {
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 256,
        },
    ),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256}),
    "gpt_neox": ("GPTNeoXConfig", _SHAPE),
}
# Linear layers of a decoder's layer; all of them are to get an adapter.
LINEAR = {
    "llama": 7,
    "qwen3": 7,
    "gemma2": 7,
    "gemma3": 7,
    "phi3": 4,
    "smollm3": 7,
    "falcon": 4,
    "gpt2": 4,
    "gpt_neox": 4,
}
OUT_OF_REACH = ("falcon", "gpt2")  # their layers are `transformer.h`


def build(folder: Path, name: str) -> Path:
    """Write a model and its tokenizer."""
    import torch
    import transformers

    tokenizer = tiny_tokenizer()
    kind, fields = ARCHITECTURES[name]
    ids = {
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    config = getattr(transformers, kind)(
        vocab_size=len(tokenizer), initializer_range=0.2, dtype="float32", **ids, **fields
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
