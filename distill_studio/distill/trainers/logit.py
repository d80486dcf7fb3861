"""Logit distillation: `SFTTrainer` with alpha * CE + beta * T^2 * divergence as its loss.

TRL has no trainer for this on fixed answers (its DistillationTrainer generates anew, has no
cross-entropy and no T^2). The loss is worked out inside the student's forward, from its last
hidden states, so it also holds where a wrapper gathers the weights for the forward alone.
"""

import functools
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from distill_studio.distill.config import LogitRun
from distill_studio.distill.head import Head
from distill_studio.distill.layer_pairs import pairs_text
from distill_studio.distill.lora import peft_config
from distill_studio.distill.losses.cross_entropy import CrossEntropy
from distill_studio.distill.losses.mask import learned_positions, learned_targets, normalise
from distill_studio.distill.losses.tiled import LossSums, Term, tiled_loss
from distill_studio.distill.trainers.features import FeatureMatcher
from distill_studio.distill.trainers.mapped import ROW
from distill_studio.distill.trainers.packed import packed_collator, read_tokens
from distill_studio.distill.trainers.setup import (
    Setup,
    answer_tokens,
    encode_splits,
    shared_arguments,
)
from distill_studio.distill.trainers.teacher_signal import (
    OnlineSignal,
    TeacherSignal,
    make_signal,
)

_PLACES = ("attention_mask", "position_ids")  # of padded rows, of packed ones
LossOfStates = Callable[[Tensor, Head], dict[str, Tensor]]


class LogitTrainer(SFTTrainer):
    """SFT's trainer with the teacher beside the labels; CE and KL are logged apart.

    Held-out figures are means over tokens, not over batches.
    """

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
        self._held: dict[str, float] = {}
        trained: Any = self.model
        student = trained.get_base_model() if hasattr(trained, "peft_config") else trained
        add_loss_to_forward(student)
        self.features: FeatureMatcher | None = None
        if config.features is not None:
            assert isinstance(signal, OnlineSignal)  # pre-flight and pairing refuse a stored one
            self.features = FeatureMatcher(config.features, student, signal.model)
        self._parts = ("ce", "kl") if self.features is None else ("ce", "kl", "features")

    def compute_loss(
        self,
        model: Any,  # noqa: ANN401
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """A sum over tokens, divided by how many the whole update has."""
        where_BT = learned_positions(inputs["labels"])
        read = read_tokens(inputs)
        kl = self._signal.term(inputs, where_BT)
        ce = CrossEntropy(learned_targets(inputs["labels"]), weight=self._config.alpha)
        terms: list[Term] = [ce, kl]

        def loss_of_states(states_BTH: Tensor, head: Head) -> dict[str, Tensor]:
            sums = tiled_loss(states_BTH[where_BT], head, terms)
            return self._with_features(sums, where_BT, is_training=model.training)

        outputs = model(
            input_ids=inputs["input_ids"],
            loss_of_states=loss_of_states,
            **{name: inputs[name] for name in _PLACES if name in inputs},
        )
        tokens = int(where_BT.sum())
        if model.training:
            self._log(outputs, read, tokens, num_items_in_batch)
        else:
            self._hold(outputs, tokens)
        is_over_all = self.args.average_tokens_across_devices and num_items_in_batch is not None
        processes = self.accelerator.num_processes if is_over_all else 1
        loss = normalise(outputs["total"], tokens, num_items_in_batch, processes)
        return (loss, outputs) if return_outputs else loss

    def _with_features(
        self, sums: LossSums, where_BT: Tensor, *, is_training: bool
    ) -> dict[str, Tensor]:
        """Total and parts, with the distance of hidden states where it is asked for.

        It joins the total in training alone: a held-out loss is that of the logits, so that runs
        with and without hidden states can be compared.
        """
        if self.features is None:
            return {"total": sums.total, **sums.parts}
        distance = self.features.distance(where_BT)
        total = sums.total
        if is_training:
            divergence = self._config.beta * sums.parts["kl"]
            total = total + self.features.weighted(distance, divergence, sums.tokens)
        return {"total": total, **sums.parts, "features": distance.detach()}

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ANN401
        """As the library's; the maps of hidden states lie beside, for a resume."""
        super()._save(output_dir, state_dict)
        if self.features is not None:
            self.features.save(Path(output_dir or str(self.args.output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ANN401
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.features is not None:
            self.features.load(Path(resume_from_checkpoint))

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As the library's, with exact means."""
        self._held = dict.fromkeys(("total", *self._parts, "tokens"), 0.0)
        output: Any = super().evaluation_loop(*args, **kwargs)
        tokens = self._held["tokens"]
        if tokens:
            output.metrics.update(eval_loss=self._held["total"] / tokens, eval_tokens=tokens)
            output.metrics.update({f"eval_{n}": self._held[n] / tokens for n in self._parts})
        return output

    def _log(
        self,
        outputs: dict[str, Tensor],
        read: int,
        tokens: int,
        items: Any,  # noqa: ANN401
    ) -> None:
        """Figures per token of the update: the library averages what its passes append."""
        passes = 1 if items is None else self.current_gradient_accumulation_steps
        for name in self._parts:
            part = self.accelerator.reduce(outputs[name].detach(), "sum")
            per_token = normalise(part, tokens * self.accelerator.num_processes, items)
            self._metrics["train"][name].append(float(per_token) * passes)
        read_here = torch.tensor(read, device=outputs["total"].device)
        self._total_train_tokens += int(self.accelerator.reduce(read_here, "sum"))
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]

    def _hold(self, outputs: dict[str, Tensor], tokens: int) -> None:
        for name in ("total", *self._parts):
            self._held[name] += float(self.accelerator.reduce(outputs[name].detach(), "sum"))
        count = self.accelerator.reduce(outputs["total"].new_tensor(float(tokens)), "sum")
        self._held["tokens"] += float(count)


def add_loss_to_forward(model: Any) -> None:  # noqa: ANN401  (a causal LM)
    """`model(..., loss_of_states=f)` gives f's sums instead of logits; all else stays."""
    original = model.forward

    @functools.wraps(type(model).forward)  # `generate` reads the signature
    def forward(
        self: Any,  # noqa: ANN401
        *args: Any,  # noqa: ANN401
        loss_of_states: LossOfStates | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if loss_of_states is None:
            return original(*args, **kwargs)
        kwargs.pop("labels", None)
        states_BTH = self.base_model(*args, **(kwargs | {"use_cache": False})).last_hidden_state
        return loss_of_states(states_BTH, Head.of(self))

    model.forward = types.MethodType(forward, model)


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

    encode = functools.partial(answer_tokens, setup, config)
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
    trainer = LogitTrainer(
        model=setup.model,
        args=SFTConfig(
            **shared_arguments(setup),
            max_length=None,
            packing=False,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=setup.tokenizer,
        peft_config=peft_config(config.lora, setup.model),
        callbacks=setup.callbacks,
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
