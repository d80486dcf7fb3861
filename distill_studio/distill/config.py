"""What a training reads: `RunConfig` is `run.json`. What a person chooses is in `spec.py`.

Torch-free. `RunConfig` is a union tagged by `method`, so a field that a method lacks cannot be
set; a new method is a class here, a line in `RUN_CONFIGS` and a trainer in `trainers/`.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import TeacherConfig as ServerConfig
from distill_studio.core.records.base import Record

Method = Literal["sft", "dpo", "kto", "logit", "on_policy"]
DivergenceName = Literal["forward_kl", "reverse_kl", "jsd", "skewed_kl", "skewed_reverse_kl"]
FeatureLoss = Literal["cosine", "mse"]
AcrossTokenizers = Literal["answers", "uld", "hybrid"]
METHOD_LABELS = {
    "sft": "SFT",
    "dpo": "DPO",
    "kto": "KTO",
    "logit": "Logit distillation",
    "on_policy": "On-policy distillation",
}
MOST_SEED = 2**32 - 1  # numpy takes no larger one
DataFormat = Literal["messages", "prompt_completion", "preference", "unpaired"]
DpoLoss = Literal[
    "sigmoid", "ipo", "hinge", "robust", "sigmoid_norm", "apo_zero", "apo_down", "nca_pair"
]
Reference = Literal["adapter_off", "stored"]
Tracker = Literal["none", "tensorboard", "trackio", "wandb"]
# What a student keeps of its base, in `StudentConfig` and `TrainSpec`; None = all.
PRUNING = ("keep_layers", "keep_mlp", "keep_groups", "keep_hidden")
FORMATS_OF_METHOD: dict[str, tuple[str, ...]] = {
    "sft": ("messages", "prompt_completion"),
    "dpo": ("preference",),
    "kto": ("unpaired",),
    "logit": ("messages", "prompt_completion"),
    "on_policy": ("prompt_completion", "messages", "preference", "unpaired"),
}


class StudentConfig(Record):
    """The model that learns."""

    base_folder: str = Field(description="Folder of a transformers model, resolved.")
    base_id: str = Field(description="What the user called it.")
    keep_layers: int | None = Field(
        default=None, ge=1, description="Prune to so many layers before training; None = all."
    )
    keep_mlp: float | None = Field(
        default=None, gt=0.0, le=1.0, description="Share of each MLP's neurons to keep; None = all."
    )
    keep_groups: int | None = Field(
        default=None,
        ge=1,
        description="Key/value heads to keep in each layer, with the query heads that share them;"
        " None = all.",
    )
    keep_hidden: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="Share of the hidden states' channels to keep; None = all.",
    )

    @property
    def is_pruned(self) -> bool:
        """Whether something of the base is dropped before training."""
        return any(getattr(self, name) is not None for name in PRUNING)


class DataConfig(Record):
    """The frozen snapshot, the only data a training reads."""

    folder: str = Field(description="Holds train.parquet and validation.parquet.")
    name: str = Field(description="Name of the snapshot.")
    format: DataFormat = Field(description="Shape of its rows.")
    content_hash: str = Field(default="", description="Of the rows, from the manifest.")


class LoraConfig(Record):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

    r: int = Field(default=16, ge=1, le=512, description="Rank.")
    alpha: int = Field(default=32, ge=1, le=2048, description="Scale; the update is alpha / r.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="On the adapter's input.")
    target_modules: tuple[str, ...] = Field(
        default=(),
        description="Names of the linear layers that get an adapter; none = all but the output"
        " layer, whatever the architecture calls them.",
    )


class BaseRun(Record):
    """What every method needs."""

    schema_version: Literal[1] = Field(default=1, description="Of this file.")
    name: str = Field(min_length=1, max_length=100, description="Of the run.")
    student: StudentConfig = Field(description="Who learns.")
    data: DataConfig = Field(description="From what.")
    lora: LoraConfig | None = Field(description="None trains the full weights.")
    max_length: int = Field(default=256, ge=8, le=1_048_576, description="Tokens per row.")
    over_length: Literal["cut", "drop"] = Field(
        default="cut", description="Cut the end of longer rows off, or leave the rows out."
    )
    learning_rate: float = Field(gt=0.0, le=1.0, description="Peak.")
    max_steps: int | None = Field(default=None, ge=1, description="Updates; None = by epochs.")
    epochs: float = Field(default=1.0, gt=0.0, le=1000.0, description="Passes over the data.")
    batch_size: int = Field(default=4, ge=1, le=4096, description="Rows per forward pass.")
    grad_accumulation: int = Field(default=1, ge=1, le=4096, description="Passes per update.")
    warmup_ratio: float = Field(default=0.05, ge=0.0, le=1.0, description="Share of the updates.")
    scheduler: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="How the rate falls after warm-up."
    )
    weight_decay: float = Field(default=0.0, ge=0.0, le=1.0, description="AdamW.")
    max_grad_norm: float = Field(default=1.0, gt=0.0, description="Gradients are clipped to it.")
    eval_every: int = Field(default=20, ge=1, description="Updates between held-out losses.")
    eval_rows: int = Field(default=64, ge=1, description="At most so many held-out rows.")
    save_every: int = Field(default=50, ge=1, description="Updates between checkpoints.")
    keep_checkpoints: int = Field(
        default=0, ge=0, le=100, description="Newest ones kept after the end, to be compared."
    )
    seed: int = Field(default=17, ge=0, le=MOST_SEED, description="Order of rows, adapters.")
    dtype: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="auto: what this machine multiplies faster, measured."
    )
    quantise: Literal["none", "nf4"] = Field(
        default="none", description="nf4: frozen weights in four bits (QLoRA; needs a GPU)."
    )
    devices: int = Field(
        default=1, ge=1, le=4096, description="Processes that train together, one per GPU."
    )
    sharding: Literal["none", "fsdp"] = Field(
        default="none", description="Whole student on each device, or spread over all (GPUs)."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, mps.")
    resume: bool = Field(default=True, description="Go on from the last checkpoint, if any.")
    samples: int = Field(default=1, ge=0, le=8, description="Held-out prompts to answer.")
    sample_tokens: int = Field(default=48, ge=1, le=512, description="Longest such answer.")
    tracker: Tracker = Field(
        default="none", description="Where else its curves go; its package is installed apart."
    )


class AnswerRun(BaseRun):
    """A run that learns the rows' own answers."""

    learn: Literal["last", "all"] = Field(
        default="all", description="Which assistant turns of `messages` rows are learned."
    )
    reasoning_share: float | None = Field(
        default=None, ge=0.0, le=1.0, description="Of rows that keep it; None = all, as frozen."
    )
    reasoning_budget: int | None = Field(
        default=None, ge=1, description="Most tokens of it; a row with more learns without it."
    )
    packing: bool = Field(
        default=False, description="Rows of a batch end to end, kept apart, instead of padded."
    )


