"""Turns what a trainer does into events, and a stop request into a checkpoint and an end."""

import math
import threading
import time
from typing import Any

import torch
from transformers import TrainerCallback

from distill_studio.core.errors import Cancelled, StudioError
from distill_studio.distill.device import memory_gib
from distill_studio.distill.events import Checkpoint, Eval, EventWriter, Sample, Step
from distill_studio.distill.failures import ANOTHER_RATE, NO_NUMBER
from distill_studio.distill.ranks import Ranks


class Diverged(StudioError, ArithmeticError):
    """The loss is no longer a number."""

    code = "diverged"


class EventCallback(TrainerCallback):
    """Writes steps, held-out figures, samples and checkpoints.

    Args:
        writer: Where events go.
        stop: Set when somebody asked to stop.
        device: For the memory figure.
        prompts: (last user turn, ids) to answer at each evaluation.
        sample_tokens: Longest such answer.
        tokenizer: Of transformers.
        ranks: This process among others; a stop that one hears stops all.
    """

    def __init__(
        self,
        writer: EventWriter,
        stop: threading.Event,
        device: str,
        prompts: list[tuple[str, list[int]]],
        sample_tokens: int,
        tokenizer: Any,  # noqa: ANN401
        ranks: Ranks | None = None,
    ) -> None:
        self._writer = writer
        self._stop = stop
        self._device = device
        self._prompts = prompts
        self._sample_tokens = sample_tokens
        self._tokenizer = tokenizer
        self._ranks = ranks or Ranks()
        self._step_began = 0.0
        self._step_seconds = 0.0
        self._eval_began = 0.0
        self._tokens = 0.0
        self.losses: list[float] = []
        self.evals: list[Eval] = []
        self.seconds = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Start the clock of an update."""
        self._step_began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Stop the clock; on a stop request save and end."""
        self._step_seconds = time.perf_counter() - self._step_began
        self.seconds += self._step_seconds
        if self._ranks.is_any(self._stop.is_set(), self._device):
            self._stop.set()
            control.should_evaluate = False
            control.should_save = True
            control.should_training_stop = True
        self._eval_began = time.perf_counter()

    def on_log(
        self,
        args: Any,  # noqa: ANN401
        state: Any,  # noqa: ANN401
        control: Any,  # noqa: ANN401
        logs: dict[str, Any] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> None:
        """One update as an event."""
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        tokens = float(logs.get("num_tokens", 0.0))
        seconds = max(self._step_seconds, 1e-9)
        step = Step(
            step=state.global_step,
            total=state.max_steps,
            loss=loss,
            ce=logs.get("ce"),
            kl=logs.get("kl"),
            features=logs.get("features"),
            answer_tokens=logs.get("completions/mean_length"),
            lr=float(logs.get("learning_rate", 0.0)),
            grad_norm=float(logs.get("grad_norm") or 0.0),
            tokens_per_s=(tokens - self._tokens) / seconds,
            seconds=self._step_seconds,
            memory_gib=memory_gib(self._device),
        )
        self._tokens = tokens
        _require_number(loss, "loss", state.global_step)
        # The update was made with it, so the weights are no numbers: before anything is saved.
        _require_number(step.grad_norm, "gradient", state.global_step)
        self.losses.append(loss)
        self._writer.write(step)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Stop during the first held-out loss: there is nothing to save yet."""
        if state.global_step == 0 and self._ranks.is_any(self._stop.is_set(), self._device):
            raise Cancelled("Stopped before the first update.")

    def on_evaluate(
        self,
        args: Any,  # noqa: ANN401
        state: Any,  # noqa: ANN401
        control: Any,  # noqa: ANN401
        metrics: dict[str, float] | None = None,
        model: Any = None,  # noqa: ANN401
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Held-out figures and sample answers as events."""
        if not metrics or "eval_loss" not in metrics:
            return
        _require_number(metrics["eval_loss"], "held-out loss", state.global_step)
        logp = None
        if "eval_logp_chosen" in metrics:
            logp = metrics["eval_logp_chosen"] - metrics["eval_logp_rejected"]
        event = Eval(
            step=state.global_step,
            loss=metrics["eval_loss"],
            tokens=int(metrics.get("eval_tokens", 0)),
            ce=metrics.get("eval_ce"),
            kl=metrics.get("eval_kl"),
            features=metrics.get("eval_features"),
            margin=metrics.get("eval_margin"),
            accuracy=metrics.get("eval_accuracy"),
            logp_margin=logp,
            seconds=metrics.get("eval_runtime", 0.0),
        )
        self.evals.append(event)
        self._writer.write(event)
        if model is not None and self._ranks.is_first:
            self._answer(model, state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """A checkpoint as an event."""
        self._writer.write(Checkpoint(step=state.global_step))

    def _answer(self, model: Any, step: int) -> None:  # noqa: ANN401
        was_training = model.training
        model.eval()
        for prompt, ids in self._prompts:
            if self._stop.is_set():
                break
            ids_BT = torch.tensor([ids], device=model.device)
            with torch.no_grad():
                out_BT = model.generate(
                    input_ids=ids_BT,
                    attention_mask=torch.ones_like(ids_BT),
                    max_new_tokens=self._sample_tokens,
                    do_sample=False,
                    pad_token_id=self._tokenizer.pad_token_id,
                )
            answer = self._tokenizer.decode(out_BT[0, len(ids) :], skip_special_tokens=True)
            self._writer.write(Sample(step=step, prompt=prompt, answer=answer))
        model.train(was_training)


def _require_number(value: float, what: str, update: int) -> None:
    if not math.isfinite(value):
        raise Diverged(
            f"The {what} {NO_NUMBER} at update {update}.",
            ANOTHER_RATE,
        )
