"""What every trainer adapter is given, and the arguments that all methods share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import DpoRun, SftRun
from distill_studio.distill.data import Row, count_rows, iter_rows, last_user_text, prompt_messages
from distill_studio.distill.estimate import total_steps


@dataclass
class Setup:
    """Model, tokenizers and choices of one training.

    `train_rows`, `validation_rows` and `left_out` are filled by the adapter's `build`.
    """

    config: SftRun | DpoRun
    folder: Path
    model: Any
    tokenizer: Any  # transformers', saved with the model
    chat: ChatTokenizer
    device: str
    is_bf16: bool
    callbacks: list[Any] = field(default_factory=list)
    train_rows: int = 0
    validation_rows: int = 0
    left_out: int = 0

    @property
    def total(self) -> int:
        """Updates in all; known once the rows are encoded."""
        return total_steps(self.config, self.train_rows)

    def rows(self, split: Literal["train", "validation"]) -> Iterable[Row]:
        """Rows of a split; the held-out ones at most `eval_rows`."""
        folder = Path(self.config.data.folder)
        if split == "validation" and not count_rows(folder, split):
            return []
        return iter_rows(folder, split, self.config.eval_rows if split == "validation" else None)

    def sample_prompts(self) -> list[tuple[str, list[int]]]:
        """(last user turn, token ids up to the answer) of the held-out rows to answer."""
        found: list[tuple[str, list[int]]] = []
        for row in self.rows("validation"):
            if len(found) == self.config.samples:
                break
            ids = self.chat.encode(self.chat.render(prompt_messages(row), answer_next=True))
            if len(ids) <= 4 * self.config.max_length:
                found.append((last_user_text(row), ids))
        return found


def encode_splits(
    setup: Setup, encode: Callable[[Row], dict[str, Any] | None]
) -> tuple[Any, Any | None]:
    """(train, validation) as `datasets.Dataset`; rows for which `encode` gives None are left out.

    Raises:
        InvalidInput: No row can be learned.
    """
    import datasets

    train = [encode(row) for row in setup.rows("train")]
    usable = [row for row in train if row is not None]
    held_out = [row for raw in setup.rows("validation") if (row := encode(raw)) is not None]
    setup.train_rows, setup.validation_rows = len(usable), len(held_out)
    setup.left_out = len(train) - len(usable)
    if not usable:
        raise InvalidInput(
            f"None of the {len(train)} rows can be learned in {setup.config.max_length} tokens.",
            "Raise the longest length, or freeze shorter rows.",
        )
    data = datasets.Dataset.from_list(usable)
    return data, datasets.Dataset.from_list(held_out) if held_out else None


def shared_arguments(setup: Setup) -> dict[str, Any]:
    """Fields of `TrainingArguments` that every method sets alike."""
    config = setup.config
    has_validation = setup.validation_rows > 0
    return {
        "output_dir": str(setup.folder / "checkpoints"),
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.grad_accumulation,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": round(config.warmup_ratio * setup.total),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "max_steps": setup.total,
        "eval_strategy": "steps" if has_validation else "no",
        "eval_steps": config.eval_every,
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "prediction_loss_only": True,
        "gradient_checkpointing": False,  # recomputing costs a third more time; memory is small
        "bf16": setup.is_bf16,
        "use_cpu": setup.device == "cpu",
        "seed": config.seed,
        "data_seed": config.seed,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": setup.device.startswith("cuda"),
    }