class SftRun(AnswerRun):
    """Supervised fine-tuning on answers."""

    method: Literal["sft"] = Field(default="sft", description="Tag.")


_REFERENCE = (
    "The student before training: with its adapter off at each update, or its log-probabilities"
    " stored before the first. None = adapter off with LoRA, stored with full weights."
)


class DpoRun(BaseRun):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290)."""

    method: Literal["dpo"] = Field(default="dpo", description="Tag.")
    beta: float = Field(
        default=0.1, gt=0.0, le=10.0, description="Pull towards the start; tau of ipo."
    )
    loss: DpoLoss = Field(default="sigmoid", description="Its variant, as TRL names it.")
    label_smoothing: float = Field(
        default=0.0, ge=0.0, lt=0.5, description="robust: share of preferences that are wrong."
    )
    sft_weight: float = Field(
        default=0.0, ge=0.0, le=10.0, description="Of the chosen answers' cross-entropy beside it."
    )
    reference: Reference | None = Field(default=None, description=_REFERENCE)


class KtoRun(BaseRun):
    """Kahneman-Tversky optimisation from accepted and rejected answers (arXiv:2402.01306)."""

    method: Literal["kto"] = Field(default="kto", description="Tag.")
    beta: float = Field(default=0.1, gt=0.0, le=10.0, description="Pull towards the start.")
    desirable_weight: float | None = Field(
        default=None, gt=0.0, le=1000.0, description="Of accepted answers; None = by balance."
    )
    undesirable_weight: float | None = Field(
        default=None, gt=0.0, le=1000.0, description="Of rejected answers; None = by balance."
    )
    reference: Reference | None = Field(default=None, description=_REFERENCE)


class TeacherConfig(Record):
    """The model that is learned from; with the student's tokenizer, or `across_tokenizers`."""

    folder: str = Field(
        description="Folder of a transformers model, resolved; '' where only a server has it."
    )
    id: str = Field(description="What the user called it.")
    weight: float = Field(
        default=1.0, gt=0.0, le=1000.0, description="Among several teachers; any sum."
    )
    server: ServerConfig | None = Field(
        default=None, description="vLLM that is asked instead; how to reach it, without its key."
    )

    @model_validator(mode="after")
    def _is_somewhere(self) -> "TeacherConfig":
        if not self.folder and self.server is None:
            raise ValueError("a teacher has a folder or a server")
        return self


