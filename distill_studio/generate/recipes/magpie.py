"""Magpie: an aligned teacher, given only the beginning of a user's turn, writes the question too.

arXiv 2406.08464, section 2: the chat template up to the user's words is continued as raw text at
a high temperature, to the end of the turn; what comes is a question such as the model was aligned
on, and is asked as an ordinary one. A system turn can steer it to a topic.
"""

import re

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import ChatReply
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
# What ends a user's turn; at most four, as OpenAI's API takes.
STOPS = {
    "chatml": ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
    "llama3": ("<|eot_id|>", "<|start_header_id|>", "<|end_of_text|>"),
    "gemma": ("<end_of_turn>", "<start_of_turn>", "<eos>"),
    "mistral": ("[/INST]", "[INST]", "</s>"),
    "phi3": ("<|end|>", "<|assistant|>", "<|user|>", "<|endoftext|>"),
}
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
        topic = unit.seed.topic if settings.word("steer") == "topic" else ""
        sampling = settings.sampling.model_copy(
            update={
                "temperature": settings.real("temperature"),
                "top_p": 1.0,
                "stop": STOPS[settings.word("template")],
            }
        )
        reply = yield Ask(INSTRUCTION, raw=opening(settings, topic), sampling=sampling)
        text = reply.text.strip()
        if rule := rule_against_question(text, reply.finish_reason):
            raise _dropped(rule, reply)
        near = yield Novel(text, settings.real("likeness"))
        if not near.is_new:
            raise _dropped(TOO_LIKE, reply, f"Like ({near.score:.2f}): {near.text}")
        seed = new_seed(text, topic)
        answer = yield ask_new(ANSWER, seed, settings)
        made = {"template": settings.word("template"), "topic": topic}
        return Made((draft_new(answer, seed, settings, magpie=made),))


def opening(settings: Settings, topic: str = "") -> str:
    """The chat template up to the user's first word: what the teacher continues.

    A topic takes the place of the user's own system prompt here. ChatML models were aligned with
    a system turn in every conversation, so there is one in any case.
    """
    texts, name = settings.texts, settings.word("template")
    content = fill(texts["topic"], topic=topic) if topic else settings.system_prompt
    content = content or texts.get(f"{name}_default", "")
    system = fill(texts[f"{name}_system"], content=content) if content else ""
    return fill(texts[name], system=system)


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
