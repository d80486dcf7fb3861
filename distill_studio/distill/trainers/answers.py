"""Answers learned token by token: TRL's `SFTTrainer` with our loss of its last hidden states.

The library's own cross-entropy makes logits of every position, prompts included, 4,096 positions
at a time; ours makes those of the learned ones, a tile at a time, and needs no second product for
the gradient: quicker on a CPU (`tests.benchmarks.trainers`), and leaner. The loss is worked out
inside the student's forward, so it also holds where a wrapper gathers the weights for the forward
alone.
"""

import functools
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from distill_studio.distill.head import Head, check_head
from distill_studio.distill.lora import peft_config
from distill_studio.distill.losses.cross_entropy import CrossEntropy
from distill_studio.distill.losses.mask import learned_positions, learned_targets, normalise
from distill_studio.distill.losses.tiled import LossSums, Term, tiled_loss
from distill_studio.distill.trainers.packed import read_tokens
from distill_studio.distill.trainers.setup import Setup, shared_arguments

_PLACES = ("attention_mask", "position_ids")  # of padded rows, of packed ones
_BALANCE = "balance"  # the mean over experts, which is no sum over tokens
LossOfStates = Callable[[Tensor, Head], dict[str, Tensor]]


class AnswerTrainer(SFTTrainer):
    """SFT's trainer; `parts` of the loss are logged apart.

    Held-out figures are means over tokens, not over batches: the library averages the means of
    batches, which weighs the tokens of short rows more.
    """

    parts: tuple[str, ...] = ()
    is_balanced = True  # with the loss that keeps experts evenly used, where there are some

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._held: dict[str, float] = {}
        config = self.student.config.get_text_config()
        if hasattr(config, "output_router_logits"):
            # The library sets it; saved with the model, it would break `generate` with padded rows.
            config.output_router_logits = False
        has_balance = self.is_balanced and self.aux_loss_enabled
        add_loss_to_forward(self.student, has_balance=has_balance)

    @property
    def student(self) -> Any:  # noqa: ANN401
        """The causal LM, without its adapters' wrapper."""
        trained: Any = self.model
        return trained.get_base_model() if hasattr(trained, "peft_config") else trained

    def terms(self, inputs: dict[str, Any], where_BT: Tensor) -> list[Term]:
        """What is summed over the learned positions."""
        return [CrossEntropy(learned_targets(inputs["labels"]))]

    def totals(self, sums: LossSums, where_BT: Tensor, *, is_training: bool) -> dict[str, Tensor]:
        """`total`, which is learned, and `parts`, from the sums over a batch."""
        return {"total": sums.total, **sums.parts}

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
        terms = self.terms(inputs, where_BT)

        def loss_of_states(states_BTH: Tensor, head: Head) -> dict[str, Tensor]:
            sums = tiled_loss(states_BTH[where_BT], head, terms)
            return self.totals(sums, where_BT, is_training=model.training)

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
        if model.training and _BALANCE in outputs:
            passes = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
            loss = loss + self.router_aux_loss_coef * outputs[_BALANCE] / passes
        return (loss, outputs) if return_outputs else loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As the library's, with exact means."""
        self._held = dict.fromkeys(("total", *self.parts, "tokens"), 0.0)
        output: Any = super().evaluation_loop(*args, **kwargs)
        tokens = self._held["tokens"]
        if tokens:
            output.metrics.update(eval_loss=self._held["total"] / tokens, eval_tokens=tokens)
            output.metrics.update({f"eval_{n}": self._held[n] / tokens for n in self.parts})
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
        for name in self.parts:
            part = self.accelerator.reduce(outputs[name].detach(), "sum")
            per_token = normalise(part, tokens * self.accelerator.num_processes, items)
            self._metrics["train"][name].append(float(per_token) * passes)
        read_here = torch.tensor(read, device=outputs["total"].device)
        self._total_train_tokens += int(self.accelerator.reduce(read_here, "sum"))
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]

    def _hold(self, outputs: dict[str, Tensor], tokens: int) -> None:
        for name in ("total", *self.parts):
            self._held[name] += float(self.accelerator.reduce(outputs[name].detach(), "sum"))
        count = self.accelerator.reduce(outputs["total"].new_tensor(float(tokens)), "sum")
        self._held["tokens"] += float(count)


def add_loss_to_forward(model: Any, *, has_balance: bool = False) -> None:  # noqa: ANN401
    """`model(..., loss_of_states=f)` gives f's sums instead of logits; all else stays.

    Args:
        model: A causal LM.
        has_balance: The loss that keeps experts evenly used joins as `balance` if there are some.
    """
    original = model.forward
    extra = {"use_cache": False} | ({"output_router_logits": True} if has_balance else {})

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
        read = self.base_model(*args, **(kwargs | extra))
        sums = loss_of_states(read.last_hidden_state, Head.of(self))
        if has_balance and read.router_logits:
            config = self.config.get_text_config()
            sums[_BALANCE] = _balance(read.router_logits, config, kwargs.get("attention_mask"))
        return sums

    model.forward = types.MethodType(forward, model)


def _balance(router_logits: Any, config: Any, mask_BT: Tensor | None) -> Tensor:  # noqa: ANN401
    """How unevenly experts are used (Switch Transformer, arXiv:2101.03961, equations 4 to 6)."""
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    experts = getattr(config, "num_experts", None) or config.num_local_experts
    return torch.as_tensor(
        load_balancing_loss_func(router_logits, experts, config.num_experts_per_tok, mask_BT)
    )


def trainer_fields(setup: Setup) -> dict[str, Any]:
    """What every `AnswerTrainer` is made with, but its rows and collator.

    Raises:
        InvalidInput: The student's output layer is not what losses take it for.
    """
    check_head("student", setup.model)
    return {
        "model": setup.model,
        "args": SFTConfig(
            **shared_arguments(setup),
            max_length=None,
            packing=False,  # ours, see packed.py: the library's changes which rows an update has
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},  # they are tokens already
        ),
        "processing_class": setup.tokenizer,
        "peft_config": peft_config(setup.config.lora, setup.model),
        "callbacks": setup.callbacks,
    }