class FeatureConfig(Record):
    """Hidden states of student layers are drawn to those of teacher layers (FitNets, Minitron)."""

    weight: float = Field(
        default=1.0, gt=0.0, le=100.0, description="Beside the divergence; 1 = as much as it."
    )
    loss: FeatureLoss = Field(default="cosine", description="cosine or mse of normalised states.")
    pairs: tuple[tuple[int, int], ...] = Field(
        default=(),
        description="(student layer, teacher layer), numbered from 1; empty = spread evenly.",
    )


class TeacherRun(BaseRun):
    """A run that follows the probabilities of one or several teachers."""

    teacher: TeacherConfig = Field(description="Whom to follow.")
    more_teachers: tuple[TeacherConfig, ...] = Field(
        default=(), max_length=7, description="Mixed with it by weight, as probabilities."
    )
    temperature: float = Field(default=1.0, gt=0.0, le=20.0, description="Of both softmaxes.")
    divergence: DivergenceName = Field(default="forward_kl", description="What is minimised.")
    mixture: float | None = Field(
        default=None, gt=0.0, lt=1.0, description="beta of jsd (.5), skew of skewed_* (.1)."
    )

    @property
    def teachers(self) -> tuple[TeacherConfig, ...]:
        """All of them."""
        return (self.teacher, *self.more_teachers)


class OnPolicyRun(TeacherRun):
    """On-policy distillation: the student answers, the teacher says what it would have said.

    Agarwal et al. 2024 (GKD, arXiv:2306.13649). Only the prompts of the rows are read.
    """

    method: Literal["on_policy"] = Field(default="on_policy", description="Tag.")
    divergence: DivergenceName = Field(default="reverse_kl", description="What is minimised.")
    sampling_temperature: float = Field(
        default=1.0, gt=0.0, le=5.0, description="Of the student's own answers."
    )
    answer_tokens: int = Field(
        default=128, ge=1, le=65_536, description="Longest answer of the student."
    )


class LogitRun(AnswerRun, TeacherRun):
    """Logit distillation: alpha * CE + beta * T^2 * divergence, on the rows' own answers.

    Hinton et al. 2015 (arXiv:1503.02531). From a cache only forward KL can be learned: all others
    need the teacher's probability of what the student finds likely. Across tokenizers a
    distance of `losses/unlike.py` stands in its place, where both models' tokens end together.
    """

    method: Literal["logit"] = Field(default="logit", description="Tag.")
    alpha: float = Field(default=0.1, ge=0.0, le=10.0, description="Weight of cross-entropy.")
    beta: float = Field(default=0.9, gt=0.0, le=10.0, description="Weight of the divergence.")
    signal: Literal["online", "cache"] = Field(
        default="online", description="Ask the teacher at each update, or once for all."
    )
    kept: Literal["top_k", "draws"] = Field(
        default="top_k", description="In a cache: the likeliest ids and their tail, or draws."
    )
    top_k: int = Field(default=64, ge=1, le=65535, description="Ids, or draws, per token.")
    across_tokenizers: AcrossTokenizers = Field(
        default="answers",
        description="What of a teacher with another tokenizer is learned: answers (logits are for"
        " teachers with the student's alone), uld (sorted probabilities), hybrid (KL of the tokens"
        " that both have, the others sorted).",
    )
    cache_folder: str = Field(default="", description="Of all caches; '' = beside run.json.")
    features: FeatureConfig | None = Field(
        default=None, description="Hidden states beside the logits; None = logits alone."
    )


RUN_CONFIGS: dict[str, type[BaseRun]] = {
    "sft": SftRun,
    "dpo": DpoRun,
    "kto": KtoRun,
    "logit": LogitRun,
    "on_policy": OnPolicyRun,
}
RunConfig = Annotated[
    SftRun | DpoRun | KtoRun | LogitRun | OnPolicyRun, Field(discriminator="method")
]
_ADAPTER: TypeAdapter[SftRun | DpoRun | KtoRun | LogitRun | OnPolicyRun] = TypeAdapter(RunConfig)


def learned_turns(config: BaseRun) -> Literal["last", "all"]:
    """Which assistant turns of a row are learned."""
    return config.learn if isinstance(config, AnswerRun) else "all"


def parse_config(text: str | bytes) -> RunConfig:
    """Read `run.json`.

    Raises:
        InvalidInput: Not a run.json; says which field.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as err:
        problem = err.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise InvalidInput(f"run.json: {where}: {problem['msg']}") from err


def load_config(path: Path) -> RunConfig:
    """Read `run.json` from a file."""
    return parse_config(path.read_bytes())
