"""Magpie: an aligned teacher, given only the beginning of a user's turn, writes the question too.

arXiv 2406.08464, section 2: the chat template up to the user's words is continued as raw text at
a high temperature, to the end of the turn; what comes is a question such as the model was aligned
on, and is asked as an ordinary one. A system turn can steer it to a topic.
"""

import re

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import UserTurn
from distill_studio.generate.chat_templates import AUTO, known_turn
from distill_studio.generate.effects import ELIMINATED, Ask, Dropped, Made, Novel, Steps, Unit
from distill_studio.generate.eliminate import (
    CUT_OFF,
    FEWEST_WORDS,
    RULES,
    TOO_LIKE,
)
from distill_studio.generate.prompts import fill, load_prompts
from distill_studio.generate.recipes.base import ANSWER, Settings
from distill_studio.generate.recipes.new_prompts import ask_new, draft_new, new_seed
from distill_studio.verify.trace import check_loops

INSTRUCTION = "instruction"
MOST_SAMPLES = 1000
MOST_WORDS = 500
_LEFTOVER = re.compile(
    r"<\|[^|>\n]{1,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</?s>|<[be]os>"
    r"|^(?:user|assistant|system|human)\s*(?::|\n)",
    re.IGNORECASE,
)
_AS_ANSWER = re.compile(
    r"(?:i(?:'|’)?\s?a?m (?:so |very )?sorry|sorry[,.]|i apologi[sz]e"
    r"|i can(?:not|'t|’t) (?:assist|answer|provide|comply|fulfil|help you|help with that)"
    r"|as an? (?:ai|artificial)|i(?:'|’)?\s?a?m (?:just )?an? (?:ai|artificial|language model)"
    r"|(?:sure|certainly|of course|absolutely)[!,.]"
    r"|(?:hello|hi)?[!,. ]*how (?:can|may) i (?:help|assist) you)",
    re.IGNORECASE,
)


class Magpie:
    """Each unit is one question that the teacher made up, and its answer."""

    prompts = load_prompts("magpie")

    def samples(self, n: int) -> int:
        """`n` questions per seed.

        Raises:
            InvalidInput: Fewer than one or more than 1,000.
        """
        if not 1 <= n <= MOST_SAMPLES:
            raise InvalidInput(
                f"{n} questions per seed are not possible.", f"Choose 1 to {MOST_SAMPLES}."
            )
        return n

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """The question, its checks, the answer."""
        turn = turn_of(settings, unit.teacher)
        topic = unit.seed.topic if settings.word("steer") == "topic" else ""
        sampling = settings.sampling.model_copy(
            update={
                "temperature": settings.real("temperature"),
                "top_p": 1.0,
                "stop": turn.stop,
            }
        )
        reply = yield Ask(INSTRUCTION, raw=opening(turn, settings, topic), sampling=sampling)
        text = reply.text.strip()
        if rule := rule_against_question(text, reply.finish_reason):
            raise _dropped(rule, reply)
        near = yield Novel(text, settings.real("likeness"))
        if not near.is_new:
            raise _dropped(TOO_LIKE, reply, f"Like ({near.score:.2f}): {near.text}")
        seed = new_seed(text, topic)
        answer = yield ask_new(ANSWER, seed, settings)
        made = {"template": turn.name, "topic": topic}
        return Made((draft_new(answer, seed, settings, magpie=made),))


def turn_of(settings: Settings, teacher: str) -> UserTurn:
    """The teacher's template: the chosen one, else what is known of the teacher."""
    name = settings.word("template")
    return settings.turns[teacher] if name == AUTO else known_turn(name, settings.texts)


def opening(turn: UserTurn, settings: Settings, topic: str = "") -> str:
    """The chat template up to the user's first word: what the teacher continues.

    A topic takes the place of the user's own system prompt here.
    """
    content = fill(settings.texts["topic"], topic=topic) if topic else settings.system_prompt
    return fill(turn.with_system, content=content) if content else turn.bare


def rule_against_question(text: str, finish_reason: str = "") -> str:
    """The rule that speaks against a made question; '' where none does."""
    words = len(text.split())
    if finish_reason == "length":
        return CUT_OFF
    if words < FEWEST_WORDS:
        return "too_short"
    if words > MOST_WORDS:
        return "far_too_long"
    if _LEFTOVER.search(text):
        return "template_left"
    if _AS_ANSWER.match(text):
        return "as_answer"
    return "" if check_loops(text).ok else "loops"


def _dropped(rule: str, reply: ChatReply, more: str = "") -> Dropped:
    text = f"{reply.text}\n\n{more}" if more else reply.text
    return Dropped(INSTRUCTION, ELIMINATED, f"The question made up is {RULES[rule]}.", text)
