"""What a person chooses for a training: `TrainSpec`. Torch-free.

`OWNERS` says which choices belong to some methods only; the page hides the others, and a spec
that sets them is refused. A choice belongs to the methods whose run.json has a field of its name;
only what run.json calls otherwise is written down.
"""

from typing import Literal, get_args

from pydantic import Field, model_validator

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.base import Record
from distill_studio.distill.config import (
    MOST_SEED,
    RUN_CONFIGS,
    AcrossTokenizers,
    DivergenceName,
    DpoLoss,
    FeatureLoss,
    Method,
    Reference,
    Tracker,
)


class TrainSpec(Record):
    """What a person chooses; everything left `None` comes from the preset."""

    snapshot: str = Field(min_length=1, description="Name of the snapshot.")
    method: Method = Field(default="sft", description="sft, dpo, kto, logit or on_policy.")
    student: str = Field(
        default="smollm2-135m-instruct", description="A model id, or run:<name of a run>."
    )
    keep_layers: int | None = Field(default=None, ge=1, description="Prune to so many layers.")
    keep_mlp: float | None = Field(
        default=None, gt=0.0, le=1.0, description="Prune each MLP to this share of its neurons."
    )
    keep_groups: int | None = Field(
        default=None, ge=1, description="Prune attention to so many key/value heads a layer."
    )
    keep_hidden: float | None = Field(
        default=None, gt=0.0, le=1.0, description="Prune hidden states to this share of channels."
    )
    preset: str = Field(default="balanced", description="quick, balanced or thorough.")
    name: str = Field(default="", max_length=60, description="Of the run; '' makes one.")
    weights: Literal["lora", "full"] = Field(default="lora", description="What is trained.")
    lora_r: int | None = Field(default=None, ge=1, le=512, description="Rank.")
    lora_alpha: int | None = Field(default=None, ge=1, le=2048, description="Scale.")
    lora_layers: str | None = Field(
        default=None,
        max_length=2000,
        description="Names of linear layers that get an adapter, 'q_proj, v_proj'; '' or None ="
        " all but the output layer.",
    )
    max_length: int | None = Field(default=None, ge=8, le=1_048_576, description="Tokens.")
    over_length: Literal["cut", "drop"] | None = Field(default=None, description="Longer rows.")
    learning_rate: float | None = Field(default=None, gt=0.0, le=1.0, description="Peak.")
    max_steps: int | None = Field(default=None, ge=1, description="Updates.")
    epochs: float | None = Field(
        default=None, gt=0.0, le=1000.0, description="Passes; replaces the preset's steps."
    )
    batch_size: int | None = Field(default=None, ge=1, le=4096, description="Rows.")
    grad_accumulation: int | None = Field(default=None, ge=1, le=4096, description="Passes.")
    warmup_ratio: float | None = Field(default=None, ge=0.0, le=1.0, description="Share.")
    scheduler: Literal["cosine", "linear", "constant"] | None = Field(
        default=None, description="How the rate falls."
    )
    weight_decay: float | None = Field(default=None, ge=0.0, le=1.0, description="AdamW.")
    max_grad_norm: float | None = Field(default=None, gt=0.0, description="Clipped to it.")
    eval_every: int | None = Field(default=None, ge=1, description="Updates.")
    eval_rows: int | None = Field(default=None, ge=1, description="Held-out rows.")
    save_every: int | None = Field(default=None, ge=1, description="Updates.")
    keep_checkpoints: int | None = Field(
        default=None, ge=0, le=100, description="Kept after the end, to be compared."
    )
    samples: int | None = Field(
        default=None, ge=0, le=8, description="Held-out prompts to answer at each evaluation."
    )
    tracker: Tracker | None = Field(
        default=None, description="Curves also to tensorboard, trackio or wandb; None = nowhere."
    )
    seed: int | None = Field(default=None, ge=0, le=MOST_SEED, description="Order of rows.")
    dtype: Literal["auto", "bf16", "fp32"] | None = Field(default=None, description="Numbers.")
    quantise: Literal["none", "nf4"] | None = Field(
        default=None, description="nf4: frozen weights in four bits (QLoRA; needs a GPU)."
    )
    devices: int | None = Field(
        default=None, ge=1, le=4096, description="Train on so many GPUs of this machine."
    )
    sharding: Literal["none", "fsdp"] | None = Field(
        default=None, description="fsdp: spread the student over them."
    )
    learn: Literal["last", "all"] | None = Field(default=None, description="Not DPO.")
    reasoning_share: float | None = Field(
        default=None, ge=0.0, le=1.0, description="SFT, logit: of rows that keep reasoning."
    )
    reasoning_budget: int | None = Field(
        default=None, ge=1, description="SFT, logit: most tokens of reasoning."
    )
    packing: bool | None = Field(
        default=None, description="SFT, logit: rows end to end instead of padded."
    )
    beta: float | None = Field(
        default=None, gt=0.0, le=10.0, description="DPO, KTO: pull to the start; logit: KL."
    )
    dpo_loss: DpoLoss | None = Field(
        default=None, description=f"DPO: {', '.join(get_args(DpoLoss))}; docs/distillation.md."
    )
    label_smoothing: float | None = Field(
        default=None, ge=0.0, lt=0.5, description="DPO, robust: share of wrong preferences."
    )
    sft_weight: float | None = Field(
        default=None, ge=0.0, le=10.0, description="DPO: of the chosen answers' cross-entropy."
    )
    desirable_weight: float | None = Field(
        default=None, gt=0.0, le=1000.0, description="KTO: of accepted answers; None = balanced."
    )
    undesirable_weight: float | None = Field(
        default=None, gt=0.0, le=1000.0, description="KTO: of rejected answers; None = balanced."
    )
    reference: Reference | None = Field(
        default=None, description="DPO, KTO: adapter_off or stored; None = by what is trained."
    )
    teacher: str | None = Field(
        default=None,
        description="To follow: a model id, run:<name> or server:<teacher>; None = whole student.",
    )
    teacher_weight: float | None = Field(
        default=None, gt=0.0, le=1000.0, description="Its weight among several; None = 1."
    )
    more_teachers: str | None = Field(
        default=None, max_length=2000, description="Others, mixed in: 'id, run:name*0.5'."
    )
    sampling_temperature: float | None = Field(
        default=None, gt=0.0, le=5.0, description="On-policy: of the student's answers."
    )
    answer_tokens: int | None = Field(
        default=None, ge=1, le=65_536, description="On-policy: longest answer."
    )
    alpha: float | None = Field(default=None, ge=0.0, le=10.0, description="Logit: weight of CE.")
    temperature: float | None = Field(default=None, gt=0.0, le=20.0, description="Of both.")
    divergence: DivergenceName | None = Field(default=None, description="What is minimised.")
    mixture: float | None = Field(
        default=None, gt=0.0, lt=1.0, description="Logit: beta of jsd, skew of skewed_*."
    )
    across_tokenizers: AcrossTokenizers | None = Field(
        default=None, description="Logit: a teacher with another tokenizer by uld or hybrid."
    )
    signal: Literal["online", "cache"] | None = Field(default=None, description="Logit only.")
    kept: Literal["top_k", "draws"] | None = Field(default=None, description="Logit, in a cache.")
    top_k: int | None = Field(default=None, ge=1, le=65535, description="Logit, in a cache.")
    feature_weight: float | None = Field(
        default=None, ge=0.0, le=100.0, description="Logit: of hidden states; 0 = none."
    )
    feature_loss: FeatureLoss | None = Field(default=None, description="Logit: cosine or mse.")
    feature_layers: str | None = Field(
        default=None,
        max_length=2000,
        description="Logit: student:teacher layers, '8:10, 16:20'; '' or None = spread evenly.",
    )

    @model_validator(mode="after")
    def _method_fields(self) -> "TrainSpec":
        for name, methods in OWNERS.items():
            if self.method not in methods and getattr(self, name) is not None:
                raise ValueError(f"{name} belongs to {' and '.join(methods)}")
        return self


