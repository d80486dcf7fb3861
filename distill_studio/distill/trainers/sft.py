"""SFT through TRL's `SFTTrainer`, on rows whose tokens and labels are made by `data.py`."""

import functools
from typing import Any

import torch
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from distill_studio.distill.config import SftRun
from distill_studio.distill.data import MASKED
from distill_studio.distill.lora import peft_config
from distill_studio.distill.trainers.packed import READ, packed_collator
from distill_studio.distill.trainers.setup import (
    Setup,
    answer_tokens,
    encode_splits,
    shared_arguments,
)


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
        packed = inputs.pop(READ, None)
        before = self._total_train_tokens
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if packed is not None and model.training:  # the library counts one sequence alone
            read = self.accelerator.reduce(torch.tensor(packed, device=labels_BT.device), "sum")
            self._total_train_tokens = before + int(read)
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        if not model.training and not return_outputs:
            tokens = int((labels_BT[:, 1:] != MASKED).sum())
            self._held_out_nll += float(loss) * self._divisor(tokens, num_items_in_batch)
            self._held_out_tokens += tokens
        return loss

    def _divisor(self, tokens: int, items: Any) -> float:  # noqa: ANN401
        """What the library divided the sum over this process's tokens by."""
        if items is None:
            return tokens
        is_over_all = self.args.average_tokens_across_devices
        return float(items) / (self.accelerator.num_processes if is_over_all else 1)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As the library's, with the exact mean."""
        self._held_out_nll, self._held_out_tokens = 0.0, 0
        output: Any = super().evaluation_loop(*args, **kwargs)
        sums = [self._held_out_nll, float(self._held_out_tokens)]
        if self.accelerator.num_processes > 1:
            sums_2 = torch.tensor(sums, device=self.accelerator.device)
            sums = self.accelerator.reduce(sums_2, "sum").tolist()
        nll, tokens = sums
        if tokens:
            output.metrics.update(eval_loss=nll / tokens, eval_tokens=int(tokens))
        return output


def build(setup: Setup) -> SFTTrainer:
    """The trainer, its rows encoded."""
    config = setup.config
    assert isinstance(config, SftRun)

    encode = functools.partial(answer_tokens, setup, config)
    train, validation = encode_splits(setup, encode, may_map=True)
    collator = packed_collator(setup, train) if config.packing else None
    return HeldOutSftTrainer(
        model=setup.model,
        args=SFTConfig(
            **shared_arguments(setup),
            max_length=None,
            packing=False,  # ours, see packed.py: the library's changes which rows an update has
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},  # they are tokens already
        ),
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=setup.tokenizer,
        peft_config=peft_config(config.lora, setup.model),
        callbacks=setup.callbacks,
    )
