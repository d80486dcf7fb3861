"""Hide who wrote what until the vote. Nothing that gives a model away leaves the server."""

import random
from collections.abc import Sequence
from typing import TypeVar

from distill_studio.core.records.comparison import AnswerStats, Comparison, ModelCard

Item = TypeVar("Item")


def shuffled(items: Sequence[Item], rng: random.Random) -> list[Item]:
    """The items in a random order; the first model must not always stand on the left."""
    order = list(items)
    rng.shuffle(order)
    return order


def masked(comparison: Comparison) -> Comparison:
    """The comparison without names, sizes or speeds; its texts and their order stay.

    Speed and size are hidden too: a reader would know the teacher by its slowness. A failure
    keeps its place but not its words, which may name the model.
    """
    answers = [
        answer.model_copy(
            update={
                "card": ModelCard(id="", label=place_name(index)),
                "stats": AnswerStats(characters=answer.stats.characters),
                "error": "This model could not answer." if answer.error else "",
            }
        )
        for index, answer in enumerate(comparison.answers)
    ]
    return comparison.model_copy(update={"answers": tuple(answers)})


def seen_by(comparison: Comparison) -> Comparison:
    """As its reader may see it: masked while blind and not voted on by them."""
    is_hidden = comparison.is_blind and comparison.verdict is None
    return masked(comparison) if is_hidden else comparison


def place_name(index: int) -> str:
    """'Model A' for the first place."""
    return f"Model {chr(ord('A') + index)}"
