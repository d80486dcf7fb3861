"""Size, memory and time of a training before it starts. Rough on purpose, torch-free."""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from distill_studio.core.errors import NotFound
from distill_studio.core.records.base import Record
from distill_studio.distill.config import LogitRun, RunConfig, StudentConfig
from distill_studio.distill.pruning import Shape, kept_shape

# SFT of SmolLM2-135M with LoRA on two cores, rows of 256 tokens: in bf16 on AVX512-BF16, in fp32
# on AVX2.
_REFERENCE_TOKENS_PER_S = {True: 420.0, False: 130.0}
_REFERENCE_PARAMETERS = 134.5e6
CHECKPOINTS = 3  # two are kept, and the next is written before the older one goes
_START_S = 20.0  # imports, loading, first held-out loss
_LIBRARY_TILE = 4096  # positions that TRL projects at once
_GIB = 2.0**30


class ModelFacts(Record):
    """What config.json of a model says."""

    model_type: str = Field(description="Architecture.")
    layers: int = Field(description="Number of decoder layers.")
    hidden: int = Field(description="Width.")
    vocab: int = Field(description="Rows of the embedding.")
    context: int = Field(description="Longest input it was made for; 0 = unknown.")
    parameters: int = Field(description="Weights, from the shapes.")
    neurons: int = Field(default=0, description="Of each layer's MLP.")
    heads: int = Field(default=0, description="Of each layer's attention.")
    groups: int = Field(default=0, description="Of heads that share a key/value head.")
    head_dim: int = Field(default=0, description="Width of a head.")

    @property
    def shape(self) -> Shape:
        """Its numbers that pruning changes."""
        return Shape(**{name: getattr(self, name) for name in Shape.__annotations__})


class Estimate(Record):
    """What a training will take."""

    steps: int = Field(description="Updates.")
    seconds: float = Field(description="In all.")
    memory_gib: float = Field(description="Peak of the worker.")
    disk_gib: float = Field(description="Model and checkpoints.")
    is_measured: bool = Field(description="True when an earlier run gave the speed.")


def model_facts(folder: Path, student: StudentConfig | None = None) -> ModelFacts:
    """Read `config.json`; parameters are counted from the shapes of a Llama-like model.

    Args:
        folder: Of the model.
        student: Of a run, whose pruning is counted in.

    Raises:
        NotFound: No config.json.
    """
    file = folder / "config.json"
    if not file.exists():
        raise NotFound(f"There is no model in {folder}.", "Choose another student.")
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    config = config.get("text_config") or config

    def first(*names: str) -> int:
        found = next((config[name] for name in names if config.get(name)), 0)
        return int(max(found) if isinstance(found, list) else found)  # one for each layer

    hidden = first("hidden_size", "n_embd")  # the second names are GPT-2's
    vocab = first("vocab_size")
    heads = first("num_attention_heads", "n_head") or 1
    shape = Shape(
        layers=first("num_hidden_layers", "n_layer"),
        hidden=hidden,
        neurons=first("intermediate_size", "n_inner") or 4 * hidden,
        heads=heads,
        groups=first("num_key_value_heads") or heads,
        head_dim=first("head_dim") or hidden // heads,
    )
    if student is not None:
        shape = kept_shape(shape, student)
    embeddings = vocab * shape.hidden * (1 if config.get("tie_word_embeddings") else 2)
    return ModelFacts(
        model_type=str(config.get("model_type", "")),
        vocab=vocab,
        context=first("max_position_embeddings", "n_positions"),
        parameters=shape.layers * shape.layer_weights + embeddings + shape.hidden,
        **asdict(shape),
    )


def store_bytes(config: LogitRun, learned: float, vocab: int) -> float:
    """Size of a stored teacher signal of so many learned tokens, before compression."""
    kept = config.top_k if config.kept == "draws" else min(config.top_k, vocab)
    each = 8 if config.kept == "draws" else 6  # id, log-probability in fp16, count
    return learned * (kept * each + 8)


def bytes_of_frozen(config: RunConfig) -> float:
    """Of a weight that is not trained, in the numbers that the run computes in.

    `auto` is taken for bf16 on a GPU, and on a CPU where it has instructions for it.
    """
    if config.quantise == "nf4":
        return 0.6  # four bits, and their scales
    is_bf16 = config.dtype == "bf16" or (
        config.dtype == "auto" and (config.device.startswith("cuda") or cpu_has_bf16())
    )
    return 2 if is_bf16 else 4


@cache
def cpu_has_bf16() -> bool:
    """True when this CPU multiplies bf16 in hardware (known on Linux only)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in text or "amx_bf16" in text


def total_steps(config: RunConfig, rows: int) -> int:
    """Updates of a run over `rows` learnable rows; at least one."""
    if config.max_steps is not None:
        return config.max_steps
    per_update = config.batch_size * config.grad_accumulation * config.devices
    per_epoch = -(-rows // per_update)
    return max(1, round(per_epoch * config.epochs))


def estimate(
    config: RunConfig,
    facts: ModelFacts,
    rows: int,
    mean_tokens: float,
    measured_tokens_per_s: float | None = None,
    teacher: ModelFacts | None = None,
    learned_tokens: float = 0.0,
) -> Estimate:
    """What `config` will take on `rows` rows of `mean_tokens` tokens.

    Args:
        config: The run.
        facts: Of the student.
        rows: Learnable rows of the train split.
        mean_tokens: Per row, both answers of a pair counted, after cutting.
        measured_tokens_per_s: Of an earlier run of a model of this size, when there is one.
        teacher: Of logit distillation.
        learned_tokens: Of all rows, for a signal that is stored.
    """
    steps = total_steps(config, rows)
    speed = measured_tokens_per_s or (
        _REFERENCE_TOKENS_PER_S[cpu_has_bf16()] * _REFERENCE_PARAMETERS / max(facts.parameters, 1)
    )
    tokens = steps * config.batch_size * config.grad_accumulation * mean_tokens
    evals = 2 + steps // config.eval_every
    eval_tokens = evals * config.eval_rows * mean_tokens
    is_full = config.lora is None
    frozen = bytes_of_frozen(config)
    weights = facts.parameters * (4 if is_full else frozen)
    trained = facts.parameters if is_full else int(facts.parameters * 0.04)
    sides = 2 if config.method == "dpo" else 1
    positions = config.batch_size * sides * config.max_length
    is_tiled = config.method not in ("dpo", "kto")  # those make the library's, much larger tiles
    logits = 0 if is_tiled else min(positions, _LIBRARY_TILE) * facts.vocab * 6
    activations = positions * facts.layers * facts.hidden * 40 + logits
    if teacher is not None:
        weights += teacher.parameters * (2 if frozen < 2 else frozen)
        forward = teacher.parameters / max(facts.parameters, 1) / 3  # of a student's update
        speed /= 1.0 if measured_tokens_per_s else 1.0 + forward
    if config.method == "on_policy" and not measured_tokens_per_s:
        speed /= 3.0  # the student's own answers, token by token
    at_once = max(CHECKPOINTS, config.keep_checkpoints + 1)
    saved: float = facts.parameters * 2 + at_once * trained * 12
    if isinstance(config, LogitRun) and config.signal == "cache" and teacher is not None:
        saved += store_bytes(config, learned_tokens, teacher.vocab)
    return Estimate(
        steps=steps,
        seconds=_START_S + tokens / speed + eval_tokens / (3 * speed),
        memory_gib=(weights + trained * 12 + activations) / _GIB + 0.6,
        disk_gib=saved / _GIB,
        is_measured=measured_tokens_per_s is not None,
    )