def methods_with(field: str) -> tuple[str, ...]:
    """The methods whose run.json has a field of this name."""
    return tuple(m for m, kind in RUN_CONFIGS.items() if field in kind.model_fields)


_NAMED = ("name", "student", "method")  # in both, but a choice names what run.json has resolved
SHARED = tuple(n for n in TrainSpec.model_fields if n not in _NAMED and methods_with(n))
_OTHERWISE = {  # run.json has them under another name
    "dpo_loss": ("dpo",),
    "teacher_weight": methods_with("teacher"),
    "feature_weight": methods_with("features"),
    "feature_loss": methods_with("features"),
    "feature_layers": methods_with("features"),
}
OWNERS: dict[str, tuple[str, ...]] = _OTHERWISE | {
    name: methods_with(name) for name in SHARED if len(methods_with(name)) < len(RUN_CONFIGS)
}


def parse_teachers(text: str) -> list[tuple[str, float]]:
    """Read `id, run:name*0.5` as (name, weight); without a weight it is 1.

    Raises:
        InvalidInput: A weight that is no positive number, or no name before it.
    """
    found = []
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        name, _, weight = (piece.strip() for piece in part.partition("*"))
        try:
            value = float(weight or 1.0)
        except ValueError:
            value = 0.0
        if not name or not 0.0 < value <= 1000.0:
            raise InvalidInput(
                f"Other teachers: '{part.strip()}' is no teacher and weight.",
                "Write model ids or run:NAME with commas between, a weight behind '*':"
                " run:big*2, smollm2-135m-instruct.",
            )
        found.append((name, value))
    return found
