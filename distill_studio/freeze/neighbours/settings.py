"""What the neighbours' configurations are written from."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.records import Record

Row = dict[str, Any]
METHOD_OF_FORMAT: dict[str, Literal["sft", "dpo", "kto"]] = {
    "messages": "sft",
    "prompt_completion": "sft",
    "preference": "dpo",
    "unpaired": "kto",
}


class TrainingSettings(Record):
    """How to train, in the studio's own terms; each tool has other names for them."""

    method: Literal["sft", "dpo", "kto"] = Field(description="By the format of the rows.")
    model: str = Field(description="Hub id or folder of the model that learns.")
    last_turn_only: bool = Field(description="Learn only the last answer of a conversation.")
    lora_r: int = Field(description="Rank of the adapters.")
    lora_alpha: int = Field(description="Their scale; the update is alpha / r.")
    lora_dropout: float = Field(description="On their input.")
    lora_modules: list[str] = Field(description="Names of the linear layers that get one.")
    max_length: int = Field(description="Tokens per row; the rest is cut off.")
    learning_rate: float = Field(description="Peak.")
    epochs: float = Field(description="Passes over the rows.")
    batch_size: int = Field(description="Rows per forward pass.")
    grad_accumulation: int = Field(description="Passes per update.")
    warmup_ratio: float = Field(description="Share of the updates.")
    scheduler: str = Field(description="How the rate falls: cosine, linear or constant.")
    weight_decay: float = Field(description="AdamW.")
    max_grad_norm: float = Field(description="Gradients are clipped to it.")
    eval_every: int = Field(description="Updates between held-out losses.")
    save_every: int = Field(description="Updates between checkpoints.")
    seed: int = Field(description="Order of rows, adapters.")
    beta: float | None = Field(default=None, description="DPO, KTO: pull towards the start.")
    desirable_weight: float = Field(default=1.0, description="KTO: of accepted answers.")
    undesirable_weight: float = Field(default=1.0, description="KTO: of rejected answers.")


@dataclass(frozen=True)
class Bundle:
    """A snapshot's rows as they were written, and how to train on them."""

    settings: TrainingSettings
    name: str  # the snapshot's
    content_hash: str
    rows: dict[str, int]  # per split, as written
    has_reasoning: bool  # an answer has <think> ... </think>

    @property
    def has_validation(self) -> bool:
        """True when there is a held-out file."""
        return self.rows.get("validation", 0) > 0

    @property
    def warmup_steps(self) -> int:
        """Updates of the warm-up on one device."""
        chosen = self.settings
        per_update = chosen.batch_size * chosen.grad_accumulation
        updates = math.ceil(self.rows["train"] / per_update) * chosen.epochs
        return math.ceil(updates * chosen.warmup_ratio)

    @property
    def heading(self) -> str:
        """Comment lines at the top of a configuration."""
        return (
            f"# Made by Distill Studio from the snapshot {self.name}\n"
            f"# (content hash {self.content_hash}).\n"
        )


def conversation(row: Row) -> list[dict[str, str]]:
    """The row's turns with its (chosen) answer, whatever its format."""
    if "messages" in row:
        return list(row["messages"])
    return [*row["prompt"], *(row.get("completion") or row["chosen"])]
