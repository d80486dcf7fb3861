"""One answer on its way through the engine. Pure: no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from distill_studio.teachers.answer_text import AnswerText

if TYPE_CHECKING:
    from distill_studio.teachers.sampling import RowSampler, TokenChoice

DROPPED = "dropped"  # finish reason of an answer that nobody wants any more
FAILED = "error"


@dataclass(eq=False)
class Answer:
    """One sequence, from its prompt to its end. Written by the engine's thread only.

    Attributes:
        on_piece: Called with each certain piece of text.
        on_end: Called once, last.
        top_logprobs: How many of the likeliest tokens are kept in `choices`, per written token.
        is_unwanted: Asked before each step; True drops the sequence.
        finish_reason: stop, length, or `DROPPED`, `FAILED`.
        error: The failure, when there is one.
    """

    prompt_ids: list[int]
    max_tokens: int
    sampler: RowSampler
    text: AnswerText
    on_piece: Callable[[str], None]
    on_end: Callable[[Answer], None]
    is_unwanted: Callable[[], bool]
    is_urgent: bool = False
    top_logprobs: int = 0
    choices: list[TokenChoice] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    tokens: int = 0
    finish_reason: str = ""
    error: str = ""
    submitted_at: float = field(default_factory=time.perf_counter)
    latency_s: float = 0.0

    def add(self, piece: str) -> None:
        """Keep and report a piece."""
        if piece:
            self.pieces.append(piece)
            self.on_piece(piece)

    def end(self, reason: str, error: str = "") -> None:
        """Report the end, once."""
        if self.finish_reason:
            return
        if not error:
            self.add(self.text.finish())
        self.finish_reason, self.error = reason, error
        self.latency_s = time.perf_counter() - self.submitted_at
        self.on_end(self)


class AnswerEngine(Protocol):
    """Who writes answers: `engine.Engine`, or `zero_gpu.ZeroGpuEngine`."""

    @property
    def is_busy(self) -> bool:
        """True while any answer waits or is written."""
        ...

    def submit(self, answers: Sequence[Answer]) -> None:
        """Queue answers; their callbacks are called from another thread."""
        ...

    def close(self) -> None:
        """Drop all answers."""
        ...
