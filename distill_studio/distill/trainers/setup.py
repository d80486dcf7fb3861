"""What every trainer adapter is given, and the arguments that all methods share."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import AnswerRun, DpoRun, KtoRun, RunConfig
from distill_studio.distill.data import (
    Row,
    count_rows,
    cut,
    encode_prompt,
    iter_rows,
    last_user_text,
    split_path,
)
from distill_studio.distill.estimate import total_steps
from distill_studio.distill.ranks import Ranks, even_share
from distill_studio.distill.reasoning import encode_answer
from distill_studio.distill.rows import Refused, TolerantReader
from distill_studio.distill.trainers.mapped import MAPPED_FROM, mapped_rows

ROWS_FILE = "rows.arrow"  # in the run's folder, while it trains


@dataclass
class Setup:
    """Model, tokenizers and choices of one training.

    `train_rows`, `validation_rows` and `left_out` are filled by the adapter's `build`.
    """

    config: RunConfig
    folder: Path
    model: Any
    tokenizer: Any  # transformers', saved with the model
    chat: ChatTokenizer
    device: str
    is_bf16: bool
    say: Callable[..., None] = lambda _, **__: None  # a Note for the page: its message, more fields
    check_stop: Callable[[], None] = lambda: None  # raises Cancelled when somebody asked to stop
    callbacks: list[Any] = field(default_factory=list)
    ranks: Ranks = field(default_factory=Ranks)
    train_rows: int = 0
    validation_rows: int = 0
    left_out: int = 0

    @property
    def total(self) -> int:
        """Updates in all; known once the rows are encoded."""
        config = self.config.model_copy(update={"devices": self.ranks.world})
        return total_steps(config, self.train_rows)

    @property
    def eval_batch(self) -> int:
        """Held-out rows per pass and device."""
        return even_share(self.validation_rows, self.config.batch_size, self.ranks.world)[1]

    def rows(self, split: Literal["train", "validation"]) -> Iterable[Row]:
        """Rows of a split; the held-out ones at most `eval_rows`."""
        folder = Path(self.config.data.folder)
        if split == "validation" and not count_rows(folder, split):
            return []
        return iter_rows(folder, split, self.config.eval_rows if split == "validation" else None)

    def sample_prompts(self) -> list[tuple[str, list[int]]]:
        """(last user turn, token ids up to the answer) of different held-out rows to answer."""
        reader = TolerantReader(functools.partial(encode_prompt, self.chat))
        different: dict[tuple[int, ...], tuple[str, list[int]]] = {}
        for row, ids in reader.all_of(self.rows("validation")):
            if len(different) >= self.config.samples:
                break
            if ids and len(ids) <= 4 * self.config.max_length:
                different.setdefault(tuple(ids), (last_user_text(row), ids))
        return list(different.values())


def answer_tokens(setup: Setup, config: AnswerRun, row: Row) -> dict[str, Any] | None:
    """Tokens and labels of a row of answers; None where it is too long or nothing is learned."""
    encoded = encode_answer(setup.chat, config, row)
    if config.over_length == "drop" and len(encoded.input_ids) > config.max_length:
        return None
    short = cut(encoded, config.max_length)
    return {"input_ids": short.input_ids, "labels": short.labels} if short.learned else None


def encode_splits(
    setup: Setup, encode: Callable[[Row], dict[str, Any] | None], *, may_map: bool = False
) -> tuple[Any, Any | None]:
    """(train, validation) as `datasets.Dataset`; rows for which `encode` gives None are left out.

    Args:
        setup: Its counts are filled.
        encode: Fields of a row for the trainer.
        may_map: A large train split is tokenised when rows are read (`mapped.py`); else at once,
            to a file that is mapped.

    Raises:
        InvalidInput: No row can be learned.
    """
    import datasets

    encode = reader = TolerantReader(encode, functools.partial(_tell_refused, setup.say))
    held_out = [row for _, row in reader.all_of(setup.rows("validation"))]
    keep, _ = even_share(len(held_out), setup.config.batch_size, setup.ranks.world)
    held_out = held_out[:keep]
    setup.validation_rows = len(held_out)
    validation = datasets.Dataset.from_list(held_out) if held_out else None
    path = split_path(Path(setup.config.data.folder), "train")
    total = count_rows(path.parent, "train")
    if may_map and total >= MAPPED_FROM:
        setup.say(f"The {total:,} rows are tokenised as they are read.")
        copy = setup.folder / ROWS_FILE
        pad_id = setup.chat.pad_id
        train = setup.ranks.first_then_others(lambda: mapped_rows(path, copy, encode, pad_id))
        setup.train_rows = total
        return train, validation
    train = _encoded(setup, encode, total)
    setup.train_rows, setup.left_out = len(train), total - len(train)
    if not len(train):
        if reader.first is not None:
            raise reader.first.error
        raise InvalidInput(
            f"None of the {total} rows can be learned in {setup.config.max_length} tokens.",
            "Raise the longest length, or freeze shorter rows.",
        )
    return train, validation


def _tell_refused(say: Callable[[str], None], refused: Refused) -> None:
    which = f'"{last_user_text(refused.row)[:60]}"'
    say(f"Rows like {which} are left out: {refused.error.user_message}")


def _encoded(setup: Setup, encode: Callable[[Row], dict[str, Any] | None], total: int) -> Any:  # noqa: ANN401
    """The learnable rows of the train split; in a mapped file where they are many."""
    import datasets

    def usable() -> Iterator[dict[str, Any]]:
        for raw in setup.rows("train"):
            setup.check_stop()
            row = encode(raw)
            if row is not None:
                yield row

    if total < MAPPED_FROM:
        return datasets.Dataset.from_list(list(usable()))
    setup.say(f"Tokenising {total:,} rows.")
    tokens = setup.folder / f"tokens-{setup.ranks.rank}"
    return datasets.Dataset.from_generator(
        usable, cache_dir=str(tokens), fingerprint=setup.config.data.content_hash[:32] or None
    )


def is_reference_stored(config: DpoRun | KtoRun) -> bool:
    """True when the student's own log-probabilities are worked out before the first update."""
    return config.lora is None or config.reference == "stored"


def shared_arguments(setup: Setup) -> dict[str, Any]:
    """Fields of `TrainingArguments` that every method sets alike."""
    config = setup.config
    has_validation = setup.validation_rows > 0
    return {
        "output_dir": str(setup.folder / "checkpoints"),
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": setup.eval_batch,
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
        "save_total_limit": max(2, config.keep_checkpoints),
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "prediction_loss_only": True,
        "gradient_checkpointing": False,  # recomputing costs a third more time; memory is small
        "bf16": setup.is_bf16,
        "use_cpu": setup.device == "cpu",
        "ddp_find_unused_parameters": False,
        "seed": config.seed,
        "data_seed": config.seed,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": setup.device.startswith("cuda"),
    }
