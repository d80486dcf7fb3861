"""About what a suite, a judge of the arena or a set of comparisons will cost, before it starts.

Teachers behind a URL only: models of this machine cost nothing. How long answers will be is a
guess, as `TeachersService.estimate` makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from distill_studio.core.actor import Actor
from distill_studio.core.protocols import ChatRequest
from distill_studio.core.records import Message, TeacherKind
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.suite import SuiteItem
from distill_studio.judge import rubric_request
from distill_studio.judge.rubric import JUDGE_SAMPLING
from distill_studio.services.teacher_costs import Estimate
from distill_studio.teachers.prices import CHARACTERS_A_TOKEN

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_LOOKED_AT = 200  # prompts whose length stands for the rest


def of_models(
    workspace: Workspace,
    actor: Actor,
    cards: Sequence[ModelCard],
    prompts: Sequence[Sequence[Message]],
    max_tokens: int,
    samples: int = 1,
) -> list[Estimate]:
    """What the teachers among `cards` take to answer all prompts."""
    characters = samples * sum(_length(messages) for messages in prompts)
    return [
        workspace.teachers.estimate(
            actor, name, samples * len(prompts), characters, max_tokens=max_tokens
        )
        for card in cards
        for role, _, name in [card.id.partition(":")]
        if role == ModelRole.TEACHER and _is_elsewhere(workspace, name)
    ]


def of_suite_judge(
    workspace: Workspace,
    actor: Actor,
    judge: str,
    items: Sequence[SuiteItem],
    answers: int,
    max_tokens: int,
) -> list[Estimate]:
    """What a judge takes to score so many answers to each prompt, each of half the longest."""
    if not items or not _is_elsewhere(workspace, judge):
        return []
    looked_at = items[:_LOOKED_AT]
    sent = [rubric_request("", i.messages, "", reference=i.reference) for i in looked_at]
    each = sum(_length(one.messages) for one in sent) / len(sent)
    count = answers * len(items)
    characters = count * (each + CHARACTERS_A_TOKEN * max_tokens / 2)
    return [
        workspace.teachers.estimate(
            actor, judge, count, round(characters), max_tokens=JUDGE_SAMPLING.max_tokens
        )
    ]


def of_requests(
    workspace: Workspace, actor: Actor, teacher: str, requests: Iterable[ChatRequest], share: float
) -> list[Estimate]:
    """What a teacher takes for requests like these, which are such a share of all."""
    sent = [] if not _is_elsewhere(workspace, teacher) else list(requests)
    if not sent:
        return []
    characters = sum(_length(one.messages) for one in sent)
    return [
        workspace.teachers.estimate(
            actor,
            teacher,
            round(len(sent) / share),
            round(characters / share),
            max_tokens=sent[0].sampling.max_tokens,
        )
    ]


def together(workspace: Workspace, estimates: Iterable[Estimate]) -> list[Estimate]:
    """One for each teacher: it may be asked to answer and to judge, under one limit."""
    found: dict[str, Estimate] = {}
    for each in estimates:
        first = found.get(each.teacher)
        found[each.teacher] = each if first is None else _sum(workspace, first, each)
    return list(found.values())


def _sum(workspace: Workspace, first: Estimate, other: Estimate) -> Estimate:
    usd = None if first.usd is None or other.usd is None else first.usd + other.usd
    limit = workspace.teachers.config(first.teacher).spend_limit_usd
    return first.model_copy(
        update={
            "prompt_tokens": first.prompt_tokens + other.prompt_tokens,
            "completion_tokens": first.completion_tokens + other.completion_tokens,
            "usd": usd,
            "is_over_limit": bool(limit and usd is not None and usd > limit),
        }
    )


def _is_elsewhere(workspace: Workspace, teacher: str) -> bool:
    return workspace.teachers.config(teacher).kind is TeacherKind.OPENAI


def _length(messages: Sequence[Message]) -> int:
    return sum(len(message.content) for message in messages)
