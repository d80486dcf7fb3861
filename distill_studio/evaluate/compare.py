"""Ask several models the same thing at once; one merged stream of what they write.

Start from `fan_out`. Each model is pumped by a task of its own, so a slow, stalled or failing
one never holds up another. Models are given as functions that return them: what takes time
(loading weights) happens in a thread, per model, and is not counted into its answer's time.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from distill_studio.core.errors import StudioError
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import (
    ChatModel,
    ChatReply,
    ChatRequest,
    Clock,
    CountedChatModel,
    SamplingParams,
)
from distill_studio.core.records.comparison import AnswerStats
from distill_studio.core.records.seed import Message

ModelSource = Callable[[], ChatModel]
LOOK_EVERY_S = 0.06  # also how soon a stop or a crash is noticed
_LEAVE_WITHIN_S = 0.5  # how long a stopped model may take to leave before it is left alone


@dataclass(frozen=True)
class Started:
    """The model is ready and has been asked."""

    index: int


@dataclass(frozen=True)
class Piece:
    """More text of one answer."""

    index: int
    text: str


@dataclass(frozen=True)
class Done:
    """One answer is complete."""

    index: int
    stats: AnswerStats


@dataclass(frozen=True)
class Stopped:
    """One answer was cut short on request."""

    index: int
    stats: AnswerStats


@dataclass(frozen=True)
class Failed:
    """One model could not answer, or broke off."""

    index: int
    stats: AnswerStats
    code: str
    message: str


Event = Started | Piece | Done | Stopped | Failed


async def fan_out(
    sources: Sequence[ModelSource],
    messages: Sequence[Message],
    sampling: SamplingParams,
    clock: Clock,
    cancel: CancelToken,
) -> AsyncGenerator[list[Event], None]:
    """What happened since the last look, at most every `LOOK_EVERY_S`; ends with the last answer.

    Args:
        sources: Functions that return the models; run in threads.
        messages: The conversation; the same for all.
        sampling: The same for all.
        clock: Seconds, monotonic.
        cancel: Once set, the answers still open end as `Stopped`, within about 0.1 s.
    """
    inbox: deque[Event] = deque()
    leave = CancelToken()  # told to the models; also set when nobody listens any more
    pumps = [_Pump(index, source, inbox, clock) for index, source in enumerate(sources)]
    request = ChatRequest(key="compare", messages=tuple(messages), sampling=sampling)
    tasks = [asyncio.create_task(pump.run(request, leave)) for pump in pumps]
    still_open = list(range(len(pumps)))
    try:
        while still_open:
            await asyncio.wait([tasks[index] for index in still_open], timeout=LOOK_EVERY_S)
            ended = [index for index in still_open if tasks[index].done()]
            still_open = [index for index in still_open if index not in ended]
            batch: list[Event] = list(inbox)
            inbox.clear()
            batch += [_end_of(pumps[i], tasks[i], await pumps[i].figures()) for i in ended]
            if cancel.is_cancelled:
                batch += [*inbox, *(Stopped(index, pumps[index].stats()) for index in still_open)]
                still_open = []
            if batch:
                yield batch
    finally:
        leave.cancel()
        await _dismiss(tasks)


def _end_of(pump: "_Pump", task: "asyncio.Task[None]", stats: AnswerStats) -> Event:
    error = task.exception()
    if error is None:
        return Done(pump.index, stats)
    if isinstance(error, StudioError):
        return Failed(pump.index, stats, error.code, str(error))
    message = f"The model broke off: {type(error).__name__}: {error}"
    return Failed(pump.index, stats, "unexpected", message)


async def _dismiss(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=_LEAVE_WITHIN_S)
    for task in done:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it again


@dataclass
class _Pump:
    """Moves one model's text into the shared inbox and keeps the times."""

    index: int
    source: ModelSource
    inbox: deque[Event]
    clock: Clock
    load_s: float | None = None
    asked_at: float | None = None
    first_at: float | None = None
    last_at: float | None = None
    texts: list[str] = field(default_factory=list)
    model: ChatModel | None = None
    usage: tuple[int, int] | None = None  # tokens read and written, as the server counted

    async def run(self, request: ChatRequest, leave: CancelToken) -> None:
        began = self.clock()
        self.model = await asyncio.to_thread(self.source)
        self.asked_at = self.clock()
        self.load_s = self.asked_at - began
        self.inbox.append(Started(self.index))
        async for text in self._stream(self.model, request, leave):
            if text:
                self.last_at = self.clock()
                self.first_at = self.last_at if self.first_at is None else self.first_at
                self.texts.append(text)
                self.inbox.append(Piece(self.index, text))
        self.last_at = self.clock()

    def _stream(
        self, model: ChatModel, request: ChatRequest, leave: CancelToken
    ) -> AsyncIterator[str]:
        if isinstance(model, CountedChatModel):
            return model.stream_counted(request, leave, self._heard)
        return model.stream(request, leave)

    def _heard(self, reply: ChatReply) -> None:
        if reply.prompt_tokens is not None and reply.completion_tokens is not None:
            self.usage = reply.prompt_tokens, reply.completion_tokens

    async def figures(self) -> AnswerStats:
        """`stats` in a thread: counting may load a tokenizer."""
        return await asyncio.to_thread(self.stats)

    def stats(self) -> AnswerStats:
        """Figures of what has been written so far."""
        text = "".join(self.texts)
        count = getattr(self.model, "count_tokens", None)
        tokens = int(count(text)) if count is not None and text else len(self.texts)
        first_s, total_s = self._since_asked(self.first_at), self._since_asked(self.last_at)
        speed = None
        if first_s is not None and total_s is not None and tokens > 1 and total_s > first_s:
            speed = (tokens - 1) / (total_s - first_s)
        return AnswerStats(
            load_s=self.load_s,
            first_token_s=first_s,
            total_s=total_s,
            tokens=tokens,
            is_exact=count is not None,
            tokens_per_s=speed,
            characters=len(text),
            prompt_tokens=self.usage[0] if self.usage else None,
            billed_tokens=self.usage[1] if self.usage else None,
        )

    def _since_asked(self, moment: float | None) -> float | None:
        return None if moment is None or self.asked_at is None else moment - self.asked_at
