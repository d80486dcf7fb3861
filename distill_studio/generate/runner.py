"""Ask teachers, a bounded number of requests at a time, and commit replies as they arrive.

Start from `Runner.run`. Units are pulled from iterators when there is room for them, so memory
does not grow with their number. Outcomes are handed to `commit` in groups, at most 50 ms after
they came. A line whose teacher cannot answer at all stops; the others go on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

from distill_studio.core.errors import Cancelled, TeacherError
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest
from distill_studio.generate.breaker import Breaker
from distill_studio.generate.drive import Asked, Drive, Ended
from distill_studio.generate.effects import (
    RECIPE_CODES,
    Ask,
    Check,
    Draw,
    Dropped,
    Nearest,
    Novel,
    Unit,
)
from distill_studio.generate.recipes.base import Recipe, Settings, request_for
from distill_studio.generate.tally import Tally
from distill_studio.verify import Verdict

_GROUP_S = 0.03  # outcomes wait this long for company; with the commit itself under 50 ms
_LARGEST_GROUP = 200
_MOST_WAITING = 2000  # outcomes not written yet; asking pauses above
_POLL_S = 0.1
_TICK_S = 0.5


def _no_clock() -> float:
    return 0.0


@dataclass
class Endpoint:
    """A teacher, how much may be asked of it at a time, and a count of what was."""

    teacher: str
    model: ChatModel
    workers: int = 1
    tally: Tally = field(default_factory=lambda: Tally(_no_clock))
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.workers)

    @cached_property
    def room(self) -> asyncio.Semaphore:
        """Held by each request in flight."""
        return asyncio.Semaphore(self.workers)


@dataclass(frozen=True)
class Line:
    """A stream of units that is worked through on its own.

    Args:
        units: Pulled only when there is room.
        uses: Names of the teachers whose end is the line's end.
        workers: Units in flight at a time.
    """

    units: Iterator[Unit]
    uses: tuple[str, ...]
    workers: int = 1


@dataclass(frozen=True)
class Taken:
    """A reply on a unit's way, as soon as it has come."""

    unit: Unit
    asked: Asked


Outcome = Taken | Ended
Commit = Callable[[Sequence[Outcome]], None]


class Helpers(Protocol):
    """The effects besides asking."""

    async def check(self, check: Check) -> Verdict:
        """See `World`."""
        ...

    async def novel(self, novel: Novel) -> Nearest:
        """See `World`."""
        ...

    def draw(self, unit: Unit, draw: Draw) -> tuple[str, ...]:
        """See `World`."""
        ...


class Runner:
    """Runs the lines of one generation side by side.

    Args:
        recipe: What each unit goes through.
        settings: How.
        endpoints: The teachers, and the judge, by name.
        helpers: For verification, novelty and examples.
        commit: Stores a group of outcomes; called in a thread, one group at a time, so that asking
            goes on meanwhile.
        cancel: Noticed within 0.1 s.
        tick: Called about twice a second while it runs.
        keeps_steps: Each reply is an outcome too, as soon as it has come.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: Settings,
        endpoints: Sequence[Endpoint],
        helpers: Helpers,
        commit: Commit,
        cancel: CancelToken,
        tick: Callable[[], None] = lambda: None,
        *,
        keeps_steps: bool = False,
    ) -> None:
        self._recipe = recipe
        self._settings = settings
        self._endpoints = {each.teacher: each for each in endpoints}
        self._helpers = helpers
        self._commit = commit
        self._cancel = cancel
        self._tick = tick
        self._keeps_steps = keeps_steps
        self._group: list[Outcome] = []
        self._has_replies = asyncio.Event()
        self._was_cut_off = False  # a unit ended early because of `cancel`
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
            if self._was_cut_off:
                raise Cancelled("Stopped.")
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
        breakers = [self._endpoints[name].breaker for name in line.uses]
        in_flight: set[asyncio.Task[None]] = set()
        try:
            while True:
                while len(self._group) >= _MOST_WAITING:
                    await asyncio.sleep(_GROUP_S)
                is_over = any(breaker.is_open for breaker in breakers)
                room = 0 if is_over else line.workers - len(in_flight)
                for unit in islice(line.units, room):
                    in_flight.add(asyncio.create_task(self._unit(unit)))
                if not in_flight:
                    break
                done, in_flight = await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)
        for breaker in breakers:
            breaker.raise_if_open()

    async def _unit(self, unit: Unit) -> None:
        drive = Drive(unit, self._recipe.steps(unit, self._settings), self, self._taken)
        try:
            ended = await drive.run()
        except Cancelled:
            self._was_cut_off = True
            return
        if isinstance(ended.result, Dropped) and ended.result.code in RECIPE_CODES:
            self._endpoints[ended.teacher].tally.useless(ended.result.code)
        self._arrived(ended)

    def _taken(self, unit: Unit, asked: Asked) -> None:
        if self._keeps_steps:
            self._arrived(Taken(unit, asked))

    # -- the world of a recipe --------------------------------------------------------------

    async def ask(self, unit: Unit, ask: Ask) -> Asked:
        """Ask a teacher when it has room.

        Raises:
            Cancelled: The run is being stopped.
        """
        endpoint = self._endpoints[ask.teacher or unit.teacher]
        request = request_for(unit, ask, self._settings)
        async with endpoint.room:
            with endpoint.tally.busy():
                reply = await self._reply(endpoint, request)
        if self._cancel.is_cancelled and not reply.is_ok:
            raise Cancelled("Stopped.")
        endpoint.tally.ended(reply)
        endpoint.breaker.note(reply)
        return Asked(ask.step, endpoint.teacher, request, reply)

    async def check(self, check: Check) -> Verdict:
        """See `Helpers`."""
        return await self._helpers.check(check)

    async def novel(self, novel: Novel) -> Nearest:
        """See `Helpers`."""
        return await self._helpers.novel(novel)

    def draw(self, unit: Unit, draw: Draw) -> tuple[str, ...]:
        """See `Helpers`."""
        return self._helpers.draw(unit, draw)

    async def _reply(self, endpoint: Endpoint, request: ChatRequest) -> ChatReply:
        reply = ChatReply(
            key=request.key, error_code="no_reply", error=f"{endpoint.teacher} gave no reply."
        )
        try:
            async for answer in endpoint.model.generate([request], self._cancel):
                reply = answer
        except TeacherError as err:
            reply = ChatReply(key=request.key, error_code=err.code, error=str(err))
        return reply


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
