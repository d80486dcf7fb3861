"""Turns what a trainer does into events, and a stop request into a checkpoint and an end."""

import threading
import time
from typing import Any

import torch
from transformers import TrainerCallback

from distill_studio.core.errors import Cancelled, StudioError
from distill_studio.distill.device import memory_gib
from distill_studio.distill.events import Checkpoint, Eval, EventWriter, Sample, Step


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
    """

    def __init__(
        self,
        writer: EventWriter,
        stop: threading.Event,
        device: str,
        prompts: list[tuple[str, list[int]]],
        sample_tokens: int,
        tokenizer: Any,  # noqa: ANN401
    ) -> None:
        self._writer = writer
        self._stop = stop
        self._device = device
        self._prompts = prompts
        self._sample_tokens = sample_tokens
        self._tokenizer = tokenizer
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
        if self._stop.is_set():
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
            lr=float(logs.get("learning_rate", 0.0)),
            grad_norm=float(logs.get("grad_norm") or 0.0),
            tokens_per_s=(tokens - self._tokens) / seconds,
            seconds=self._step_seconds,
            memory_gib=memory_gib(self._device),
        )
        self._tokens = tokens
        if loss != loss or abs(loss) == float("inf"):
            raise Diverged(
                f"The loss is no longer a number at update {state.global_step}.",
                "Lower the learning rate, or compute in fp32.",
            )
        self.losses.append(loss)
        self._writer.write(step)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Stop during the first held-out loss: there is nothing to save yet."""
        if self._stop.is_set() and state.global_step == 0:
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
        logp = None
        if "eval_logp_chosen" in metrics:
            logp = metrics["eval_logp_chosen"] - metrics["eval_logp_rejected"]
        event = Eval(
            step=state.global_step,
            loss=metrics["eval_loss"],
            tokens=int(metrics.get("eval_tokens", 0)),
            margin=metrics.get("eval_margin"),
            accuracy=metrics.get("eval_accuracy"),
            logp_margin=logp,
            seconds=metrics.get("eval_runtime", 0.0),
        )
        self.evals.append(event)
        self._writer.write(event)
        if model is not None:
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
