"""Is a prompt the same problem as a test item? Start: `same_problem_request`, `read_same_problem`.

An opinion for the queue of reworded leaks (`curate/decontaminate/nearest.py`): it ranks and
explains, a person's verdict always wins.
"""

import re
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatRequest, SamplingParams
from distill_studio.core.records import Message, Record
from distill_studio.judge.prompts import SameProblemPrompt, fill, load_same_problem
from distill_studio.judge.reading import plain, read_object

Same = Literal["yes", "no", "unsure"]

SAMPLING = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=256)
LONGEST = 8_000  # characters of an item or a prompt that are shown; more is cut
_LONGEST_REASON = 1_000

_WORD = r"yes|no|unsure|not sure|uncertain"
_ALONE = re.compile(rf"({_WORD})[.!) ]{{0,3}}", re.IGNORECASE)
_MARKED = re.compile(rf"\[\[ ?({_WORD}) ?\]\]", re.IGNORECASE)
_SAYS = re.compile(
    rf"\b(?:verdict|answer|same|conclusion)\b ?(?:problem)? ?(?:is|[:=])[\s(\[]{{0,4}}({_WORD})\b"
    rf"(?! ?(?:or|/|,) ?(?:{_WORD})\b)",
    re.IGNORECASE,
)
_BEGINS = re.compile(rf"({_WORD}) ?[.,;:!–—-]", re.IGNORECASE)


class SameProblem(Record):
    """What a model said of an item and a prompt."""

    said: Same = Field(description="Whether they are the same problem.")
    reason: str = Field(default="", description="The model's words.")


def same_problem_request(
    key: str,
    item: str,
    text: str,
    *,
    answer: str = "",
    prompt: SameProblemPrompt | None = None,
    sampling: SamplingParams = SAMPLING,
) -> ChatRequest:
    """Ask whether `text` is the same problem as the test item.

    Args:
        key: Of the request.
        item: The test question.
        text: The prompt of a row.
        answer: The item's known answer, if any.
        prompt: Texts; `load_same_problem()` unless given.
        sampling: Greedy unless given.
    """
    texts = {"item": item[:LONGEST], "text": text[:LONGEST]}
    return ChatRequest(
        key=key,
        messages=fill(
            prompt or load_same_problem(),
            [Message(role="user", content=texts["item"])],
            texts,
            answer[:LONGEST],
        ),
        response_schema=_SCHEMA,
        sampling=sampling,
    )


def read_same_problem(text: str) -> SameProblem:
    """The verdict in a reply: JSON, [[yes]], "Yes, ...", or words like "Verdict: no".

    Raises:
        Unreadable: It says neither, or both.
    """
    value = read_object(text)
    named: Any = value.get("same", value.get("verdict")) if value else None
    if value is not None and named is not None:
        said = _from_value(named)
        reason = str(value.get("reason", ""))
    else:
        said, reason = _from_words(plain(text)), text.strip()
    if len(said) != 1:
        problem = "says yes as well as no" if said else "says neither yes, no nor unsure"
        raise Unreadable(f"The judge's reply {problem}.")
    return SameProblem(said=said.pop(), reason=reason[:_LONGEST_REASON])


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "same": {"type": "string", "enum": ["yes", "no", "unsure"]},
    },
    "required": ["reason", "same"],
    "additionalProperties": False,
}


def _from_value(named: object) -> set[Same]:
    if isinstance(named, bool):
        return {"yes" if named else "no"}
    match = _ALONE.fullmatch(plain(str(named)))
    return {_same(match.group(1))} if match else set()


def _from_words(bare: str) -> set[Same]:
    if match := _ALONE.fullmatch(bare):
        return {_same(match.group(1))}
    for pattern in (_MARKED, _SAYS):
        if found := {_same(word) for word in pattern.findall(bare)}:
            return found
    if match := _BEGINS.match(bare):
        return {_same(match.group(1))}
    return set()


def _same(word: str) -> Same:
    lower = word.lower()
    return "yes" if lower == "yes" else "no" if lower == "no" else "unsure"
