"""Take one unit through its recipe: each effect to the world, each result back."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from distill_studio.core.protocols import ChatReply, ChatRequest
from distill_studio.generate.effects import (
    EMPTY_ANSWER,
    Ask,
    Check,
    Draw,
    Dropped,
    Effect,
    Made,
    Nearest,
    Novel,
    Steps,
    Unit,
)
from distill_studio.verify import Verdict


class World(Protocol):
    """Where effects have their effect."""

    async def ask(self, unit: Unit, ask: Ask) -> "Asked":
        """Ask the teacher; failures are replies."""
        ...

    async def check(self, check: Check) -> Verdict:
        """Hold an answer against a reference."""
        ...

    async def novel(self, novel: Novel) -> Nearest:
        """Compare a prompt with all others; a new one joins them."""
        ...

    def draw(self, unit: Unit, draw: Draw) -> tuple[str, ...]:
        """Prompts as examples; the same for the same unit while the pools stay the same."""
        ...


@dataclass(frozen=True)
class Asked:
    """A request as it was sent, to whom, and the reply."""

    step: str
    teacher: str
    request: ChatRequest
    reply: ChatReply


@dataclass(frozen=True)
class Ended:
    """A unit's end: what it made, or why nothing was kept."""

    unit: Unit
    result: Made | Dropped
    forgotten: tuple[str, ...] = ()  # steps whose stored replies are to be asked again


Keep = Callable[[Unit, Sequence[Asked]], None]


class Drive:
    """One unit on its way.

    Args:
        unit: Which.
        steps: The recipe's generator, not started.
        world: Where its effects go.
        keep: Given each reply once the recipe has taken it, so that it need not be asked again.
    """

    def __init__(self, unit: Unit, steps: Steps, world: World, keep: Keep) -> None:
        self._unit = unit
        self._steps = steps
        self._world = world
        self._keep = keep
        self._order: list[str] = []  # of the steps asked so far
        self._waiting: list[Asked] = []  # replies that the recipe has not taken yet

    async def run(self) -> Ended:
        """Until the recipe ends."""
        result: Any = None
        try:
            while True:
                effects = self._steps.send(result)
                self._take(self._waiting)
                result = await self._resolve(effects)
        except StopIteration as end:
            self._take(self._waiting)
            return Ended(self._unit, end.value)
        except Dropped as dropped:
            return self._dropped(dropped)
        finally:
            self._steps.close()

    def _take(self, asked: Sequence[Asked]) -> None:
        if asked:
            self._keep(self._unit, asked)
        self._waiting = []

    def _dropped(self, dropped: Dropped) -> Ended:
        """Replies before the one to blame are kept; it and what followed is asked again."""
        place = {step: number for number, step in enumerate(self._order)}
        blamed = place.get(dropped.step, len(place))
        self._take([a for a in self._waiting if place[a.step] < blamed])
        return Ended(self._unit, dropped, tuple(self._order[blamed:]))

    async def _resolve(self, effects: Effect | Sequence[Effect]) -> Any:  # noqa: ANN401
        if not isinstance(effects, Sequence):
            return await self._one(effects)
        self._order += [e.step for e in effects if isinstance(e, Ask)]
        return tuple(await _together([self._one(e, is_ordered=True) for e in effects]))

    async def _one(self, effect: Effect, *, is_ordered: bool = False) -> Any:  # noqa: ANN401
        if isinstance(effect, Ask):
            if not is_ordered:
                self._order.append(effect.step)
            return await self._ask(effect)
        if isinstance(effect, Check):
            return await self._world.check(effect)
        if isinstance(effect, Novel):
            return await self._world.novel(effect)
        return self._world.draw(self._unit, effect)

    async def _ask(self, ask: Ask) -> ChatReply:
        stored = self._unit.stored.get(ask.step)
        if stored is not None:
            return stored
        asked = await self._world.ask(self._unit, ask)
        reply = asked.reply
        if not ask.may_fail:
            if not reply.is_ok:
                raise Dropped(ask.step, reply.error_code, reply.error)
            if not reply.text.strip():
                raise Dropped(ask.step, EMPTY_ANSWER, _why_empty(asked.teacher, reply))
        if reply.is_ok:
            self._waiting.append(asked)
        return reply


async def _together(calls: Sequence[Any]) -> list[Any]:
    """All results in order; the first failure is raised after all have ended."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _why_empty(teacher: str, reply: ChatReply) -> str:
    if reply.finish_reason == "length":
        return (
            f"{teacher} used all its tokens before it wrote an answer. Allow longer answers and"
            " retry."
        )
    if reply.finish_reason == "content_filter":
        return f"{teacher}'s content filter held the answer back."
    return f"{teacher} wrote an empty answer."
