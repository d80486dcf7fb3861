"""Ask teachers, a bounded number of requests at a time, and commit replies as they arrive.

Start from `Runner.run`. Requests are pulled from iterators when there is room for them, so memory
does not grow with their number. Replies are handed to `commit` in groups, at most 50 ms after
they came. A line whose teacher cannot answer at all stops; the others go on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from distill_studio.core.errors import TeacherError
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatModel, ChatReply
from distill_studio.generate.recipes.base import Ask
from distill_studio.verify import Verdict

Check = Callable[[Ask, ChatReply], Awaitable[Verdict]]

_GROUP_S = 0.03  # replies wait this long for company; with the commit itself under 50 ms
_LARGEST_GROUP = 200
_MOST_WAITING = 2000  # replies not written yet; asking pauses above
_POLL_S = 0.1
_TICK_S = 0.5
# No other request will fare better: a key or name that is wrong, a model that cannot be loaded.
_FATAL = {"unauthorised", "unknown_model", "not_found", "unavailable"}
_OF_THE_ROW = {"context_too_long"}  # says nothing about the next request
_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True)
class Line:
    """One teacher and what it is asked.

    Args:
        teacher: Name, for provenance and messages.
        model: Who answers.
        asks: Pulled only when there is room.
        workers: Requests in flight at a time.
        check: Says of an answer whether it may be kept; None keeps all.
    """

    teacher: str
    model: ChatModel
    asks: Iterator[Ask]
    workers: int = 1
    check: Check | None = None


@dataclass(frozen=True)
class Outcome:
    """A reply, or the failure that took its place, what it answers, and whether it holds."""

    teacher: str
    ask: Ask
    reply: ChatReply
    verdict: Verdict | None = None


class Runner:
    """Runs the lines of one generation side by side.

    Args:
        commit: Stores a group of outcomes; called in a thread, one group at a time, so that asking
            goes on meanwhile.
        cancel: Noticed within 0.1 s.
        tick: Called about twice a second while it runs.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Outcome]], None],
        cancel: CancelToken,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._commit = commit
        self._cancel = cancel
        self._tick = tick
        self._group: list[Outcome] = []
        self._has_replies = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    async def run(self, lines: Sequence[Line]) -> None:
        """Ask everything. What has arrived is committed, however this ends.

        Raises:
            Cancelled: Somebody asked to stop.
            TeacherError: A teacher could not answer at all; the rest was done.
        """
        work = asyncio.create_task(self._all(lines))
        tasks = [
            work,
            asyncio.create_task(self._watch()),
            asyncio.create_task(self._commit_groups()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._finish_writing()
            while self._group:
                await self._commit_group()

    # -- helpers of the run ---------------------------------------------------------------

    async def _watch(self) -> None:
        polls = 0
        while True:
            self._cancel.raise_if_cancelled()
            if polls % round(_TICK_S / _POLL_S) == 0:
                self._tick()
            polls += 1
            await asyncio.sleep(_POLL_S)

    async def _commit_groups(self) -> None:
        while True:
            await self._has_replies.wait()
            if len(self._group) < _LARGEST_GROUP:
                await asyncio.sleep(_GROUP_S)
            await self._commit_group()

    async def _commit_group(self) -> None:
        group, self._group = self._group[:_LARGEST_GROUP], self._group[_LARGEST_GROUP:]
        if not self._group:
            self._has_replies.clear()
        if group:
            self._writing = asyncio.create_task(asyncio.to_thread(self._commit, group))
            await asyncio.shield(self._writing)  # a stop waits for it in _finish_writing

    async def _finish_writing(self) -> None:
        """Wait for a group that was being written when the run was stopped."""
        if self._writing is not None and not self._writing.done():
            await self._writing

    def _arrived(self, outcome: Outcome) -> None:
        self._group.append(outcome)
        self._has_replies.set()

    # -- asking ---------------------------------------------------------------------------

    async def _all(self, lines: Sequence[Line]) -> None:
        ends = await _finish_all([self._line(line) for line in lines])
        for end in ends:
            if end is not None:
                raise end

    async def _line(self, line: Line) -> None:
        breaker = _Breaker(line)
        in_flight: set[asyncio.Task[None]] = set()
        try:
            while True:
                while len(self._group) >= _MOST_WAITING:
                    await asyncio.sleep(_GROUP_S)
                room = 0 if breaker.is_open else line.workers - len(in_flight)
                for ask in islice(line.asks, room):
                    in_flight.add(asyncio.create_task(self._ask(line, ask, breaker)))
                if not in_flight:
                    break
                done, in_flight = await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)
        breaker.raise_if_open()

    async def _ask(self, line: Line, ask: Ask, breaker: "_Breaker") -> None:
        key = ask.request.key
        reply = ChatReply(key=key, error_code="no_reply", error=f"{line.teacher} gave no reply.")
        try:
            async for answer in line.model.generate([ask.request], self._cancel):
                reply = answer
        except TeacherError as err:
            reply = ChatReply(key=key, error_code=err.code, error=str(err))
        if self._cancel.is_cancelled and not reply.is_ok:
            return
        breaker.note(reply)
        verdict = await line.check(ask, reply) if line.check and reply.is_ok else None
        self._arrived(Outcome(line.teacher, ask, reply, verdict))


class _Breaker:
    """Opens when asking further is pointless: ten thousand refusals teach no more than five."""

    def __init__(self, line: Line) -> None:
        self._teacher = line.teacher
        self._limit = max(_FAILURES_IN_A_ROW, line.workers)
        self._in_a_row = 0
        self._reason = ""

    @property
    def is_open(self) -> bool:
        """True once the line should stop."""
        return bool(self._reason)

    def note(self, reply: ChatReply) -> None:
        """Learn from a reply."""
        if reply.is_ok:
            self._in_a_row = 0
        elif reply.error_code not in _OF_THE_ROW:
            self._in_a_row += 1
            if reply.error_code in _FATAL or self._in_a_row >= self._limit:
                self._reason = self._reason or reply.error

    def raise_if_open(self) -> None:
        """Raise TeacherError with the reason."""
        if self._reason:
            raise TeacherError(
                f"Stopped: {self._reason}", "What was answered is stored; resume asks the rest."
            )


async def _finish_all(lines: Sequence[Coroutine[Any, Any, None]]) -> list[TeacherError | None]:
    """Wait for every line; a teacher's end is returned, anything else raised at once."""

    async def end_of(line: Coroutine[Any, Any, None]) -> TeacherError | None:
        try:
            await line
        except TeacherError as err:
            return err
        return None

    tasks = [asyncio.create_task(end_of(line)) for line in lines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
