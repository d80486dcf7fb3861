"""A chat model that says what it was told to say: for tests."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from distill_studio.core.errors import TeacherError
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatReply, ChatRequest


class ScriptedChatModel:
    """Implements `ChatModel` from a table or a function.

    Args:
        name: Shown as the model.
        replies: Last user message (or raw text) -> answer, or a function of the request. It may
            raise a TeacherError, which becomes a failure reply (and is raised by `stream`).
        delay_s: Wait before each answer.
    """

    def __init__(
        self,
        name: str,
        replies: Mapping[str, str] | Callable[[ChatRequest], str],
        delay_s: float = 0.0,
    ) -> None:
        self.name = name
        self.replies = replies
        self.delay_s = delay_s
        self.requests: list[ChatRequest] = []
        self._failures: list[TeacherError] = []
        self._guard = threading.Lock()

    @property
    def calls(self) -> int:
        """How many requests were asked so far."""
        return len(self.requests)

    def fail_next(self, error: TeacherError, times: int = 1) -> None:
        """Let the next `times` requests fail with this error."""
        with self._guard:
            self._failures.extend([error] * times)

    async def generate(
        self, requests: Sequence[ChatRequest], cancel: CancelToken | None = None
    ) -> AsyncIterator[ChatReply]:
        """Answer every request in turn; stops early when cancelled."""
        for request in requests:
            await asyncio.sleep(self.delay_s)
            if cancel is not None and cancel.is_cancelled:
                return
            try:
                text = self._answer(request)
            except TeacherError as err:
                yield ChatReply(
                    key=request.key, model=self.name, error_code=err.code, error=str(err)
                )
                continue
            yield ChatReply(
                key=request.key,
                text=text,
                model=self.name,
                finish_reason="stop",
                prompt_tokens=sum(
                    len(text.split())
                    for text in (request.raw, *(m.content for m in request.messages))
                ),
                completion_tokens=len(text.split()),
                latency_ms=self.delay_s * 1000,
            )

    async def stream(
        self, request: ChatRequest, cancel: CancelToken | None = None
    ) -> AsyncIterator[str]:
        """Yield the answer word by word."""
        text = self._answer(request)
        for piece in text.replace(" ", " \0").split("\0"):
            await asyncio.sleep(self.delay_s)
            if cancel is not None and cancel.is_cancelled:
                return
            yield piece

    def _answer(self, request: ChatRequest) -> str:
        with self._guard:
            self.requests.append(request)
            if self._failures:
                raise self._failures.pop(0)
        if callable(self.replies):
            return self.replies(request)
        prompt = request.raw or request.messages[-1].content
        if prompt not in self.replies:
            raise TeacherError(f"The script has no answer to {prompt[:60]!r}.")
        return self.replies[prompt]
