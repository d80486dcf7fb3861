"""Take one unit through its recipe: each effect to the world, each result back."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from distill_studio.core.protocols import ChatReply, ChatRequest
from distill_studio.generate.effects import (
    BROKEN,
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

logger = logging.getLogger(__name__)


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
    teacher: str = ""  # whose reply is to blame; '' where it made something


Keep = Callable[[Unit, Asked], None]


class Drive:
    """One unit on its way.

    Args:
        unit: Which.
        steps: The recipe's generator, not started.
        world: Where its effects go.
        keep: Given each reply as soon as it comes, so that it need not be asked again.
    """

    def __init__(self, unit: Unit, steps: Steps, world: World, keep: Keep) -> None:
        self._unit = unit
        self._steps = steps
        self._world = world
        self._keep = keep
        self._turn = 0  # how often the recipe has yielded
        self._turn_of: dict[str, int] = {}  # step -> when it was asked
        self._teacher_of: dict[str, str] = {}

    async def run(self) -> Ended:
        """Until the recipe ends."""
        result: Any = None
        try:
            while True:
                effects = self._send(result)
                self._turn += 1
                result = await self._resolve(effects)
        except StopIteration as end:
            return Ended(self._unit, end.value)
        except Dropped as dropped:
            return self._dropped(dropped)
        finally:
            self._steps.close()

    def _send(self, result: Any) -> Effect | tuple[Effect, ...]:  # noqa: ANN401
        """What the recipe asks next. One reply that it stumbles over must not end the others.

        Raises:
            Dropped: With the unit's first step to blame: all is asked anew, with other luck.
        """
        try:
            return self._steps.send(result)
        except (StopIteration, Dropped):
            raise
        except Exception as err:
            logger.exception("A recipe failed on a reply.")
            first = next(iter(self._turn_of), "")
            words = f"The recipe cannot work on this reply: {type(err).__name__} {err}"
            raise Dropped(first, BROKEN, words[:500]) from err

    def _dropped(self, dropped: Dropped) -> Ended:
        """The reply to blame and those asked after it are asked again; what came with it stays."""
        blamed = self._turn_of.get(dropped.step, self._turn)
        later = (step for step, turn in self._turn_of.items() if turn > blamed)
        teacher = self._teacher_of.get(dropped.step) or self._unit.teacher
        return Ended(self._unit, dropped, (dropped.step, *later), teacher)

    async def _resolve(self, effects: Effect | Sequence[Effect]) -> Any:  # noqa: ANN401
        if not isinstance(effects, Sequence):
            return await self._one(effects)
        return tuple(await _together([self._one(effect) for effect in effects]))

    async def _one(self, effect: Effect) -> Any:  # noqa: ANN401
        if isinstance(effect, Ask):
            return await self._ask(effect)
        if isinstance(effect, Check):
            return await self._world.check(effect)
        if isinstance(effect, Novel):
            return await self._world.novel(effect)
        return self._world.draw(self._unit, effect)

    async def _ask(self, ask: Ask) -> ChatReply:
        self._turn_of[ask.step] = self._turn
        self._teacher_of[ask.step] = ask.teacher
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
            self._keep(self._unit, asked)
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
