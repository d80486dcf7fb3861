"""The judges' files in `assets/judge/`, and how their texts are filled in.

`${name}` in a text stands for what is filled in; what is filled in is never read for `${...}`.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from pydantic import Field

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Message, Record

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "judge"
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}


class JudgePrompt(Record):
    """What the texts of all judges have in common."""

    name: str = Field(description="Key of the file.")
    version: str = Field(description="Changes with any text in the file; kept with each result.")
    label: str = Field(description="Shown in lists.")
    summary: str = Field(description="What it does, in a sentence or two, with its source.")
    system_prompt: str = Field(description="Sent first.")
    prompt: str = Field(description="The request.")
    reference_prompt: str = Field(description="Part of it where a right answer is known.")


class Aspect(Record):
    """One thing that is scored."""

    name: str = Field(pattern=r"^[a-z_]+$", description="Key in the reply.")
    label: str = Field(description="Shown.")
    question: str = Field(description="What is asked.")
    levels: tuple[str, str, str, str, str] = Field(description="What 1 to 5 mean.")


class Rubric(JudgePrompt):
    """Texts and aspects of scoring by a rubric."""

    aspects: tuple[Aspect, ...] = Field(min_length=1, description="What is scored.")

    def only(self, names: Sequence[str]) -> "Rubric":
        """The same rubric with some of its aspects, in the rubric's order.

        Raises:
            InvalidInput: It has no such aspect, or none is left.
        """
        known = [aspect.name for aspect in self.aspects]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise InvalidInput(
                f"The rubric has no aspect '{unknown[0]}'." if unknown else "No aspect is chosen.",
                f"Choose of {', '.join(known)}.",
            )
        kept = tuple(aspect for aspect in self.aspects if aspect.name in names)
        return self.model_copy(update={"aspects": kept})


class PairwisePrompt(JudgePrompt):
    """Texts of comparing two answers."""


class SameProblemPrompt(JudgePrompt):
    """Texts of asking whether a prompt is a test item in other words."""


@functools.cache
def load_rubric() -> Rubric:
    """The file `rubric.json`."""
    return Rubric(**_load("rubric"))


@functools.cache
def load_pairwise() -> PairwisePrompt:
    """The file `pairwise.json`."""
    return PairwisePrompt(**_load("pairwise"))


@functools.cache
def load_same_problem() -> SameProblemPrompt:
    """The file `same_problem.json`."""
    return SameProblemPrompt(**_load("same_problem"))


def fill(
    prompt: JudgePrompt, conversation: Sequence[Message], texts: Mapping[str, str], reference: str
) -> tuple[Message, ...]:
    """System prompt and request; untrusted texts stand between marks that they do not hold.

    Raises:
        InvalidInput: An edited prompt names something that cannot be filled in.
    """
    spoken = as_text(conversation)
    mark = "~~~"
    while any(mark in text for text in (spoken, reference, *texts.values())):
        mark += "~"
    values = {"mark": mark, "conversation": spoken, "reference": reference, **texts}
    try:
        known = Template(prompt.reference_prompt).substitute(values) if reference.strip() else ""
        text = Template(prompt.prompt).substitute({**values, "reference": known})
    except (KeyError, ValueError) as err:
        raise InvalidInput(
            f"The judge's prompt '{prompt.name}' holds {err}, which cannot be filled in.",
            f"What can is: {', '.join('${' + name + '}' for name in values)}.",
        ) from err
    return (
        Message(role="system", content=prompt.system_prompt),
        Message(role="user", content=text),
    )


def as_text(conversation: Sequence[Message]) -> str:
    """A conversation as text; a single request stands without its speaker."""
    if len(conversation) == 1:
        return conversation[0].content
    return "\n\n".join(f"{_SPEAKERS[turn.role]}: {turn.content}" for turn in conversation)


def _load(name: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((ASSETS / f"{name}.json").read_text(encoding="utf-8"))
    return loaded
