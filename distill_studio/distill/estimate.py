"""Size, memory and time of a training before it starts. Rough on purpose, torch-free."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from distill_studio.core.errors import NotFound
from distill_studio.core.records.base import Record
from distill_studio.distill.config import DpoRun, SftRun

# SFT of SmolLM2-135M with LoRA on two cores, rows of 256 tokens: in bf16 on AVX512-BF16, in fp32
# on AVX2.
_REFERENCE_TOKENS_PER_S = {True: 420.0, False: 130.0}
_REFERENCE_PARAMETERS = 134.5e6
_START_S = 20.0  # imports, loading, first held-out loss
_GIB = 2.0**30


class ModelFacts(Record):
    """What config.json of a model says."""

    model_type: str = Field(description="Architecture.")
    layers: int = Field(description="Number of decoder layers.")
    hidden: int = Field(description="Width.")
    vocab: int = Field(description="Rows of the embedding.")
    context: int = Field(description="Longest input it was made for; 0 = unknown.")
    parameters: int = Field(description="Weights, from the shapes.")


class Estimate(Record):
    """What a training will take."""

    steps: int = Field(description="Updates.")
    seconds: float = Field(description="In all.")
    memory_gib: float = Field(description="Peak of the worker.")
    disk_gib: float = Field(description="Model and checkpoints.")
    is_measured: bool = Field(description="True when an earlier run gave the speed.")


def model_facts(folder: Path, keep_layers: int | None = None) -> ModelFacts:
    """Read `config.json`; parameters are counted from the shapes of a Llama-like model.

    Raises:
        NotFound: No config.json.
    """
    file = folder / "config.json"
    if not file.exists():
        raise NotFound(f"There is no model in {folder}.", "Choose another student.")
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    config = config.get("text_config") or config
    hidden = int(config.get("hidden_size") or 0)
    layers = min(keep_layers or 10**9, int(config.get("num_hidden_layers") or 0))
    vocab = int(config.get("vocab_size") or 0)
    heads = int(config.get("num_attention_heads") or 1)
    head_dim = int(config.get("head_dim") or hidden // heads)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    inner = int(config.get("intermediate_size") or 4 * hidden)
    per_layer = hidden * head_dim * (2 * heads + 2 * kv_heads) + 3 * hidden * inner + 2 * hidden
    embeddings = vocab * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return ModelFacts(
        model_type=str(config.get("model_type", "")),
        layers=layers,
        hidden=hidden,
        vocab=vocab,
        context=int(config.get("max_position_embeddings") or 0),
        parameters=layers * per_layer + embeddings + hidden,
    )


@cache
def cpu_has_bf16() -> bool:
    """True when this CPU multiplies bf16 in hardware (known on Linux only)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in text or "amx_bf16" in text


def total_steps(config: SftRun | DpoRun, rows: int) -> int:
    """Updates of a run over `rows` learnable rows; at least one."""
    if config.max_steps is not None:
        return config.max_steps
    per_update = config.batch_size * config.grad_accumulation
    per_epoch = -(-rows // per_update)
    return max(1, round(per_epoch * config.epochs))


def estimate(
    config: SftRun | DpoRun,
    facts: ModelFacts,
    rows: int,
    mean_tokens: float,
    measured_tokens_per_s: float | None = None,
) -> Estimate:
    """What `config` will take on `rows` rows of `mean_tokens` tokens.

    Args:
        config: The run.
        facts: Of the student.
        rows: Learnable rows of the train split.
        mean_tokens: Per row, both answers of a pair counted, after cutting.
        measured_tokens_per_s: Of an earlier run of a model of this size, when there is one.
    """
    steps = total_steps(config, rows)
    speed = measured_tokens_per_s or (
        _REFERENCE_TOKENS_PER_S[cpu_has_bf16()] * _REFERENCE_PARAMETERS / max(facts.parameters, 1)
    )
    tokens = steps * config.batch_size * config.grad_accumulation * mean_tokens
    evals = 2 + steps // config.eval_every
    eval_tokens = evals * config.eval_rows * mean_tokens
    is_full = config.lora is None
    weights = facts.parameters * (4 if is_full else 2)
    trained = facts.parameters if is_full else int(facts.parameters * 0.04)
    sides = 2 if config.method == "dpo" else 1
    positions = config.batch_size * sides * config.max_length
    activations = positions * facts.layers * facts.hidden * 40 + positions * facts.vocab * 6
    saved = facts.parameters * 2 + 2 * trained * 12
    return Estimate(
        steps=steps,
        seconds=_START_S + tokens / speed + eval_tokens / (3 * speed),
        memory_gib=(weights + trained * 12 + activations) / _GIB + 0.6,
        disk_gib=saved / _GIB,
        is_measured=measured_tokens_per_s is not None,
    )
