"""Sides by chance, and only what a voter may see. Start from `place` and `blind_task`."""

import random

from pydantic import Field

from distill_studio.core.records import Message, Pair, Record


class BlindTask(Record):
    """A comparison as it is sent to the voter: no model, no teacher, no pair ids, no lengths.

    That an answer was cut off is told: its end shows it, and a voter should not mistake it.
    """

    id: str = Field(description="The comparison's id; says nothing about the sides.")
    messages: tuple[Message, ...] = Field(description="The conversation both answer.")
    left: str = Field(description="Answer on the left.")
    right: str = Field(description="Answer on the right.")
    is_left_cut: bool = Field(default=False, description="The left was cut at the token limit.")
    is_right_cut: bool = Field(default=False, description="The right was cut at the token limit.")


class Side(Record):
    """Who stood on one side; told only after the vote."""

    teacher: str = Field(description="Teacher or imported model.")
    words: int = Field(description="Length of the answer in words.")


class Reveal(Record):
    """Who stood where; told only after the vote."""

    task_id: str = Field(description="The comparison.")
    left: Side = Field(description="Left side.")
    right: Side = Field(description="Right side.")


def place(first: Pair, second: Pair, rng: random.Random) -> tuple[Pair, Pair]:
    """(left, right): each order with the same chance."""
    return (first, second) if rng.random() < 0.5 else (second, first)


def blind_task(task_id: str, left: Pair, right: Pair) -> BlindTask:
    """The comparison without anything that tells the two apart but their text."""
    return BlindTask(
        id=task_id,
        messages=left.messages,
        left=left.final_answer,
        right=right.final_answer,
        is_left_cut=is_cut(left),
        is_right_cut=is_cut(right),
    )


def reveal(task_id: str, left: Pair, right: Pair) -> Reveal:
    """What may be told once the vote is stored."""
    return Reveal(task_id=task_id, left=side(left), right=side(right))


def is_cut(pair: Pair) -> bool:
    """Cut off by the token limit, and not completed by a person's edit."""
    return pair.finish_reason == "length" and pair.edited_answer is None


def side(pair: Pair) -> Side:
    """Who wrote an answer, and how long it is."""
    name = pair.teacher or pair.model or "unknown"
    if pair.teacher and pair.model and pair.model != pair.teacher:
        name = f"{pair.teacher} ({pair.model})"
    return Side(teacher=name, words=len(pair.final_answer.split()))
