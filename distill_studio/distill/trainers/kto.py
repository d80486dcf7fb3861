"""KTO through TRL's `KTOTrainer`: single answers with a label, tokens made by `data.py`.

What the library leaves to its user is done here: the rows are mixed once (its sampler must go in
order, because each row's mismatched answer for the KL estimate comes from its own batch), both
classes are weighted, and held-out figures are means over answers, not over batches.
"""

import random
from typing import Any

import torch
from trl import KTOConfig, KTOTrainer  # type: ignore[attr-defined]

from distill_studio.distill.config import KtoRun
from distill_studio.distill.data import Row, encode_sft
from distill_studio.distill.labels import balance
from distill_studio.distill.lora import peft_config
from distill_studio.distill.trainers.pretokenised import PreTokenised
from distill_studio.distill.trainers.setup import (
    Setup,
    encode_splits,
    is_reference_stored,
    shared_arguments,
)

_SIDES = ("chosen", "rejected")


class HeldOutKtoTrainer(PreTokenised, KTOTrainer):
    """KTO on pre-tokenised rows."""

    _sums: dict[str, float]
    _counts: dict[str, int]

    def compute_loss(
        self,
        model: Any,  # noqa: ANN401
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """As the library's; adds up rewards and log-probabilities while evaluating."""
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        found = self._metrics["train" if model.training else "eval"]
        found["kl_to_start"] += found.pop("kl")  # "kl" is the divergence from a teacher here
        if not model.training:
            labels_B = inputs["label"].bool()
            counts = torch.stack([labels_B.sum(), (~labels_B).sum()])
            counts = self.accelerator.reduce(counts, "sum")  # the figures are over all devices
            for side, count in zip(_SIDES, counts.tolist(), strict=True):
                self._counts[side] += count
                for figure in ("rewards", "logps"):
                    if count:
                        name = f"{figure}/{side}"
                        self._sums[name] = self._sums.get(name, 0.0) + found[name][-1] * count
        return loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As the library's, with the exact means."""
        self._sums, self._counts = {}, dict.fromkeys(_SIDES, 0)
        output: Any = super().evaluation_loop(*args, **kwargs)
        if all(self._counts.values()):
            means = {n: total / self._counts[n.split("/")[1]] for n, total in self._sums.items()}
            output.metrics["eval_margin"] = means["rewards/chosen"] - means["rewards/rejected"]
            output.metrics["eval_logp_chosen"] = means["logps/chosen"]
            output.metrics["eval_logp_rejected"] = means["logps/rejected"]
        return output


def build(setup: Setup) -> KTOTrainer:
    """The trainer, its rows encoded, mixed and paired."""
    config = setup.config
    assert isinstance(config, KtoRun)

    def encode(row: Row) -> dict[str, Any] | None:
        encoded = encode_sft(setup.chat, row)
        answer = sum(label >= 0 for label in encoded.labels)
        start = len(encoded.labels) - answer
        is_over = len(encoded.labels) > config.max_length
        if not answer or start >= config.max_length or (is_over and config.over_length == "drop"):
            return None
        return {
            "prompt_ids": encoded.input_ids[:start],
            "completion_ids": encoded.input_ids[start:],
            "label": bool(row["label"]),
        }

    train, validation = encode_splits(setup, encode)
    order = list(range(len(train)))
    random.Random(config.seed).shuffle(order)
    train = _with_mismatched(train.select(order), config.batch_size)
    if validation is not None:
        validation = _with_mismatched(validation, setup.eval_batch)
    accepted = sum(train["label"])
    weights = balance(config, accepted, len(train) - accepted)
    setup.say(weights.text)
    return HeldOutKtoTrainer(
        model=setup.model,
        args=KTOConfig(
            **shared_arguments(setup),
            max_length=config.max_length,
            beta=config.beta,
            desirable_weight=weights.desirable,
            undesirable_weight=weights.undesirable,
            precompute_ref_log_probs=is_reference_stored(config),
        ),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=setup.tokenizer,
        peft_config=peft_config(config.lora, setup.model),
        callbacks=setup.callbacks,
    )


def _with_mismatched(rows: Any, batch_size: int) -> Any:  # noqa: ANN401  (a Dataset)
    """Each row with another row's answer of its batch: what the KL estimate is made from.

    A batch of one row, which the end of the data may leave, takes the answer of the row before.
    """
    answers = rows["completion_ids"]
    mismatched: list[list[int]] = []
    for start in range(0, len(answers), batch_size):
        batch = list(answers[start : start + batch_size])
        mismatched += [batch[-1], *batch[:-1]] if len(batch) > 1 else [answers[start - 1]]
    return rows.add_column("KL_completion_ids", mismatched)
