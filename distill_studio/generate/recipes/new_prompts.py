"""New prompts and their answers, as several recipes make them."""

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Seed
from distill_studio.generate.effects import Ask, Draft
from distill_studio.generate.recipes.base import Settings, user, with_examples, with_system


def new_seed(text: str, topic: str = "", **extra: object) -> Seed:
    """A prompt of one turn."""
    return Seed(messages=user(text), topic=topic, extra=extra)


def ask_new(step: str, seed: Seed, settings: Settings, *, may_fail: bool = False) -> Ask:
    """Ask the teacher the new prompt, with people's examples before it."""
    messages = with_system(seed.messages, settings.system_prompt)
    return Ask(step, with_examples(messages, settings.examples), may_fail=may_fail)


def draft_new(reply: ChatReply, seed: Seed, settings: Settings, **params: object) -> Draft:
    """The pair of a new prompt and its answer."""
    messages = with_system(seed.messages, settings.system_prompt)
    return Draft(reply, messages, seed=seed, params=params)
