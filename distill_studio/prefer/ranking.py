"""Three or more answers to one prompt, put in order at once. Start from `groups`, `rank_task`."""

import random
from collections.abc import Sequence
from math import ceil

from pydantic import Field

from distill_studio.core.records import Message, Pair, Record
from distill_studio.core.records.preference import FEWEST_RANKED
from distill_studio.prefer.blind import Side, is_cut, side
from distill_studio.prefer.pairing import normalised

MOST = 6  # answers in one ranking; nobody keeps more texts in mind


class BlindAnswer(Record):
    """An answer as the voter sees it."""

    text: str = Field(description="The answer.")
    is_cut: bool = Field(default=False, description="It was cut at the token limit.")


class RankTask(Record):
    """A ranking as it is sent to the voter: no model, no teacher, no pair ids, no lengths."""

    id: str = Field(description="The ranking's id; says nothing about the answers.")
    messages: tuple[Message, ...] = Field(description="The conversation all of them answer.")
    answers: tuple[BlindAnswer, ...] = Field(description="In an order drawn by lot.")


class RankReveal(Record):
    """Who stood where; told only after the vote."""

    task_id: str = Field(description="The ranking.")
    answers: tuple[Side, ...] = Field(description="In the order shown.")


def groups(candidates: Sequence[Pair], rng: random.Random) -> list[list[Pair]]:
    """Candidates of one seed in groups of three to `MOST`, each in the order to be shown.

    Which of them meet, and in what order, is left to chance; the groups are as even as can be. Of
    answers that are equal after `normalised` one takes part. Fewer than three make no group.
    """
    shuffled = sorted(candidates, key=lambda p: p.id)
    rng.shuffle(shuffled)
    different = list({normalised(p.final_answer): p for p in shuffled}.values())
    n = ceil(len(different) / MOST)
    made = [different[k::n] for k in range(n)]
    return [group for group in made if len(group) >= FEWEST_RANKED]


def rank_task(task_id: str, answers: Sequence[Pair]) -> RankTask:
    """The ranking without anything that tells the answers apart but their text."""
    return RankTask(
        id=task_id,
        messages=answers[0].messages,
        answers=tuple(BlindAnswer(text=p.final_answer, is_cut=is_cut(p)) for p in answers),
    )


def rank_reveal(task_id: str, answers: Sequence[Pair]) -> RankReveal:
    """What may be told once the vote is stored."""
    return RankReveal(task_id=task_id, answers=tuple(side(p) for p in answers))
