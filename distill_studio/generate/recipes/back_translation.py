"""Instruction back-translation: the request that a passage of a document answers.

Humpback (arXiv 2308.06259): a model writes the instruction for a text that people wrote
(self-augmentation), then rates the pair from 1 to 5, and only what it rates best is kept
(self-curation). The answer is the passage as it stands; no model wrote it.
"""

import re
from collections.abc import Generator, Mapping
from typing import Any

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Message, Seed
from distill_studio.core.words import words
from distill_studio.generate.asides import (
    as_request,
    copied_share,
    is_assistants,
    is_like_one,
    plain,
    read_shots,
    steady,
)
from distill_studio.generate.effects import (
    ELIMINATED,
    UNREADABLE,
    Ask,
    Draft,
    Dropped,
    Made,
    Nearest,
    Novel,
    Steps,
    Unit,
)
from distill_studio.generate.prompts import fill, load_prompts
from distill_studio.generate.recipes.base import Settings, user, with_system
from distill_studio.judge import load_rubric, read_scores
from distill_studio.judge.prompts import Aspect, Rubric

INSTRUCTION = "instruction"
RATE = "rate"
AUTHOR = "document"  # who wrote the answer, where other recipes name a teacher
LIKE = 0.9  # ROUGE-L from which a request is one that there is
FEWEST_WORDS = 3
MOST_WORDS = 150
_COPIED_RUN = 5  # words in a row that are a quotation
_MOST_COPIED = 0.5  # of a request's words
_KEPT = ("document", "part", "of")  # of a seed's columns
_CUT = "length"
_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["reason", "score"],
    "additionalProperties": False,
}
_SORRY = re.compile(r"i(?:['’]m|\ am)\ sorry\b|i\ apologi[sz]e\b|sorry,", re.I | re.VERBOSE)
_TEXT = r"(?:text|passage|paragraph|article|document|excerpt|extract|snippet|section|chapter)s?"
_POINTS = re.compile(
    rf"""\b(?:(?:the|this|that|your|following|above|given|provided|preceding)\s+)+{_TEXT}\b
      |\b{_TEXT}\s+(?:above|below)\b
      |\b(?:above|below|following|preceding)[-\s](?:mentioned\b|described\b|{_TEXT}\b)
      |\b(?:mentioned|described|given|shown|listed)\s+(?:above|below)\b
      |\baccording\s+to\s+(?:the|this)\s+(?:author|writer|{_TEXT})\b""",
    re.IGNORECASE | re.VERBOSE,
)


