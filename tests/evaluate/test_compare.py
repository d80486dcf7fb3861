"""The fan-out: nobody waits for anybody, failures stay where they happen, a stop is quick."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from distill_studio.core.errors import NotFound, TeacherRateLimited
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records.seed import Message
from distill_studio.evaluate.compare import (
    Done,
    Event,
    Failed,
    Piece,
    Started,
    Stopped,
    fan_out,
)

MESSAGES = [Message(role="user", content="Why is the sky blue?")]


class Writer:
    """A chat model that writes pieces with a pause before each, then does `end`."""

    def __init__(
        self, pieces: Sequence[str], pause_s: float = 0.0, end: BaseException | None = None
    ):
        self.name, self.pieces, self.pause_s, self.end = "writer", pieces, pause_s, end
        self.requests: list[ChatRequest] = []
        self.was_told_to_stop = False
        self.left = asyncio.Event()

    async def generate(self, requests, cancel=None) -> AsyncIterator[ChatReply]:
        raise NotImplementedError
        yield

    async def stream(self, request, cancel=None) -> AsyncIterator[str]:
        self.requests.append(request)
        try:
            for piece in self.pieces:
                await asyncio.sleep(self.pause_s)
                yield piece
            if self.end:
                raise self.end
        finally:
            self.was_told_to_stop = cancel.is_cancelled
            self.left.set()


async def run(
    sources: Sequence[Callable[[], ChatModel]],
    cancel: CancelToken | None = None,
    watch: Callable[[Event], None] = lambda event: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Event]:
    events = []
    async with asyncio.timeout(60):  # the stalled model of these tests sleeps longer
        async for batch in fan_out(
            sources, MESSAGES, SamplingParams(), clock, cancel or CancelToken()
        ):
            for event in batch:
                events.append(event)
                watch(event)
    return events


def text_of(events: Sequence[Event], index: int) -> str:
    return "".join(e.text for e in events if isinstance(e, Piece) and e.index == index)


def end_of(events: Sequence[Event], index: int) -> Event:
    return [e for e in events if e.index == index][-1]


def test_all_get_the_same_request_and_every_answer_ends():
    writers = [Writer(["a ", "b"]), Writer(["c"]), Writer([])]
    events = asyncio.run(run([lambda w=w: w for w in writers]))
    assert [text_of(events, i) for i in range(3)] == ["a b", "c", ""]
    assert all(isinstance(end_of(events, i), Done) for i in range(3))
    assert all(isinstance(next(e for e in events if e.index == i), Started) for i in range(3))
    assert len({w.requests[0] for w in writers}) == 1


def test_a_stalled_model_holds_up_nobody():
    cancel = CancelToken()

    def stop_when_the_quick_one_is_done(event: Event) -> None:
        if isinstance(event, Done):
            cancel.cancel()

    sources = [lambda: Writer(["x"], pause_s=600), lambda: Writer(["y"] * 5, 0.01)]
    events = asyncio.run(run(sources, cancel, stop_when_the_quick_one_is_done))
    assert isinstance(end_of(events, 1), Done)
    assert isinstance(end_of(events, 0), Stopped)
    assert text_of(events, 0) == ""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (TeacherRateLimited("Slow down."), "rate_limited", "Slow down."),
        (RuntimeError("out of memory"), "unexpected", "RuntimeError: out of memory"),
    ],
)
def test_a_failure_stays_with_its_model(error, code, words):
    events = asyncio.run(run([lambda: Writer(["half"], end=error), lambda: Writer(["a", "b"])]))
    failed = end_of(events, 0)
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert words in failed.message
    assert text_of(events, 0) == "half"
    assert failed.stats.characters == 4
    assert isinstance(end_of(events, 1), Done)


def test_a_model_that_cannot_be_made_fails_alone():
    def missing() -> ChatModel:
        raise NotFound("The run's folder is gone.")

    events = asyncio.run(run([missing, lambda: Writer(["fine"])]))
    assert isinstance(end_of(events, 0), Failed)
    assert end_of(events, 0).code == "not_found"
    assert text_of(events, 1) == "fine"


def test_slow_loading_runs_beside_and_is_not_counted_as_answer_time():
    quick_is_done, now = threading.Event(), [0.0]

    def slow_to_load() -> ChatModel:
        assert quick_is_done.wait(60)
        now[0] += 100.0
        return Writer(["a", "b"])

    def watch(event: Event) -> None:
        if event.index == 1 and isinstance(event, Done):
            quick_is_done.set()

    sources = [slow_to_load, lambda: Writer(["c"])]
    events = asyncio.run(run(sources, watch=watch, clock=lambda: now[0]))
    stats = end_of(events, 0).stats
    assert (stats.load_s, stats.total_s) == (100.0, 0.0)


def test_a_stop_is_quick_and_keeps_what_was_written():
    writer, cancel = Writer(["w "] * 6000, 0.01), CancelToken()  # all of it takes a minute
    has_begun = asyncio.Event()

    async def scenario():
        watch = lambda event: has_begun.set() if isinstance(event, Piece) else None  # noqa: E731
        task = asyncio.create_task(run([lambda: writer], cancel, watch))
        await has_begun.wait()
        cancel.cancel()
        events = await task
        await asyncio.wait_for(writer.left.wait(), 60)
        return events

    events = asyncio.run(scenario())
    stopped = end_of(events, 0)
    assert isinstance(stopped, Stopped)
    assert 0 < len(text_of(events, 0)) == stopped.stats.characters < 12_000
    assert writer.was_told_to_stop


def test_when_nobody_listens_any_more_the_models_are_told():
    writer = Writer(["w "] * 1000, 0.01)

    async def scenario():
        events = fan_out(
            [lambda: writer], MESSAGES, SamplingParams(), time.perf_counter, CancelToken()
        )
        async for _ in events:
            break
        await events.aclose()
        await asyncio.wait_for(writer.left.wait(), 60)

    asyncio.run(scenario())
    assert writer.was_told_to_stop


def test_stats_by_a_clock_that_the_test_holds():
    ticks = iter([0.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # began, asked, three pieces, end
    times = lambda: next(ticks)  # noqa: E731

    async def scenario():
        batches = fan_out(
            [lambda: Writer(["ab", "cd", "e"])], MESSAGES, SamplingParams(), times, CancelToken()
        )
        return [e async for batch in batches for e in batch]

    stats = end_of(asyncio.run(scenario()), 0).stats
    assert stats.load_s == 2.0
    assert stats.first_token_s == 1.0
    assert stats.total_s == 4.0
    assert (stats.tokens, stats.is_exact, stats.characters) == (3, False, 5)
    assert stats.tokens_per_s == pytest.approx(2 / 3)


def test_tokens_are_counted_by_the_model_where_it_can():
    writer = Writer(["one two three"])
    writer.count_tokens = lambda text: len(text.split())
    stats = end_of(asyncio.run(run([lambda: writer])), 0).stats
    assert (stats.tokens, stats.is_exact) == (3, True)
