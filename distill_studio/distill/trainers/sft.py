"""SFT through TRL's `SFTTrainer`, on rows whose tokens and labels are made by `data.py`."""

from typing import Any

from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from distill_studio.distill.config import SftRun
from distill_studio.distill.data import MASKED, Row, cut, encode_sft
from distill_studio.distill.lora import peft_config
from distill_studio.distill.trainers.setup import Setup, encode_splits, shared_arguments


class HeldOutSftTrainer(SFTTrainer):
    """SFT whose held-out loss is the mean over tokens, not over batches.

    The library averages the means of batches, which weighs the tokens of short rows more.
    """

    _held_out_nll = 0.0
    _held_out_tokens = 0

    def compute_loss(
        self,
        model: Any,  # noqa: ANN401
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """As the library's; adds up loss and tokens while evaluating."""
        labels_BT = inputs["labels"]
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not model.training and not return_outputs:
            tokens = int((labels_BT[:, 1:] != MASKED).sum())
            self._held_out_nll += float(loss) * tokens
            self._held_out_tokens += tokens
        return loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As the library's, with the exact mean."""
        self._held_out_nll, self._held_out_tokens = 0.0, 0
        output: Any = super().evaluation_loop(*args, **kwargs)
        if self._held_out_tokens:
            loss = self._held_out_nll / self._held_out_tokens
            output.metrics.update(eval_loss=loss, eval_tokens=self._held_out_tokens)
        return output


def build(setup: Setup) -> SFTTrainer:
    """The trainer, its rows encoded."""
    config = setup.config
    assert isinstance(config, SftRun)

    def encode(row: Row) -> dict[str, Any] | None:
        encoded = encode_sft(setup.chat, row, config.learn)
        if config.over_length == "drop" and len(encoded.input_ids) > config.max_length:
            return None
        short = cut(encoded, config.max_length)
        return {"input_ids": short.input_ids, "labels": short.labels} if short.learned else None

    train, validation = encode_splits(setup, encode)
    return HeldOutSftTrainer(
        model=setup.model,
        args=SFTConfig(**shared_arguments(setup), max_length=None, packing=False),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=setup.tokenizer,
        peft_config=peft_config(config.lora),
        callbacks=setup.callbacks,
    )
