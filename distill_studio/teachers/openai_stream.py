"""One streamed answer: what it says, and what it has used when it ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.characters import WholePieces
from distill_studio.core.errors import TeacherError
from distill_studio.core.protocols import ChatReply

Heard = Callable[[ChatReply], None]


def nobody(reply: ChatReply) -> None:
    """Nobody wants to hear of it."""


@dataclass
class Streamed:
    """An answer while it is written.

    Args:
        key: Of the request.
        model: As the server names it.
        is_open: The server has begun to answer, so that it counts.
        error: Why it broke off.
    """

    key: str
    model: str
    is_open: bool = False
    error: TeacherError | None = None
    _pieces: list[str] = field(default_factory=list)
    _thought: list[str] = field(default_factory=list)
    _usage: Any = None
    _whole: WholePieces = field(default_factory=WholePieces)

    def take(self, chunk: Any) -> str:  # noqa: ANN401  (a chat or completion chunk)
        """Note a chunk; returns the text that it adds to the answer, in whole characters."""
        self._usage = getattr(chunk, "usage", None) or self._usage
        choices = chunk.choices or []
        if not choices:
            return ""
        delta = getattr(choices[0], "delta", None)
        apart = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        if isinstance(apart, str):
            self._thought.append(apart)
        piece = (delta.content if delta else getattr(choices[0], "text", "")) or ""
        self._pieces.append(piece)
        return self._whole.push(piece)

    def rest(self) -> str:
        """What is left to add at the end, where the answer was cut inside a character."""
        return self._whole.rest()

    def reply(self) -> ChatReply:
        """What there is of it; tokens only as far as the server has counted them."""
        failure = {"error_code": self.error.code, "error": str(self.error)} if self.error else {}
        return ChatReply(
            key=self.key,
            model=self.model,
            text="".join(self._pieces),
            reasoning="".join(self._thought),
            prompt_tokens=_count(getattr(self._usage, "prompt_tokens", None)),
            completion_tokens=_count(getattr(self._usage, "completion_tokens", None)),
            **failure,
        )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
