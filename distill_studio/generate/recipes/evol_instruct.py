"""Evol-Instruct: instructions made harder (in depth) or rarer (in breadth), round by round.

As WizardLM's 250,000 instructions were made (arXiv 2304.12244): each round one of six ways, five
in depth and one in breadth, with equal chance; a round that fails a rule of `rewriting.py` is
undone, and the next one starts from the instruction before.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from distill_studio.core.ids import content_hash
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Message, Seed
from distill_studio.generate.effects import (
    ELIMINATED,
    Ask,
    Draft,
    Dropped,
    Made,
    Novel,
    Steps,
    Unit,
)
from distill_studio.generate.eliminate import CUT_OFF, TOO_LIKE, Eliminated, in_words
from distill_studio.generate.prompts import fill, load_prompts
from distill_studio.generate.recipes.base import ANSWER, Settings, user
from distill_studio.generate.recipes.new_prompts import ask_new, draft_new
from distill_studio.generate.rewriting import (
    read_equal,
    rule_against_answer,
    rule_against_rewrite,
    without_heading,
)

EVOLVE = "evolve"
EQUAL = "equal"
WIDEN = "widen"
DEEPEN = ("constraints", "depth", "concretise", "reasoning", "input")
_METHODS = {"deepen": DEEPEN, "widen": (WIDEN,), "both": (*DEEPEN, WIDEN)}

_Asking = Generator[Any, Any, "Version | Eliminated"]


@dataclass(frozen=True)
class Version:
    """An instruction on its way: the seed's (round 0), or one that survived its round."""

    round: int
    seed: Seed
    method: str = ""
    parent: int = 0
    reply: ChatReply | None = None


class EvolInstruct:
    """Each unit is a chain of rounds; each that survives is a new seed with its answer."""

    prompts = load_prompts("evol_instruct")

    def samples(self, n: int) -> int:
        """One chain per seed."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """The rounds, each from the last that survived."""
        survived = [Version(0, unit.seed)]
        eliminated: list[Eliminated] = []
        for number in range(1, settings.number("rounds") + 1):
            method = method_for(unit, number, settings.word("kind"))
            ended = yield from _round(survived[-1], number, method, settings)
            if isinstance(ended, Eliminated):
                eliminated.append(ended)
            else:
                survived.append(ended)
        if len(survived) == 1:
            raise _nothing(eliminated)
        kept = survived[1:] if settings.word("keep") == "every" else survived[-1:]
        return Made(tuple(_draft(each, eliminated, settings) for each in kept))


def method_for(unit: Unit, number: int, kind: str) -> str:
    """The way of a round: by chance, but always the same for the same seed, sample and round."""
    methods = _METHODS[kind]
    chance = int(content_hash([unit.seed.content_hash, unit.sample, number])[:8], 16)
    return methods[chance % len(methods)]


def _round(parent: Version, number: int, method: str, settings: Settings) -> _Asking:
    """One round: the rewritten instruction, the judge's word, the answer.

    Steps are named by the round they start from too: whether an earlier round survives depends on
    all other prompts, which may be more when an interrupted unit is taken up again.
    """
    place = f"{number}-of-{parent.round}"
    ask = Ask(f"{EVOLVE}/{place}", _rewriting(parent, method, settings), may_fail=True)
    reply = yield from _replied(ask)
    text = without_heading(reply.text)
    rule = rule_against_rewrite(text, parent.seed.prompt)
    if not rule and reply.finish_reason == "length":
        rule = CUT_OFF
    if rule:
        return Eliminated(number, rule, text)
    near = yield Novel(text, settings.real("likeness"))
    if not near.is_new:
        return Eliminated(number, TOO_LIKE, text, near.text, near.score)
    rule = yield from _judged(parent.seed.prompt, text, place, settings)
    if rule:
        return Eliminated(number, rule, text)
    turns = (*parent.seed.messages[:-1], Message(role="user", content=text))
    seed = Seed(messages=turns, topic=parent.seed.topic, extra={"round": number, "method": method})
    answer = yield from _replied(ask_new(f"{ANSWER}/{place}", seed, settings, may_fail=True))
    rule = rule_against_answer(answer.text)
    if rule:
        return Eliminated(number, rule, text)
    return Version(number, seed, method, parent.round, answer)


def _replied(ask: Ask) -> Generator[Ask, ChatReply, ChatReply]:
    """The reply, be it empty: an empty one undoes its round, a teacher's failure ends the unit."""
    reply = yield ask
    if not reply.is_ok:
        raise Dropped(ask.step, reply.error_code, reply.error)
    return reply


def _rewriting(parent: Version, method: str, settings: Settings) -> tuple[Message, ...]:
    texts = settings.texts
    if method == WIDEN:
        return user(fill(texts["widen"], instruction=parent.seed.prompt))
    return user(fill(texts["deepen"], instruction=parent.seed.prompt, method=texts[method]))


def _judged(
    first: str, second: str, place: str, settings: Settings
) -> Generator[Ask, ChatReply, str]:
    """The rule that a judge's word comes to: is anything gained?"""
    question = fill(settings.texts["equal"], first=first, second=second)
    greedy = settings.sampling.model_copy(update={"temperature": 0.0, "top_p": 1.0})
    reply = yield from _replied(
        Ask(
            f"{EQUAL}/{place}",
            user(question),
            sampling=greedy,
            teacher=settings.judge,
            may_fail=True,
        )
    )
    is_equal = read_equal(reply.text)
    if is_equal is None:
        return "not_judged"
    return "no_gain" if is_equal else ""


def _draft(version: Version, eliminated: Sequence[Eliminated], settings: Settings) -> Draft:
    if version.reply is None:
        raise ValueError("The seed's own instruction makes no pair.")
    found = {
        "round": version.round,
        "method": version.method,
        "from_round": version.parent,
        "dropped": [each.as_params() for each in eliminated],
    }
    return draft_new(version.reply, version.seed, settings, evolved=found)


def _nothing(eliminated: Sequence[Eliminated]) -> Dropped:
    reason = f"None of {len(eliminated)} rounds is kept: {in_words(eliminated)}."
    texts = "\n\n".join(f"Round {each.place}: {each.text}" for each in eliminated)
    return Dropped(f"{EVOLVE}/1-of-0", ELIMINATED, reason, texts)
