"""Seams between stages and the models they use. Stages take these; services plug in real ones."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from distill_studio.core.characters import WholeText
from distill_studio.core.progress import CancelToken
from distill_studio.core.records.base import Record
from distill_studio.core.records.seed import Message

FloatMatrix = npt.NDArray[np.float32]


class SamplingParams(Record):
    """How to sample. Defaults suit a small instruct model."""

    temperature: float = Field(default=0.7, ge=0.0, le=5.0, description="0 = greedy.")
    top_p: float = Field(default=0.95, gt=0.0, le=1.0, description="Nucleus mass.")
    max_tokens: int = Field(default=256, ge=1, le=131072, description="Longest answer.")
    stop: tuple[str, ...] = Field(default=(), description="Strings that end the answer.")
    seed: int | None = Field(default=None, description="For repeatable sampling where possible.")
    top_logprobs: int = Field(
        default=0, ge=0, le=20, description="Log-probabilities kept per written token; 0 = none."
    )


class TokenLogprobs(Record):
    """One written token and the likeliest ones in its place."""

    token: WholeText = Field(description="As text; a broken character where it is part of one.")
    token_id: int | None = Field(default=None, description="In the teacher's vocabulary.")
    logprob: float = Field(description="Natural logarithm.")
    top: tuple[tuple[WholeText, int | None, float], ...] = Field(
        default=(), description="(token, id, logprob), likeliest first."
    )


class ChatRequest(Record):
    """One request to a teacher. `key` comes back in its reply.

    Either `messages`, or `raw`: text that the model continues as it stands, special tokens and
    all, without its chat template.
    """

    key: str = Field(description="Chosen by the caller, unique in one call of generate.")
    messages: tuple[Message, ...] = Field(default=(), description="The conversation so far.")
    raw: str = Field(default="", description="Text to continue instead of a conversation.")
    response_schema: dict[str, Any] | None = Field(
        default=None, description="JSON schema of the answer, enforced where the server can."
    )
    sampling: SamplingParams = Field(default=SamplingParams(), description="How to sample.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.messages) == bool(self.raw):
            raise ValueError("A request needs messages or raw text, not both.")
        return self


class ChatReply(Record):
    """One reply, or the failure that took its place (`error_code` set, text empty).

    Its texts are made whole: halves of characters that a server wrote are not in them.
    """

    key: str = Field(description="Of the request.")
    text: WholeText = Field(default="", description="The answer.")
    reasoning: WholeText = Field(
        default="", description="Chain of thought where the server splits it."
    )
    model: WholeText = Field(default="", description="Model that answered.")
    finish_reason: WholeText = Field(default="", description="stop, length, ...")
    prompt_tokens: int | None = Field(default=None, description="Tokens read.")
    completion_tokens: int | None = Field(default=None, description="Tokens written.")
    latency_ms: float | None = Field(default=None, description="From request to reply.")
    logprobs: tuple[TokenLogprobs, ...] = Field(
        default=(), description="Of the written tokens, where asked for and possible."
    )
    error_code: str = Field(default="", description="`code` of the TeacherError; '' when well.")
    error: WholeText = Field(default="", description="The failure in the user's words.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Adapter's own facts.")

    @property
    def is_ok(self) -> bool:
        """True when there is an answer."""
        return not self.error_code


@runtime_checkable
class ChatModel(Protocol):
    """Teacher and student alike."""

    name: str

    def generate(
        self, requests: Sequence[ChatRequest], cancel: CancelToken | None = None
    ) -> AsyncIterator[ChatReply]:
        """Answer every request exactly once, in any order, failures included as replies."""
        ...

    def stream(self, request: ChatRequest, cancel: CancelToken | None = None) -> AsyncIterator[str]:
        """Yield pieces of one answer as they are written; raise TeacherError on failure."""
        ...


@runtime_checkable
class CountedChatModel(Protocol):
    """A chat model that tells what a streamed answer has used."""

    def stream_counted(
        self,
        request: ChatRequest,
        cancel: CancelToken | None,
        heard: Callable[[ChatReply], None],
    ) -> AsyncIterator[str]:
        """`stream`; `heard` is told once what was written, with the tokens that were counted."""
        ...


class Embedder(Protocol):
    """Text to unit vectors."""

    model: str
    dim: int

    def windows(self, text: str) -> list[str]:
        """Cut a text into pieces the model can read whole; short texts give one."""
        ...

    def embed(self, texts: Sequence[str]) -> FloatMatrix:
        """(N, dim) float32, rows of length one."""
        ...


class Clock(Protocol):
    """Time as an argument, so that tests can hold it still."""

    def __call__(self) -> float:
        """Seconds since the epoch."""
        ...
