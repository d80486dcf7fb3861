"""DPO through TRL's `DPOTrainer`, on pairs whose tokens are made by `data.py`.

The reference is the student itself before training: the adapter switched off, or its
log-probabilities stored before the first update (always so with full weights).
"""

from typing import Any

from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

from distill_studio.distill.config import DpoRun
from distill_studio.distill.data import Row, encode_preference
from distill_studio.distill.lora import peft_config
from distill_studio.distill.trainers.pretokenised import PreTokenised
from distill_studio.distill.trainers.setup import (
    Setup,
    encode_splits,
    is_reference_stored,
    shared_arguments,
)

_MEANS = {
    "rewards/margins": "eval_margin",
    "rewards/accuracies": "eval_accuracy",
    "logps/chosen": "eval_logp_chosen",
    "logps/rejected": "eval_logp_rejected",
}


class HeldOutDpoTrainer(PreTokenised, DPOTrainer):
    """DPO on pre-tokenised pairs, with held-out figures as means over pairs, not over batches."""

    _sums: dict[str, float]
    _pairs = 0

    def compute_loss(
        self,
        model: Any,  # noqa: ANN401
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """As the library's; adds up the figures while evaluating."""
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not model.training:
            pairs = inputs["input_ids"].shape[0] // 2
            self._pairs += pairs
            for source, target in _MEANS.items():
                value = self._metrics["eval"][source][-1]
                self._sums[target] = self._sums.get(target, 0.0) + value * pairs
        return loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As the library's, with the exact means."""
        self._sums, self._pairs = {}, 0
        output: Any = super().evaluation_loop(*args, **kwargs)
        if self._pairs:
            output.metrics.update({k: total / self._pairs for k, total in self._sums.items()})
        return output


def build(setup: Setup) -> DPOTrainer:
    """The trainer, its pairs encoded."""
    config = setup.config
    assert isinstance(config, DpoRun)

    def encode(row: Row) -> dict[str, Any] | None:
        pair = encode_preference(setup.chat, row)
        is_over = pair.length > config.max_length
        if len(pair.prompt_ids) >= config.max_length or (is_over and config.over_length == "drop"):
            return None
        if not pair.chosen_ids or not pair.rejected_ids:
            return None
        return {
            "prompt_ids": pair.prompt_ids,
            "chosen_ids": pair.chosen_ids,
            "rejected_ids": pair.rejected_ids,
        }

    train, validation = encode_splits(setup, encode)
    return HeldOutDpoTrainer(
        model=setup.model,
        args=DPOConfig(
            **shared_arguments(setup),
            max_length=config.max_length,
            beta=config.beta,
            loss_type=[config.loss, "sft"] if config.sft_weight else [config.loss],
            loss_weights=[1.0, config.sft_weight] if config.sft_weight else None,
            label_smoothing=config.label_smoothing,
            precompute_ref_log_probs=is_reference_stored(config),
        ),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=setup.tokenizer,
        peft_config=peft_config(config.lora, setup.model),
        callbacks=setup.callbacks,
    )
