"""Answers on a Hugging Face ZeroGPU Space, where a GPU is lent for one function call at a time.

There the package `spaces` runs a decorated function in a forked process that holds the GPU for at
most `duration` seconds; arguments and results are pickled, and the process is reused while it
idles. So the engine, which keeps its batch between calls, cannot run as elsewhere: a group of
answers is written in one call, by a model that the GPU's process reads for itself and keeps.
The function must be decorated when the app starts, before torch wakes CUDA: `teachers.models`
imports this module. Without `spaces`, or off ZeroGPU, nothing is decorated and `is_here` is False.
Start at `ZeroGpuEngine`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from distill_studio.teachers.answer import DROPPED, FAILED, Answer
from distill_studio.teachers.answer_text import AnswerText

try:
    import spaces
except ImportError:
    spaces = None

if TYPE_CHECKING:
    from distill_studio.teachers.sampling import TokenChoice

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ROWS = 32
_LONGEST_S = 120
_START_S, _TOKEN_S = 20, 0.05  # reading the model; one step of the batch, with room to spare


@dataclass(frozen=True)
class Order:
    """What an answer needs, as plain data."""

    prompt_ids: list[int]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stops: tuple[str, ...]
    top_logprobs: int


@dataclass(frozen=True)
class Written:
    """What came of an order, as plain data."""

    pieces: list[str]
    tokens: int
    finish_reason: str
    error: str
    choices: list[TokenChoice]


def is_here() -> bool:
    """True on a ZeroGPU Space."""
    return spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in (
        "1",
        "t",
        "true",
    )


def duration_s(folder: str, cache_folder: str, dtype: str, orders: Sequence[Order]) -> int:
    """How long the GPU is asked for: what is left of it is given back."""
    longest = max(order.max_tokens for order in orders)
    return min(_LONGEST_S, round(_START_S + longest * _TOKEN_S))


def on_gpu(function: _Function) -> _Function:
    """The function, lent a GPU for its calls where there is ZeroGPU; else the function itself."""
    if not is_here():
        return function
    decorated: _Function = spaces.GPU(function, duration=duration_s)
    return decorated


def report_start() -> None:
    """Tell ZeroGPU that the app is up and what it lends a GPU to; else the Space is stopped.

    `spaces` does it by itself when `gr.Blocks.launch` is called, which this app, mounted in its own
    server, never calls.
    """
    if is_here():
        spaces.zero.startup()


@on_gpu
def write_all(folder: str, cache_folder: str, dtype: str, orders: Sequence[Order]) -> list[Written]:
    """Write the answers to all orders. Runs in the process that holds the GPU."""
    from distill_studio.teachers.sampling import RowSampler

    loaded = _loaded(folder, cache_folder, dtype)
    ended = threading.Semaphore(0)
    answers = [
        Answer(
            prompt_ids=order.prompt_ids,
            max_tokens=order.max_tokens,
            sampler=RowSampler.seeded(order.temperature, order.top_p, order.seed),
            text=AnswerText(loaded.chat.decode, order.stops),
            on_piece=lambda piece: None,
            on_end=lambda answer: ended.release(),
            is_unwanted=lambda: False,
            top_logprobs=order.top_logprobs,
        )
        for order in orders
    ]
    loaded.engine.submit(answers)
    for _ in answers:
        ended.acquire()
    return [Written(a.pieces, a.tokens, a.finish_reason, a.error, a.choices) for a in answers]


@lru_cache(maxsize=1)
def _loaded(folder: str, cache_folder: str, dtype: str) -> Any:  # noqa: ANN401  (weights.Loaded)
    from distill_studio.teachers.probe import choose_device
    from distill_studio.teachers.weights import load_here

    return load_here(Path(folder), Path(cache_folder), choose_device(), dtype)


class ZeroGpuEngine:
    """Takes answers as `Engine` does, and has them written in groups, one call each.

    A cancel is noticed between two groups, and a stream gets its answer in one piece.
    """

    def __init__(self, folder: Path, cache_folder: Path, dtype: str) -> None:
        self._model = (str(folder), str(cache_folder), dtype)
        self._waiting: list[Answer] = []
        self._running = 0
        self._guard = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="zero-gpu")

    @property
    def is_busy(self) -> bool:
        """True while any answer waits or is written."""
        return bool(self._waiting or self._running)

    def submit(self, answers: Sequence[Answer]) -> None:
        """Queue answers; their callbacks are called from a thread of this engine."""
        with self._guard:
            self._waiting.extend(answers)
            self._waiting.sort(key=lambda a: not a.is_urgent)
        for _ in range(0, len(answers), _ROWS):
            self._pool.submit(self._write_group)

    def close(self) -> None:
        """Drop what waits."""
        with self._guard:
            lost, self._waiting = self._waiting, []
        for answer in lost:
            answer.end(FAILED, "The model was unloaded.")
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _write_group(self) -> None:
        with self._guard:
            taken, self._waiting = self._waiting[:_ROWS], self._waiting[_ROWS:]
            self._running = len(taken)
        unwanted = [answer for answer in taken if answer.is_unwanted()]
        group = [answer for answer in taken if answer not in unwanted]
        for answer in unwanted:
            answer.end(DROPPED)
        if group:
            self._call(group)
        self._running = 0

    def _call(self, group: list[Answer]) -> None:
        with ThreadPoolExecutor(1) as caller:  # whatever `spaces` raises becomes a failed answer
            call = caller.submit(write_all, *self._model, [_order(answer) for answer in group])
            error = call.exception()
        if error is not None:
            for answer in group:
                answer.end(FAILED, f"The GPU did not answer: {error}"[:500])
            return
        for answer, written in zip(group, call.result(), strict=True):
            answer.tokens, answer.choices = written.tokens, written.choices
            for piece in written.pieces:
                answer.add(piece)
            answer.end(written.finish_reason, written.error)


def _order(answer: Answer) -> Order:
    sampler = answer.sampler
    return Order(
        prompt_ids=answer.prompt_ids,
        max_tokens=answer.max_tokens,
        temperature=sampler.temperature,
        top_p=sampler.top_p,
        seed=sampler.random.initial_seed(),
        stops=answer.text.stops,
        top_logprobs=answer.top_logprobs,
    )
