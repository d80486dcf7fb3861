"""Play a recipe with replies given by hand: no teacher, no store, no runner."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.protocols import ChatReply, SamplingParams
from distill_studio.generate.drive import Asked, Drive, Ended
from distill_studio.generate.effects import Ask, Check, Draw, Nearest, Novel, Unit
from distill_studio.generate.novelty import Pool
from distill_studio.generate.parse import Provenance
from distill_studio.generate.recipes import Recipe, Settings
from distill_studio.generate.recipes.base import request_for
from distill_studio.verify import Verdict, verify

ORIGIN = Provenance("j", "best_of_n", "1", SamplingParams(max_tokens=7))
Said = str | ChatReply | Callable[[Ask], str]


def reply(text: str = "", **fields: Any) -> ChatReply:
    """A reply that says `text`."""
    return ChatReply(key="k", text=text, **{"finish_reason": "stop", **fields})


@dataclass
class Played:
    """A world by hand: replies by step, prompts to draw from, prompts there are."""

    unit: Unit
    settings: Settings
    replies: Mapping[str, Said]
    people: Sequence[str] = ()
    own: Sequence[str] = ()
    asked: list[Ask] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    pool: Pool = field(default_factory=Pool)

    async def ask(self, unit: Unit, ask: Ask) -> Asked:
        self.asked.append(ask)
        said = self.replies[ask.step]
        if callable(said):
            said = said(ask)
        answer = said if isinstance(said, ChatReply) else reply(said)
        return Asked(
            ask.step, ask.teacher or unit.teacher, request_for(unit, ask, self.settings), answer
        )

    async def check(self, check: Check) -> Verdict:
        return verify(check.kind, check.text, check.reference)

    async def novel(self, novel: Novel) -> Nearest:
        return self.pool.admit(novel.text, novel.limit)

    def draw(self, unit: Unit, draw: Draw) -> tuple[str, ...]:
        return (*self.people[: draw.people], *self.own[: draw.own])

    def keep(self, unit: Unit, asked: Asked) -> None:
        self.kept.append(asked.step)


def world(
    unit: Unit, settings: Settings, replies: Mapping[str, Said], **pools: Sequence[str]
) -> Played:
    """A world whose pool holds the prompts to draw from and the unit's own."""
    played = Played(unit, settings, replies, **pools)
    for prompt in (unit.seed.prompt, *played.people, *played.own):
        played.pool.admit(prompt, 2.0)
    return played


def play(
    recipe: Recipe,
    unit: Unit,
    settings: Settings,
    replies: Mapping[str, Said],
    played: Played | None = None,
) -> Ended:
    """The end of a unit whose teacher says `replies`, by step."""
    here = played or world(unit, settings, replies)
    ended = asyncio.run(Drive(unit, recipe.steps(unit, settings), here, here.keep).run())
    here.kept = [step for step in here.kept if step not in ended.forgotten]  # as the store does
    return ended
