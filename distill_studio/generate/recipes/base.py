"""What recipes share: their settings, and the plain question that most of them end with."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from distill_studio.core.ids import content_hash
from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message, UserTurn
from distill_studio.generate.effects import Ask, Draft, Steps, Unit
from distill_studio.generate.prompts import OptionValue, Prompts

ANSWER = "answer"  # the step that makes a pair's answer, in every recipe
_SEED_BITS = 31  # what every server takes as an integer


@dataclass(frozen=True)
class Example:
    """An accepted pair that shows a teacher how to answer."""

    pair_id: str
    seed_id: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Settings:
    """How the user wants a recipe run."""

    sampling: SamplingParams = field(default_factory=SamplingParams)
    system_prompt: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    teachers: tuple[str, ...] = ()  # all of them, for recipes that ask several
    judge: str = ""  # name of the teacher that judges
    turns: Mapping[str, UserTurn] = field(default_factory=dict)  # teacher -> its chat template

    def number(self, name: str) -> int:
        """A whole-number option."""
        return int(self.options[name])

    def real(self, name: str) -> float:
        """A number option."""
        return float(self.options[name])

    def word(self, name: str) -> str:
        """An option that is one of several words."""
        return str(self.options[name])


class Recipe(Protocol):
    """How a seed becomes requests, and replies become pairs."""

    prompts: Prompts

    def samples(self, n: int) -> int:
        """Runs over each seed (and teacher, unless the recipe asks all) when the user asks `n`."""
        ...

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """What one run over a seed asks, in order; returns what it made.

        Raises:
            Dropped: Nothing can be kept.
        """
        ...


def with_system(messages: Sequence[Message], system_prompt: str) -> tuple[Message, ...]:
    """The system prompt first, unless the conversation brings one of its own."""
    if not system_prompt or messages[0].role == "system":
        return tuple(messages)
    return (Message(role="system", content=system_prompt), *messages)


def with_examples(
    messages: Sequence[Message], examples: Sequence[Example], seed_id: str = ""
) -> tuple[Message, ...]:
    """People's examples as earlier turns, after a system prompt; none of the seed's own."""
    turns: list[Message] = []
    for example in examples:
        if example.seed_id != seed_id:
            turns.append(Message(role="user", content=example.prompt))
            turns.append(Message(role="assistant", content=example.answer))
    head = 1 if messages[0].role == "system" else 0
    return (*messages[:head], *turns, *messages[head:])


def answered(unit: Unit, settings: Settings) -> Generator[Ask, ChatReply, Draft]:
    """Ask for the next turn of the seed's conversation; the pair that it makes."""
    messages = with_system(unit.seed.messages, settings.system_prompt)
    reply = yield Ask(ANSWER, with_examples(messages, settings.examples, unit.seed.id))
    return Draft(reply, messages)


def user(text: str) -> tuple[Message, ...]:
    """A conversation of one question."""
    return (Message(role="user", content=text),)


def request_for(unit: Unit, ask: Ask, settings: Settings) -> ChatRequest:
    """What is sent for an effect."""
    sampling = ask.sampling or settings.sampling
    seed = sample_seed(unit, ask.step, sampling.seed or 0)
    return ChatRequest(
        key=f"{unit.seed.id}/{unit.sample}/{ask.step}",
        messages=ask.messages,
        raw=ask.raw,
        response_schema=ask.schema,
        sampling=sampling.model_copy(update={"seed": seed}),
    )


def sample_seed(unit: Unit, step: str, base: int) -> int:
    """The random seed of one request: the same prompt, sample, step and attempt give the same."""
    parts: list[object] = [base + unit.attempt, unit.seed.content_hash, unit.sample]
    if step != ANSWER:
        parts.append(step)
    return int(content_hash(parts)[:16], 16) % (1 << _SEED_BITS)
