"""On-policy distillation: TRL's `DistillationTrainer` generates, our loss compares.

The library's own loss wants equal `vocab_size` of both models, ties the temperature of sampling to
that of the loss, knows one teacher, and averages held-out figures over batches. Its generation,
buffering over accumulated passes and sampler are used as they are.
"""

from typing import Any

import torch
from torch import Tensor
from trl import DistillationConfig, DistillationTrainer  # type: ignore[attr-defined]

from distill_studio.distill.config import OnPolicyRun
from distill_studio.distill.data import MASKED, Row, encode_prompt
from distill_studio.distill.head import Head
from distill_studio.distill.lora import peft_config
from distill_studio.distill.losses.entropy import Entropy
from distill_studio.distill.losses.mask import learned_positions
from distill_studio.distill.losses.tiled import Term, tiled_loss
from distill_studio.distill.pairing import check_pairing
from distill_studio.distill.trainers.setup import Setup, encode_splits, shared_arguments
from distill_studio.distill.trainers.teacher_signal import OnlineSignal, TeacherSignal, load_teacher


class OnPolicyTrainer(DistillationTrainer):
    """The library's trainer with prompts as token ids, and a teacher signal for its loss."""

    def __init__(self, *, signal: TeacherSignal, seed: int, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)  # without its teacher: the signal is ours
        self._signal = signal
        self._held_out_seed = seed
        self._held = {"kl": 0.0, "tokens": 0.0}

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[Any], None, dict[str, Any]]:
        return prompts, None, {}  # as `data.py` tokenises them for every other method

    def _compute_loss(
        self,
        unwrapped_student: Any,  # noqa: ANN401
        inputs: dict[str, Any],
        num_items_in_batch: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, sum of entropies, token count); runs inside the student's forward."""
        batch = whole_rows(inputs, self._tokenizer.pad_token_id)
        where_BT = learned_positions(batch["labels"])
        divergence = self._signal.term(batch, where_BT)
        student = unwrapped_student
        if hasattr(student, "peft_config"):
            student = student.get_base_model()
        states_BTH = student.base_model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).last_hidden_state
        terms: list[Term] = [divergence, Entropy()]
        sums = tiled_loss(states_BTH[where_BT], Head.of(student), terms)
        tokens = where_BT.sum()
        if unwrapped_student.training:
            per_token = float(sums.parts["kl"]) / max(int(tokens), 1)
            self._metrics["train"]["kl"].append(per_token)
        else:
            self._held["kl"] += float(self.accelerator.reduce(sums.parts["kl"], "sum"))
            self._held["tokens"] += float(self.accelerator.reduce(tokens, "sum"))
        items = tokens.clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return sums.total / items, sums.parts["entropy"], tokens

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As the library's, with exact means over tokens; the same dice are thrown each time."""
        self._held = {"kl": 0.0, "tokens": 0.0}
        with torch.random.fork_rng():
            torch.manual_seed(self._held_out_seed)
            output: Any = super().evaluation_loop(*args, **kwargs)
        tokens = self._held["tokens"]
        if tokens:
            kl = self._held["kl"] / tokens
            output.metrics.update(eval_loss=kl, eval_kl=kl, eval_tokens=tokens)
        return output


def whole_rows(inputs: dict[str, Any], pad_id: int) -> dict[str, Tensor]:
    """Prompts (padded before) and answers (padded behind) as rows that begin at position 0.

    Labels are the answers' tokens, -100 elsewhere.
    """
    rows, labels = [], []
    parts = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    for prompt, prompt_mask, answer, answer_mask in zip(*(inputs[p] for p in parts), strict=True):
        prompt, answer = prompt[prompt_mask.bool()], answer[answer_mask.bool()]
        rows.append(torch.cat([prompt, answer]))
        labels.append(torch.cat([torch.full_like(prompt, MASKED), answer]))
    masks = [torch.ones_like(row) for row in rows]
    padded = {"input_ids": (rows, pad_id), "labels": (labels, MASKED), "attention_mask": (masks, 0)}
    return {
        name: torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=value)
        for name, (found, value) in padded.items()
    }


def build(setup: Setup) -> OnPolicyTrainer:
    """The trainer, its prompts encoded, the teacher loaded.

    Raises:
        InvalidInput: The teacher cannot teach this student, in the user's words.
    """
    config = setup.config
    assert isinstance(config, OnPolicyRun)

    def encode(row: Row) -> dict[str, Any] | None:
        ids = encode_prompt(setup.chat, row)
        is_over = len(ids) + config.answer_tokens > config.max_length
        return {"prompt": ids} if ids and not is_over else None

    train, validation = encode_splits(setup, encode)
    pairing = check_pairing(config)
    signal = OnlineSignal(config, load_teacher(setup, pairing), pairing.width)
    return OnPolicyTrainer(
        model=setup.model,
        args=DistillationConfig(
            **shared_arguments(setup),
            temperature=config.sampling_temperature,
            max_completion_length=config.answer_tokens,
        ),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=setup.tokenizer,
        peft_config=peft_config(config.lora, setup.model),
        callbacks=setup.callbacks,
        signal=signal,
        seed=config.seed,
    )
