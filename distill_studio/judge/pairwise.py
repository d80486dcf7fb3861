"""Two answers, judged in both orders. Start: `pairwise_requests`, `read_pairwise`, `combine`.

A judge tends to favour a place (GPT-4 names the same answer in both orders about 65% of the time,
arXiv 2306.05685). So an answer wins only when it is preferred in both places; everything else is a
tie. Both verdicts and reasons are kept.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatRequest, SamplingParams
from distill_studio.core.records import Message, Record
from distill_studio.judge.prompts import PairwisePrompt, fill, load_pairwise
from distill_studio.judge.reading import plain, read_object
from distill_studio.judge.rubric import JUDGE_SAMPLING

Side = Literal["first", "second", "tie"]
Order = Literal["forward", "swapped"]
FORWARD: Order = "forward"
SWAPPED: Order = "swapped"

_TIE = r"(?i:tie|neither|equal|both|same)"
_WHO = r"(?i:answer|assistant|response)"
_ALONE = re.compile(rf"[( ]?(?:{_WHO} )?([abAB]|{_TIE})[.) ]{{0,2}}")
_MARKED = re.compile(r"\[\[ ?([ABC]|(?i:tie)) ?\]\]")
_SAYS = re.compile(
    rf"\b(?i:better|winner|verdict|best)\b ?(?i:answer|one)? ?(?:is|[:=])[\s(\[]{{0,4}}(?:{_WHO} )?"
    rf"([AB]|{_TIE})\b(?! ?(?:or|/|,) ?(?:[AB]|(?i:tie))\b)"
)
_IS_BETTER = re.compile(rf"\b{_WHO} \(?([AB])\)? ?is (?:the )?(?:\w{{1,20}}ly |much )?better\b")


class OrderVerdict(Record):
    """One reading: which place the judge preferred."""

    order: Order = Field(description="swapped: the second stood first.")
    said: Literal["A", "B", "tie"] = Field(description="The place that was preferred.")
    reason: str = Field(default="", description="The judge's words.")

    @property
    def better(self) -> Side:
        """The answer that stood in the preferred place."""
        if self.said == "tie":
            return "tie"
        return "first" if (self.said == "A") == (self.order == FORWARD) else "second"


class PairwiseResult(Record):
    """Both readings and what follows: a suggestion that never decides for a person."""

    winner: Side = Field(description="The answer preferred in both orders, else tie.")
    is_consistent: bool = Field(description="False when the two readings disagree.")
    verdicts: tuple[OrderVerdict, OrderVerdict] = Field(description="Forward, then swapped.")
    prompt_version: str = Field(default="", description="Version of the judge's texts.")

    @property
    def reason(self) -> str:
        """What the judge said, in words that name the answers by place of the reading."""
        return "\n".join(f"({v.order}) {v.said}: {v.reason}" for v in self.verdicts)


def pairwise_requests(
    key: str,
    conversation: Sequence[Message],
    first: str,
    second: str,
    *,
    prompt: PairwisePrompt | None = None,
    reference: str = "",
    sampling: SamplingParams = JUDGE_SAMPLING,
) -> tuple[ChatRequest, ChatRequest]:
    """Ask a judge twice: `<key>/forward` shows `first` as A, `<key>/swapped` shows it as B."""
    used = prompt or load_pairwise()

    def ask(order: Order, a: str, b: str) -> ChatRequest:
        texts = {"answer_a": a, "answer_b": b}
        return ChatRequest(
            key=f"{key}/{order}",
            messages=fill(used, conversation, texts, reference),
            response_schema=_SCHEMA,
            sampling=sampling,
        )

    return ask(FORWARD, first, second), ask(SWAPPED, second, first)


def read_pairwise(
    forward: str, swapped: str, prompt: PairwisePrompt | None = None
) -> PairwiseResult:
    """The result of a judge's two replies.

    Raises:
        Unreadable: One of them names no answer, or both; says which.
    """
    return combine(
        read_verdict(forward, FORWARD),
        read_verdict(swapped, SWAPPED),
        (prompt or load_pairwise()).version,
    )


def read_verdict(text: str, order: Order) -> OrderVerdict:
    """The verdict in one reply: JSON, [[A]], or words like "Answer A is better".

    Raises:
        Unreadable: No place is named, or different ones are.
    """
    value = read_object(text)
    named: Any = value.get("better", value.get("winner")) if value else None
    if value is not None and named is not None:
        match = _ALONE.fullmatch(plain(str(named)))
        found, reason = {match.group(1)} if match else set(), str(value.get("reason", ""))
    else:
        found, reason = _from_words(text), text.strip()
    said: set[Literal["A", "B", "tie"]] = {
        "A" if one in "aA" else "B" if one in "bB" else "tie" for one in found
    }
    if len(said) != 1:
        problem = "names several answers as better" if said else "does not say which is better"
        raise Unreadable(f"The judge's reply ({order} order) {problem}.")
    return OrderVerdict(order=order, said=said.pop(), reason=reason)


def combine(
    forward: OrderVerdict, swapped: OrderVerdict, prompt_version: str = ""
) -> PairwiseResult:
    """A win only where both readings prefer the same answer; otherwise a tie."""
    is_consistent = forward.better == swapped.better
    return PairwiseResult(
        winner=forward.better if is_consistent else "tie",
        is_consistent=is_consistent,
        verdicts=(forward, swapped),
        prompt_version=prompt_version,
    )


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "better": {"type": "string", "enum": ["A", "B", "tie"]},
    },
    "required": ["reason", "better"],
    "additionalProperties": False,
}


def _from_words(text: str) -> set[str]:
    bare = plain(text)
    if match := _ALONE.fullmatch(bare):
        return {match.group(1)}
    for pattern in (_MARKED, _SAYS, _IS_BETTER):
        if found := set(pattern.findall(bare)):
            return found
    return set()
