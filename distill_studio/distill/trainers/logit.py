"""Logit distillation: SFT's trainer with alpha * CE + beta * T^2 * divergence as its loss.

TRL has no trainer for this on fixed answers (its DistillationTrainer generates anew, has no
cross-entropy and no T^2).
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from distill_studio.distill.config import LogitRun
from distill_studio.distill.data import Row
from distill_studio.distill.layer_pairs import pairs_text
from distill_studio.distill.losses.cross_entropy import CrossEntropy
from distill_studio.distill.losses.mask import learned_targets
from distill_studio.distill.losses.tiled import LossSums, Term
from distill_studio.distill.pairing import is_across
from distill_studio.distill.trainers.across import AcrossCollator, AcrossRows
from distill_studio.distill.trainers.answers import AnswerTrainer, trainer_fields
from distill_studio.distill.trainers.features import FeatureMatcher
from distill_studio.distill.trainers.mapped import ROW
from distill_studio.distill.trainers.packed import packed_collator
from distill_studio.distill.trainers.setup import Setup, answer_tokens, encode_splits
from distill_studio.distill.trainers.teacher_signal import (
    OnlineSignal,
    TeacherSignal,
    make_signal,
)


class LogitTrainer(AnswerTrainer):
    """The teacher beside the labels; CE and KL are logged apart."""

    is_balanced = False  # the teacher says how often which expert is needed

    def __init__(
        self,
        *args: Any,  # noqa: ANN401
        signal: TeacherSignal,
        config: LogitRun,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._signal = signal
        self._config = config
        self.features: FeatureMatcher | None = None
        if config.features is not None:
            assert isinstance(signal, OnlineSignal)  # pre-flight and pairing refuse a stored one
            self.features = FeatureMatcher(config.features, self.student, signal.model)
        self.parts = ("ce", "kl") if self.features is None else ("ce", "kl", "features")

    def terms(self, inputs: dict[str, Any], where_BT: Tensor) -> list[Term]:
        """alpha times the labels' cross-entropy, and the divergence from the teacher."""
        kl = self._signal.term(inputs, where_BT)
        return [CrossEntropy(learned_targets(inputs["labels"]), weight=self._config.alpha), kl]

    def totals(self, sums: LossSums, where_BT: Tensor, *, is_training: bool) -> dict[str, Tensor]:
        """Total and parts, with the distance of hidden states where it is asked for.

        It joins the total in training alone: a held-out loss is that of the logits, so that runs
        with and without hidden states can be compared.
        """
        found = super().totals(sums, where_BT, is_training=is_training)
        if self.features is None:
            return found
        distance = self.features.distance(where_BT)
        if is_training:
            divergence = self._config.beta * sums.parts["kl"]
            found["total"] = found["total"] + self.features.weighted(
                distance, divergence, sums.tokens
            )
        return {**found, "features": distance.detach()}

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ANN401
        """As the library's; the maps of hidden states lie beside, for a resume."""
        super()._save(output_dir, state_dict)
        if self.features is not None:
            self.features.save(Path(output_dir or str(self.args.output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ANN401
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.features is not None:
            self.features.load(Path(resume_from_checkpoint))


class _RowCollator:
    """The library's collator, and the number of each row for a stored signal."""

    def __init__(self, pad_id: int) -> None:
        self._collate = DataCollatorForLanguageModeling(pad_token_id=pad_id)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = self._collate(examples)
        batch[ROW] = batch["labels"].new_tensor([example[ROW] for example in examples])
        return batch


def build(setup: Setup) -> LogitTrainer:
    """The trainer: rows encoded, the teacher loaded or its stored signal ready.

    Raises:
        InvalidInput: The teacher cannot teach this student, in the user's words.
    """
    config = setup.config
    assert isinstance(config, LogitRun)

    encode: Callable[[Row], dict[str, Any] | None] = functools.partial(answer_tokens, setup, config)
    if is_across(config):
        encode = AcrossRows(setup, config)
    train, validation = encode_splits(setup, encode, may_map=True)
    signal = make_signal(setup, config, [train] if validation is None else [train, validation])
    if ROW not in train[0]:
        train = train.add_column(ROW, list(range(len(train))))
    if validation is not None:
        first = len(train)
        validation = validation.add_column(ROW, list(range(first, first + len(validation))))
    collator: Any = _RowCollator(setup.chat.pad_id)
    if config.packing:
        teachers = signal.models if isinstance(signal, OnlineSignal) else []
        collator = packed_collator(setup, train, teachers)
    if is_across(config):
        collator = AcrossCollator(collator)
    trainer = LogitTrainer(
        **trainer_fields(setup),
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        signal=signal,
        config=config,
    )
    if trainer.features is not None:
        pairs, has_maps = trainer.features.pairs, trainer.features.has_maps
        setup.say(
            f"Hidden states: student layers follow the teacher's as {pairs_text(pairs)}"
            f"{', through linear maps trained for this' if has_maps else ''}."
        )
    return trainer
