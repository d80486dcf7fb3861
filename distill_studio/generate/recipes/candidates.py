"""Several answers to one seed from several teachers, and what a judge makes of them."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatReply, ChatRequest
from distill_studio.core.records import Message
from distill_studio.generate.effects import EMPTY_ANSWER, Ask, Draft, Dropped, Unit
from distill_studio.generate.recipes.base import Settings, with_examples, with_system
from distill_studio.judge import (
    PairwiseResult,
    Scores,
    pairwise_requests,
    read_pairwise,
    read_scores,
    rubric_request,
)

_LASTING = {"context_too_long"}  # the same whenever it is asked
CANDIDATE = "candidate"
SCORE = "score"
COMPARE = "compare"
Asking = Generator[tuple[Ask, ...], tuple[ChatReply, ...], Any]


@dataclass(frozen=True)
class Candidate:
    """One answer. `place` counts over teachers and their samples."""

    place: int
    teacher: str
    reply: ChatReply
    messages: tuple[Message, ...]
    score: float | None = None  # higher is better
    judged: dict[str, Any] | None = None  # what the judge said

    def draft(self, **params: Any) -> Draft:  # noqa: ANN401
        """The pair to be."""
        judged = {} if self.judged is None else {"judged": self.judged}
        return Draft(
            self.reply,
            self.messages,
            sample=self.place,
            teacher=self.teacher,
            judge_score=self.score,
            params=judged | params,
        )


def ask_candidates(
    unit: Unit, settings: Settings, each: int
) -> Generator[tuple[Ask, ...], tuple[ChatReply, ...], list[Candidate]]:
    """`each` answers of every teacher to the seed. One that is too long a prompt, or empty, lacks.

    Raises:
        Dropped: A teacher could not be reached, or none answered.
    """
    messages = with_system(unit.seed.messages, settings.system_prompt)
    sent = with_examples(messages, settings.examples, unit.seed.id)
    teachers = [name for name in settings.teachers for _ in range(each)]
    replies = yield tuple(
        Ask(f"{CANDIDATE}/{place}", sent, teacher=name, may_fail=True)
        for place, name in enumerate(teachers)
    )
    found = []
    for place, (teacher, reply) in enumerate(zip(teachers, replies, strict=True)):
        if reply.is_ok and reply.text.strip():
            found.append(Candidate(place, teacher, reply, messages))
        elif reply.error_code not in _LASTING:
            raise_if_failed(f"{CANDIDATE}/{place}", reply)
    if not found:
        reason = replies[0].error or "All answers were empty."
        raise Dropped(f"{CANDIDATE}/0", replies[0].error_code or EMPTY_ANSWER, reason)
    return found


def raise_if_failed(step: str, reply: ChatReply) -> None:
    """A reply that failed in passing is asked again on retry; what came beside it is stored.

    Raises:
        Dropped: It failed.
    """
    if not reply.is_ok:
        raise Dropped(step, reply.error_code, reply.error)


def different(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Equal answers once, the first of them."""
    found: dict[str, Candidate] = {}
    for candidate in candidates:
        found.setdefault(candidate.reply.text.strip(), candidate)
    return list(found.values())


def score_all(candidates: Sequence[Candidate], unit: Unit, settings: Settings) -> Asking:
    """The candidates with the judge's mean score, 1 to 5; None where its reply is unreadable."""
    conversation, reference = unit.seed.messages, unit.seed.reference or ""
    requests = [
        rubric_request("", conversation, c.reply.text, reference=reference) for c in candidates
    ]
    asks = zip(candidates, requests, strict=True)
    replies = yield tuple(_judge(f"{SCORE}/{c.place}", r, settings) for c, r in asks)
    judge = settings.judge or unit.teacher
    for c, reply in zip(candidates, replies, strict=True):
        raise_if_failed(f"{SCORE}/{c.place}", reply)
    return [_scored(c, reply, judge) for c, reply in zip(candidates, replies, strict=True)]


def _scored(candidate: Candidate, reply: ChatReply, judge: str) -> Candidate:
    judged: dict[str, Any] = {"judge": judge, "model": reply.model}
    try:
        scores: Scores = read_scores(reply.text)
    except Unreadable as err:
        return _with(candidate, None, judged | {"unreadable": str(err)})
    return _with(
        candidate,
        scores.overall,
        judged | scores.model_dump(mode="json"),
    )


def compare_all(candidates: Sequence[Candidate], unit: Unit, settings: Settings) -> Asking:
    """The candidates with their share of wins, 0 to 1; every two compared in both orders.

    A tie, and a verdict that changes with the order, gives each half a win. A comparison whose
    replies are unreadable counts for neither.
    """
    conversation, reference = unit.seed.messages, unit.seed.reference or ""
    asks: list[Ask] = []
    couples = list(combinations(candidates, 2))
    for a, b in couples:
        both = pairwise_requests("", conversation, a.reply.text, b.reply.text, reference=reference)
        for order, request in zip(("forward", "swapped"), both, strict=True):
            asks.append(_judge(f"{COMPARE}/{a.place}-{b.place}/{order}", request, settings))
    replies = yield tuple(asks)
    for ask, reply in zip(asks, replies, strict=True):
        raise_if_failed(ask.step, reply)
    wins: dict[int, list[float]] = {c.place: [] for c in candidates}
    said: dict[int, list[dict[str, Any]]] = {c.place: [] for c in candidates}
    for (a, b), forward, swapped in zip(couples, replies[::2], replies[1::2], strict=True):
        result = _read(forward, swapped)
        for one, other, side in ((a, b, "first"), (b, a, "second")):
            told: dict[str, Any] = {"against": other.place}
            if result is not None:
                wins[one.place].append(_points(result, side))
                told |= {"winner": result.winner, "consistent": result.is_consistent}
            said[one.place].append(told)
    model = next((reply.model for reply in replies if reply.model), "")
    return [
        _with(
            c,
            sum(wins[c.place]) / len(wins[c.place]) if wins[c.place] else None,
            {"judge": settings.judge or unit.teacher, "model": model, "compared": said[c.place]},
        )
        for c in candidates
    ]


def _read(forward: ChatReply, swapped: ChatReply) -> PairwiseResult | None:
    try:
        return read_pairwise(forward.text, swapped.text)
    except Unreadable:
        return None


def _points(result: PairwiseResult, side: str) -> float:
    if result.winner == "tie":
        return 0.5
    return 1.0 if result.winner == side else 0.0


def _judge(step: str, request: ChatRequest, settings: Settings) -> Ask:
    return Ask(
        step,
        request.messages,
        sampling=request.sampling,
        schema=request.response_schema,
        teacher=settings.judge,
        may_fail=True,
    )


def _with(candidate: Candidate, score: float | None, judged: dict[str, Any]) -> Candidate:
    return Candidate(
        candidate.place, candidate.teacher, candidate.reply, candidate.messages, score, judged
    )


def best_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those with a score, best first; equal ones in the order in which they were asked."""
    scored = [c for c in candidates if c.score is not None]
    return sorted(scored, key=lambda c: (-(c.score or 0.0), c.place))
