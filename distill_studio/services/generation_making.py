"""How an answer was made, in plain text: for a person who inspects it. Start from `making`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from distill_studio.core.records import Message, Pair, Record
from distill_studio.generate.eliminate import RULES
from distill_studio.generate.recipes import RECIPES
from distill_studio.store import generation_steps as steps_table
from distill_studio.store import seeds as seeds_table
from distill_studio.store.database import Database
from distill_studio.store.generation_steps import StoredStep

_KEPT = 20_000  # characters of each text
_ELSEWHERE = {"from_seed", "unit", "top_logprobs", "logprobs"}  # told otherwise, or no reading


class MadeStep(Record):
    """One request and its reply."""

    step: str = Field(description="Recipe step.")
    teacher: str = Field(description="Who was asked.")
    sent: tuple[Message, ...] = Field(description="The conversation sent.")
    reply: str = Field(description="What came; the reasoning first.")


class Making(Record):
    """What led to an answer."""

    recipe: str = Field(description="Its label.")
    version: str = Field(description="The recipe's version.")
    teacher: str = Field(description="Who wrote the answer.")
    judge_score: float | None = Field(default=None, description="Higher is better.")
    from_prompt: str = Field(default="", description="The seed's, where the prompt is a new one.")
    facts: tuple[tuple[str, str], ...] = Field(default=(), description="Settings, verdicts: words.")
    steps: tuple[MadeStep, ...] = Field(default=(), description="All that was asked for its seed.")


def steps_of(db: Database, pair: Pair) -> list[StoredStep]:
    """The stored requests of the unit that an answer comes from."""
    origin = pair.params.get("from_seed", pair.seed_id)
    sample = int(pair.params.get("unit", pair.sample))
    return steps_table.of_unit(db, pair.job_id, origin, sample)


def making(db: Database, pair: Pair) -> Making:
    """What led to an answer: settings, the judge's words, and each request with its reply."""
    recipe = RECIPES.get(pair.recipe)
    origin = pair.params.get("from_seed", "")
    parents = seeds_table.get(db, [origin]) if origin and origin != pair.seed_id else []
    return Making(
        recipe=recipe.prompts.label if recipe else pair.recipe.replace("_", " "),
        version=pair.recipe_version.removeprefix("v"),
        teacher=pair.teacher,
        judge_score=pair.judge_score,
        from_prompt=parents[0].prompt[:_KEPT] if parents else "",
        facts=tuple(facts(pair.params)),
        steps=tuple(_made_step(step) for step in steps_of(db, pair)),
    )


def facts(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, words) of each setting and verdict in a pair's `params`; empty ones are left out."""
    for name, value in params.items():
        if name in _ELSEWHERE:
            continue
        yield from _told("" if name == "options" else name, value)


def _told(name: str, value: object) -> Iterator[tuple[str, str]]:
    if value is None or value in ("", [], {}, ()):
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _told(f"{name}, {key}" if name else str(key), inner)
        return
    label = name.replace("_", " ")
    yield label[:1].upper() + label[1:], _words(value)[:_KEPT]


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        is_flat = all(not isinstance(each, list | tuple | dict) for each in value)
        return (", " if is_flat else "\n").join(_words(each) for each in value)
    if isinstance(value, dict):
        named = value | {"rule": RULES[value["rule"]]} if value.get("rule") in RULES else value
        return "; ".join(f"{key}: {_words(inner)}" for key, inner in named.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _made_step(stored: StoredStep) -> MadeStep:
    request, reply = stored.request, stored.reply
    sent = request.messages or (Message(role="user", content=request.raw),)
    words = reply.error if reply.error and not reply.text else reply.text
    return MadeStep(
        step=stored.step,
        teacher=stored.teacher,
        sent=tuple(m.model_copy(update={"content": m.content[:_KEPT]}) for m in sent),
        reply=f"{reply.reasoning}\n\n{words}".strip()[:_KEPT],
    )
