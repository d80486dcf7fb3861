"""What a model says as the user of a conversation: the next turn, its end, or nothing of use.

Start from `next_turn`. Models slip out of the part: they answer themselves, write both sides,
repeat a turn or the last answer. Such a turn is no turn, and the conversation ends before it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from distill_studio.core.records import Message
from distill_studio.core.words import words
from distill_studio.generate.asides import as_request, copied_share, is_assistants, is_like_one

END = "[END]"  # what the played user writes to end the conversation
_MOST_WORDS = 150
_MOST_COPIED = 0.5  # of a turn's words, out of the assistant's mouth
_LIST_ITEMS = 3
_THANKS_WORDS = 8

_END_MARK = re.compile(
    r"[\[<({*]\s*(?:the\s+)?end(?:\s+of\s+(?:the\s+)?conversation)?\s*[\])>}*]", re.I
)
_END_WORDS = ("end", "the end", "end of conversation", "end of the conversation")
_ROLE = r"[#*_\s]*(?:{})[*_]*\s*[:：]"
_ASSISTANT = re.compile(_ROLE.format("assistant|ai|bot|chatbot|system|answer|response"), re.I)
_ANY_ROLE = re.compile(
    r"\n" + _ROLE.format("assistant|ai|bot|chatbot|system|answer|response|user|human"), re.I
)
_THANKS = re.compile(r"\b(?:thanks?|thank you|thx|bye|goodbye|that(?:['’]s| is) all)\b", re.I)
_MAY_ANSWER = re.compile(  # unless it asks something
    r"""sure\b|certainly\b|of\ course\b|absolutely\b|i(?:['’]m|\ am)\ sorry\b|i\ apologi[sz]e\b
      |here(?:['’]s|\ is|\ are)\b|i\ can(?:not|['’]t)?\ (?:help|assist|provide)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_ABOUT = re.compile(r"\bthe (?:user|assistant|next message|conversation)\b", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*•])\s+\S", re.MULTILINE)


@dataclass(frozen=True)
class Turn:
    """What the user says next, or why there is no next turn."""

    text: str = ""
    end: str = ""  # in the user's words; '' where there is a turn


def next_turn(said: str, conversation: Sequence[Message], *, is_cut: bool = False) -> Turn:
    """The user's turn out of a model's reply.

    Args:
        said: The reply.
        conversation: So far; ends with an answer.
        is_cut: True when the reply ended at its token limit.
    """
    if _END_MARK.search(said) or " ".join(words(said)) in _END_WORDS:
        return Turn(end="the user had nothing left to ask")
    text = as_request(said)
    if _ASSISTANT.match(text):
        return Turn(end="the next turn spoke as the assistant")
    both = _ANY_ROLE.search(text)
    if both:  # it went on with the other side, or with another turn
        text = as_request(text[: both.start()])
    if not re.search(r"[^\W_]", text):
        return Turn(end="the next turn was empty")
    if is_cut and not both:
        return Turn(end="the next turn was cut off")
    if _THANKS.search(text) and len(words(text)) <= _THANKS_WORDS and "?" not in text:
        return Turn(end="the user had nothing left to ask")
    wrong = _wrong_with(text, conversation)
    return Turn(end=wrong) if wrong else Turn(text)


def _wrong_with(text: str, conversation: Sequence[Message]) -> str:
    asked = [turn.content for turn in conversation if turn.role == "user"]
    answers = [turn.content for turn in conversation if turn.role == "assistant"]
    if is_like_one(text, asked):
        return "the next turn repeated an earlier one"
    if is_like_one(text, answers) or any(copied_share(text, a) > _MOST_COPIED for a in answers):
        return "the next turn repeated an answer"
    if _ABOUT.search(text) and not any(_ABOUT.search(t) for t in (*asked, *answers)):
        return "the next turn spoke about the conversation"
    return "the next turn read like an answer" if _is_answer(text) else ""


def _is_answer(text: str) -> bool:
    if is_assistants(text) or len(words(text)) > _MOST_WORDS:
        return True
    if "?" in text:
        return False
    return bool(_MAY_ANSWER.match(text)) or len(_ITEM.findall(text)) >= _LIST_ITEMS
