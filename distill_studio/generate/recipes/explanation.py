"""Explanation tuning with prompt erasure (Orca 2, arXiv 2311.11045, section 3).

The teacher is told by a system prompt how to go about the task: directly, step by step, recalling
facts first, and so on. That prompt is then erased: the student sees the task and at most a generic
system prompt, so it has to learn which way suits which task.
"""

import re
from collections.abc import Generator, Mapping, Sequence

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Message
from distill_studio.generate.asides import copies, read_shots, steady
from distill_studio.generate.effects import (
    ELIMINATED,
    Ask,
    Draft,
    Dropped,
    Made,
    Steps,
    Unit,
    unreadable,
)
from distill_studio.generate.prompts import fill, load_prompts
from distill_studio.generate.recipes.base import ANSWER, Settings, user, with_examples
from distill_studio.judge.prompts import as_text

CHOOSE = "choose"
AUTO = "auto"
STRATEGIES = (
    "direct answer",
    "step by step",
    "recall then generate",
    "recall reason generate",
    "extract then generate",
    "explain then answer",
)
_LINKS = ("then", "and")
_REFUSED = re.compile(r"\b(?:not|avoid|than|instead of)\W+(?:(?:use|the|a)\W+)*\Z", re.IGNORECASE)
_MARK = re.compile(r"\A[\W_]*(?:strategy|way|answer|choice)\b[\W_]*(?:is\b)?", re.IGNORECASE)
_FURTHER = re.compile(r"\n\W*task\W*:", re.IGNORECASE)
_EDGES = " \t\r.,:;!*_\"'`#()[]{}<>-"
_SCHEMA = {
    "type": "object",
    "properties": {"strategy": {"type": "string", "enum": list(STRATEGIES)}},
    "required": ["strategy"],
    "additionalProperties": False,
}


class Explanation:
    """One answer by a strategy, stored without it."""

    prompts = load_prompts("explanation")

    def samples(self, n: int) -> int:
        """One: no choice."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """Choose a strategy, answer by it, erase it."""
        chosen = settings.word("strategy")
        strategy = (yield from _choose(unit, settings)) if chosen == AUTO else chosen
        words = settings.texts[strategy.replace(" ", "_")]
        asked = told(unit.seed.messages, words)
        reply = yield Ask(ANSWER, with_examples(asked, settings.examples, unit.seed.id))
        seen = [turn.content for turn in unit.seed.messages]
        if copies(reply.text, words, seen):
            reason = "The answer repeats its instructions, which the student must not see."
            raise Dropped(ANSWER, ELIMINATED, reason, reply.text)
        is_told = copies(reply.reasoning, words, seen)
        params = {"strategy": strategy, "strategy_by": "teacher" if chosen == AUTO else "person"}
        draft = Draft(
            reply,
            erased(unit.seed.messages, settings.system_prompt, settings.word("row_system")),
            reasoning="" if is_told else None,
            params=params | ({"reasoning_left_out": True} if is_told else {}),
        )
        return Made((draft,))


def told(messages: Sequence[Message], strategy: str) -> tuple[Message, ...]:
    """What the teacher sees: the strategy first, then a seed's own system prompt."""
    own, turns = _parted(messages)
    system = "\n\n".join(part for part in (strategy, own) if part.strip())
    return (Message(role="system", content=system), *turns)


def erased(messages: Sequence[Message], generic: str, row_system: str) -> tuple[Message, ...]:
    """What the student sees: the turns, after a generic system prompt, none, or the seed's own."""
    own, turns = _parted(messages)
    system = {"generic": generic, "none": "", "own": own or generic}[row_system]
    head = (Message(role="system", content=system),) if system.strip() else ()
    return (*head, *turns)


def read_strategy(text: str, *, is_cut: bool = False) -> str:
    """The one strategy that a reply names; '' where it names none, or several.

    Of several, one that stands alone in the first line or the last is meant, unless these
    disagree, or the reply broke off: then it may be a list. Further tasks that a model makes up
    do not count.
    """
    text, *further = _FURTHER.split(text, maxsplit=1)
    is_cut = is_cut and not further
    found = _named(text)
    if len(found) > 1:
        lines = [line for line in text.splitlines() if line.strip()]
        found = set() if is_cut else {_alone(line) for line in (lines[0], lines[-1])} - {""}
    return found.pop() if len(found) == 1 else ""


def _choose(unit: Unit, settings: Settings) -> Generator[Ask, ChatReply, str]:
    _, turns = _parted(unit.seed.messages)
    messages = _choice(settings.texts, as_text(turns))
    sampling = steady(unit, settings.sampling)
    reply = yield Ask(CHOOSE, messages, sampling=sampling, schema=_SCHEMA)
    strategy = read_strategy(reply.text, is_cut=reply.finish_reason == "length")
    if not strategy:
        raise unreadable(CHOOSE, reply, "no strategy of the list, or several")
    return strategy


def _choice(texts: Mapping[str, str], task: str) -> tuple[Message, ...]:
    """The question, after earlier ones that were answered: models of any size follow these."""
    messages = [Message(role="system", content=texts["choose"])]
    for shown, (name, *_) in read_shots(texts["shots"]):
        strategy = _alone(name)
        if strategy:
            messages += user(fill(texts["question"], task=shown))
            messages.append(Message(role="assistant", content=strategy))
    return (*messages, *user(fill(texts["question"], task=task)))


def _parted(messages: Sequence[Message]) -> tuple[str, tuple[Message, ...]]:
    """(the system prompts as one text, the turns)."""
    own = "\n\n".join(m.content for m in messages if m.role == "system")
    return own, tuple(m for m in messages if m.role != "system")


def _named(text: str) -> set[str]:
    return {
        name
        for name, pattern in _PATTERNS.items()
        if any(not _REFUSED.search(text[: m.start()]) for m in pattern.finditer(text))
    }


def _alone(line: str) -> str:
    """The strategy that a line gives and nothing else."""
    said = _MARK.sub("", line)
    return next((n for n, p in _PATTERNS.items() if p.fullmatch(said.strip(_EDGES))), "")


def _pattern(name: str) -> re.Pattern[str]:
    link = rf"[\W_]+(?:(?:{'|'.join(_LINKS)})[\W_]+)*"
    parts = [word for word in name.split() if word not in _LINKS]
    return re.compile(rf"(?<![a-z]){link.join(parts)}(?![a-z])", re.IGNORECASE)


_PATTERNS: Mapping[str, re.Pattern[str]] = {name: _pattern(name) for name in STRATEGIES}
