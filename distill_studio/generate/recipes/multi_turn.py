"""Conversations of several turns: a model plays the user and asks on (UltraChat, 2305.14233).

As in Vicuna, one row is one conversation, and every turn of the assistant in it is trained on. So
each of them has to be fit for that: a conversation ends before a turn that is of no use, and after
an answer that is cut off, and keeps what it has until there.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Message, Seed
from distill_studio.generate.asides import is_like_one, plain, read_shots
from distill_studio.generate.effects import Ask, Draft, Dropped, Made, Steps, Unit
from distill_studio.generate.played_user import END, Turn, next_turn
from distill_studio.generate.prompts import fill, load_prompts
from distill_studio.generate.recipes.base import Settings, user, with_examples, with_system
from distill_studio.judge.prompts import as_text

_CUT = "length"
_SHOWN = 300  # characters kept of a turn that was of no use


@dataclass(frozen=True)
class _Exchange:
    """A conversation up to the user's turn, and the answer to it."""

    messages: tuple[Message, ...]
    reply: ChatReply

    @property
    def conversation(self) -> tuple[Message, ...]:
        return (*self.messages, Message(role="assistant", content=self.reply.text))


@dataclass(frozen=True)
class _End:
    """Why a conversation goes no further, and what was said that is of no use."""

    reason: str
    unused: str = ""


class MultiTurn:
    """From each seed one conversation."""

    prompts = load_prompts("multi_turn")

    def samples(self, n: int) -> int:
        """One conversation."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """Answer and ask on in turn."""
        turns = settings.number("turns")
        messages = with_system(unit.seed.messages, settings.system_prompt)
        last = yield from _exchange(1, messages, unit, settings)
        params: dict[str, Any] = {"turns": 1, "turns_asked": turns}
        params["user_by"] = settings.judge or unit.teacher
        for number in range(2, turns + 1):
            made = yield from _go_on(number, last, unit, settings)
            if isinstance(made, _End):
                params |= {"ended": made.reason, "unused": made.unused[:_SHOWN]}
                break
            last, params["turns"] = made, number
        seed = _seed(unit.seed, last.messages) if params["turns"] > 1 else None
        return Made((Draft(last.reply, last.messages, seed=seed, params=params),))


def _go_on(
    number: int, last: _Exchange, unit: Unit, settings: Settings
) -> Generator[Ask, ChatReply, "_Exchange | _End"]:
    """The next exchange, or why there is none."""
    if last.reply.finish_reason == _CUT:
        return _End("the answer was cut off")
    turn, said = yield from _ask_on(number, last, settings)
    if turn.end:
        return _End(turn.end, said)
    asked = (*last.conversation, Message(role="user", content=turn.text))
    made = yield from _exchange(number, asked, unit, settings)
    if is_like_one(made.reply.text, _answers(last.conversation)):
        return _End("the teacher repeated an answer", made.reply.text)
    return made


def _exchange(
    number: int, messages: tuple[Message, ...], unit: Unit, settings: Settings
) -> Generator[Ask, ChatReply, _Exchange]:
    shown = with_examples(messages, settings.examples, unit.seed.id)
    reply = yield Ask(f"answer/{number}", shown)
    return _Exchange(messages, reply)


def _ask_on(
    number: int, last: _Exchange, settings: Settings
) -> Generator[Ask, ChatReply, tuple[Turn, str]]:
    """The user's next turn, and what the model said for it."""
    turns = [turn for turn in last.conversation if turn.role != "system"]
    shots = [(put, replies[0]) for put, replies in read_shots(settings.texts["shots"])]
    step = f"user/{number}"
    reply = yield Ask(
        step,
        _part(turns, shots, settings),
        sampling=plain(settings.sampling),
        teacher=settings.judge,
        may_fail=True,  # without a turn the conversation ends; it need not be lost
    )
    if not reply.is_ok:
        raise Dropped(step, reply.error_code, reply.error)
    turn = next_turn(reply.text, turns, is_cut=reply.finish_reason == _CUT)
    if is_like_one(turn.text, [shown for _, shown in shots]):
        turn = Turn(end="the next turn was that of an example")
    return turn, reply.text


def _part(
    turns: Sequence[Message], shots: Sequence[tuple[str, str]], settings: Settings
) -> tuple[Message, ...]:
    """What the played user is told, examples of the part, the conversation as text."""
    told, shown = settings.texts["follow_up"], settings.texts["conversation"]
    messages = [Message(role="system", content=fill(told, end=END))]
    for conversation, turn in shots:
        messages += user(fill(shown, conversation=conversation))
        messages.append(Message(role="assistant", content=turn))
    return (*messages, *user(fill(shown, conversation=as_text(turns))))


def _answers(conversation: Sequence[Message]) -> list[str]:
    return [turn.content for turn in conversation if turn.role == "assistant"]


def _seed(seed: Seed, messages: tuple[Message, ...]) -> Seed:
    """The conversation as a prompt of its own: its answer is no candidate of the first turn's."""
    has_own = seed.messages[0].role == "system"
    own = messages if has_own else tuple(m for m in messages if m.role != "system")
    return Seed(messages=own, topic=seed.topic)
