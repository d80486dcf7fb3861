"""What a training reads: `RunConfig` is `run.json`; `TrainSpec` is what a person chooses.

Torch-free. `RunConfig` is a union tagged by `method`, so a field that a method lacks cannot be
set; a new method is a class here, a line in `RUN_CONFIGS` and a trainer in `trainers/`.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.base import Record

Method = Literal["sft", "dpo"]
DataFormat = Literal["messages", "prompt_completion", "preference"]
FORMATS_OF_METHOD: dict[str, tuple[str, ...]] = {
    "sft": ("messages", "prompt_completion"),
    "dpo": ("preference",),
}


class StudentConfig(Record):
    """The model that learns."""

    base_folder: str = Field(description="Folder of a transformers model, resolved.")
    base_id: str = Field(description="What the user called it.")
    keep_layers: int | None = Field(
        default=None, ge=1, description="Prune to so many layers before training; None = all."
    )


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
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="Names of the linear layers that get an adapter.",
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
    seed: int = Field(default=17, ge=0, description="Order of rows, adapters.")
    dtype: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="auto: what this machine multiplies faster, measured."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, mps.")
    resume: bool = Field(default=True, description="Go on from the last checkpoint, if any.")
    samples: int = Field(default=1, ge=0, le=8, description="Held-out prompts to answer.")
    sample_tokens: int = Field(default=48, ge=1, le=512, description="Longest such answer.")


class SftRun(BaseRun):
    """Supervised fine-tuning on answers."""

    method: Literal["sft"] = Field(default="sft", description="Tag.")
    learn: Literal["last", "all"] = Field(
        default="all", description="Which assistant turns of `messages` rows are learned."
    )


class DpoRun(BaseRun):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290)."""

    method: Literal["dpo"] = Field(default="dpo", description="Tag.")
    beta: float = Field(default=0.1, gt=0.0, le=10.0, description="Pull towards the start.")


RUN_CONFIGS: dict[str, type[BaseRun]] = {"sft": SftRun, "dpo": DpoRun}
RunConfig = Annotated[SftRun | DpoRun, Field(discriminator="method")]
_ADAPTER: TypeAdapter[SftRun | DpoRun] = TypeAdapter(RunConfig)


def parse_config(text: str | bytes) -> SftRun | DpoRun:
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


def load_config(path: Path) -> SftRun | DpoRun:
    """Read `run.json` from a file."""
    return parse_config(path.read_bytes())


class TrainSpec(Record):
    """What a person chooses; everything left `None` comes from the preset."""

    snapshot: str = Field(min_length=1, description="Name of the snapshot.")
    method: Method = Field(default="sft", description="sft or dpo.")
    student: str = Field(
        default="smollm2-135m-instruct", description="A model id, or run:<name of a run>."
    )
    keep_layers: int | None = Field(default=None, ge=1, description="Prune to so many layers.")
    preset: str = Field(default="balanced", description="quick, balanced or thorough.")
    name: str = Field(default="", max_length=60, description="Of the run; '' makes one.")
    weights: Literal["lora", "full"] = Field(default="lora", description="What is trained.")
    lora_r: int | None = Field(default=None, ge=1, le=512, description="Rank.")
    lora_alpha: int | None = Field(default=None, ge=1, le=2048, description="Scale.")
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
    eval_every: int | None = Field(default=None, ge=1, description="Updates.")
    eval_rows: int | None = Field(default=None, ge=1, description="Held-out rows.")
    save_every: int | None = Field(default=None, ge=1, description="Updates.")
    seed: int | None = Field(default=None, ge=0, description="Order of rows.")
    dtype: Literal["auto", "bf16", "fp32"] | None = Field(default=None, description="Numbers.")
    learn: Literal["last", "all"] | None = Field(default=None, description="SFT only.")
    beta: float | None = Field(default=None, gt=0.0, le=10.0, description="DPO only.")

    @model_validator(mode="after")
    def _method_fields(self) -> "TrainSpec":
        if self.method != "dpo" and self.beta is not None:
            raise ValueError("beta belongs to dpo")
        if self.method != "sft" and self.learn is not None:
            raise ValueError("learn belongs to sft")
        return self