class BackTranslation:
    """From each passage one request, kept where the passage answers it well."""

    prompts = load_prompts("back_translation")

    def samples(self, n: int) -> int:
        """One request."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """The request, its rules, the rating, the comparison with all others."""
        passage = unit.seed.prompt
        asked = _instruction(passage, settings.texts)
        reply = yield Ask(INSTRUCTION, asked, sampling=plain(settings.sampling))
        request = as_request(reply.text)
        wrong = wrong_with(request, passage, is_cut=reply.finish_reason == _CUT)
        if not wrong and _is_of_example(request, settings.texts["shots"]):
            wrong = "is that of an example"
        if wrong:
            raise Dropped(INSTRUCTION, ELIMINATED, f"The request {wrong}.", reply.text)
        score, reason = yield from _rated(request, unit, settings)
        least = settings.number("least_score")
        if score < least:
            said = f"The passage answers its request with a score of {score}, below {least}."
            raise Dropped(INSTRUCTION, ELIMINATED, said, f"{request}\n\n{reason}")
        nearest: Nearest = yield Novel(request, LIKE)
        if not nearest.is_new:
            like = f"The request is too like another one: {nearest.text}"
            raise Dropped(INSTRUCTION, ELIMINATED, like, request)
        rated = {"rated_by": settings.judge or unit.teacher, "rating": reason}
        return Made((_draft(request, score, reply, unit, settings, rated),))


def wrong_with(request: str, passage: str, *, is_cut: bool = False) -> str:
    """Why a text is no request that somebody could make who does not know the passage."""
    count = len(words(request))
    if is_cut:
        return "was cut off"
    if count < FEWEST_WORDS:
        return f"is shorter than {FEWEST_WORDS} words"
    if count > MOST_WORDS or count > len(words(passage)):
        return f"is longer than {MOST_WORDS} words, or than the passage"
    if is_assistants(request) or _SORRY.match(request):
        return "is no request, but what an assistant says"
    if _POINTS.search(request):
        return "speaks of the passage, which whoever asks does not know"
    if copied_share(request, passage, _COPIED_RUN) > _MOST_COPIED:
        return "is copied from the passage"
    return ""


def _is_of_example(request: str, shots: str) -> bool:
    """Whether a request is an example's, or copied from an example's passage."""
    shown = read_shots(shots)
    return is_like_one(request, [requests[0] for _, requests in shown]) or any(
        copied_share(request, passage, _COPIED_RUN) > _MOST_COPIED for passage, _ in shown
    )


def _rated(
    request: str, unit: Unit, settings: Settings
) -> Generator[Ask, ChatReply, tuple[int, str]]:
    """(score, reason) of the pair."""
    reply = yield Ask(
        RATE,
        _rating(request, unit.seed.prompt, settings.texts),
        sampling=steady(unit, settings.sampling),
        schema=_SCHEMA,
        teacher=settings.judge,
    )
    try:
        scores = read_scores(reply.text, _one_score())
    except Unreadable as err:
        raise Dropped(RATE, UNREADABLE, err.user_message, reply.text) from err
    ratings = [replies[0] for _, replies in read_shots(settings.texts["rate_shots"])]
    if is_like_one(scores.reason, ratings):
        reason = "The rating repeats that of an example, so it says nothing of this answer."
        raise Dropped(RATE, UNREADABLE, reason, reply.text)
    return scores.scores["score"], scores.reason


def _instruction(passage: str, texts: Mapping[str, str]) -> tuple[Message, ...]:
    """The question, after others that were answered: models of any size follow these."""
    messages: list[Message] = []
    for shown, (request, *_) in read_shots(texts["shots"]):
        messages += user(fill(texts["instruction"], passage=shown))
        messages.append(Message(role="assistant", content=request))
    return (*messages, *user(fill(texts["instruction"], passage=passage)))


def _rating(request: str, passage: str, texts: Mapping[str, str]) -> tuple[Message, ...]:
    messages: list[Message] = []
    for shown, (rating, *_) in read_shots(texts["rate_shots"]):
        asked, _, answer = shown.partition("\n\n")
        messages += user(fill(texts["rate"], instruction=asked, passage=answer.strip()))
        messages.append(Message(role="assistant", content=rating))
    return (*messages, *user(fill(texts["rate"], instruction=request, passage=passage)))


def _one_score() -> Rubric:
    """How a single score is read."""
    aspect = Aspect(name="score", label="Score", question="", levels=("1", "2", "3", "4", "5"))
    return load_rubric().model_copy(update={"name": "humpback", "aspects": (aspect,)})


def _draft(
    request: str,
    score: int,
    reply: ChatReply,
    unit: Unit,
    settings: Settings,
    rated: dict[str, Any],
) -> Draft:
    kept = {name: unit.seed.extra[name] for name in _KEPT if name in unit.seed.extra}
    seed = Seed(messages=user(request), topic=unit.seed.topic, extra=dict(kept))
    return Draft(
        ChatReply(key=reply.key, text=unit.seed.prompt),  # no model wrote it, so none is named
        with_system(seed.messages, settings.system_prompt),
        seed=seed,
        teacher=AUTHOR,
        judge_score=float(score),
        params={**kept, **rated, "request_by": unit.teacher, "request_model": reply.model},
    )
