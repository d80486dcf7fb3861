"""Scores from 1 to 5 in each aspect of a rubric. Start: `rubric_request`, then `read_scores`."""

import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from distill_studio.core.lenient_json import Ambiguous, Unreadable, read_json
from distill_studio.core.protocols import ChatRequest, SamplingParams
from distill_studio.core.records import Message, Record
from distill_studio.judge.prompts import Aspect, Rubric, fill, load_rubric
from distill_studio.judge.reading import plain

JUDGE_SAMPLING = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=512)
BEST = 5
# A score as models write it; nothing like "1-5", "4.5", "8/10" or "12".
_SCORE = (
    r"(?<![\d./-])(?P<score>[1-5])(?:\.0)?(?![\d.]*\d)(?! ?(?:-|–|to|or|,) ?\d)"
    r"(?: ?(?:/|out of|of) ?5\b)?(?! ?(?:/|out of) ?\d)"
)
_SAID = rf"[\s(\[]{{0,6}}{_SCORE}"
_ALONE = re.compile(rf"{_SAID}[\s)\].]{{0,6}}")
_OVERALL = re.compile(
    rf"\b(?:score|rating|grade|overall)\b ?(?:is|of|[:=-])?{_SAID}", re.IGNORECASE
)


class Scores(Record):
    """What a judge made of one answer: a suggestion that never decides for a person."""

    scores: dict[str, int] = Field(description="Aspect to 1 (worst) to 5 (best).")
    reason: str = Field(default="", description="The judge's words.")
    rubric: str = Field(default="rubric", description="Key of the rubric.")
    rubric_version: str = Field(default="", description="Its version.")

    @property
    def overall(self) -> float:
        """The mean of the aspects, 1 to 5."""
        return fmean(self.scores.values())


def rubric_request(
    key: str,
    conversation: Sequence[Message],
    answer: str,
    *,
    rubric: Rubric | None = None,
    reference: str = "",
    sampling: SamplingParams = JUDGE_SAMPLING,
) -> ChatRequest:
    """Ask a judge to score one answer in all aspects at once.

    Args:
        key: Of the request.
        conversation: What was asked; ends with a user turn.
        answer: The answer to it.
        rubric: Texts and aspects; `load_rubric()` unless given (`.only([...])` for some aspects).
        reference: An answer known to be right, if any.
        sampling: Greedy unless given.
    """
    used = rubric or load_rubric()
    texts = {
        "answer": answer,
        "aspects": "\n\n".join(_in_words(aspect) for aspect in used.aspects),
        "names": ", ".join(f'"{name}"' for name in ("reason", *_names(used))),
    }
    return ChatRequest(
        key=key,
        messages=fill(used, conversation, texts, reference),
        response_schema=_schema(used),
        sampling=sampling,
    )


def read_scores(text: str, rubric: Rubric | None = None) -> Scores:
    """The scores in a judge's reply: JSON, or lines like "Honesty: 4/5".

    Nothing is made up: a missing aspect, a number outside 1 to 5, or two different scores for one
    aspect make the whole reply unreadable.

    Raises:
        Unreadable: Says which aspect is missing or wrong.
    """
    used = rubric or load_rubric()
    value = _object(text)
    scores = _from_object(value, used) if value is not None else {}
    reason = _reason(value) if value is not None and scores else text.strip()
    if len(scores) < len(used.aspects):
        scores = _from_lines(text, used) | scores
    missing = [aspect.label for aspect in used.aspects if aspect.name not in scores]
    if missing:
        raise Unreadable(f"The judge gave no score from 1 to 5 for {', '.join(missing)}.")
    return Scores(
        scores={name: scores[name] for name in _names(used)},
        reason=reason,
        rubric=used.name,
        rubric_version=used.version,
    )


def _names(rubric: Rubric) -> list[str]:
    return [aspect.name for aspect in rubric.aspects]


def _in_words(aspect: Aspect) -> str:
    levels = "\n".join(f"{n} = {level}" for n, level in enumerate(aspect.levels, start=1))
    return f'{aspect.label} ("{aspect.name}"): {aspect.question}\n{levels}'


def _schema(rubric: Rubric) -> dict[str, Any]:
    score = {"type": "integer", "minimum": 1, "maximum": BEST}
    names = _names(rubric)
    return {
        "type": "object",
        "properties": {"reason": {"type": "string"}, **dict.fromkeys(names, score)},
        "required": ["reason", *names],
        "additionalProperties": False,
    }


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object of a reply; None when it holds none and may hold lines instead."""
    try:
        value = read_json(text)
    except Ambiguous:
        raise
    except Unreadable:
        return None
    return value if isinstance(value, dict) else None


def _from_object(value: dict[str, Any], rubric: Rubric) -> dict[str, int]:
    """Scores by aspect; for the only aspect of a rubric also one called score or rating."""
    flat = {_plain_name(name): inner for name, inner in value.items()}
    for holder in ("scores", "ratings"):
        inner = flat.get(holder)
        if isinstance(inner, dict):
            flat |= {_plain_name(name): item for name, item in inner.items()}
    scores: dict[str, int] = {}
    for aspect in rubric.aspects:
        said = next((flat[n] for n in _known_names(aspect, rubric) if n in flat), None)
        if said is not None:
            scores[aspect.name] = _score(said, aspect)
    return scores


def _known_names(aspect: Aspect, rubric: Rubric) -> list[str]:
    names = [aspect.name, _plain_name(aspect.label)]
    return [*names, "score", "rating", "overall"] if len(rubric.aspects) == 1 else names


def _score(value: object, aspect: Aspect) -> int:
    if isinstance(value, dict):
        flat = {_plain_name(name): inner for name, inner in value.items()}
        value = flat.get("score", flat.get("rating"))
    if isinstance(value, int | float) and not isinstance(value, bool) and value in range(1, 6):
        return int(value)
    if isinstance(value, str) and (match := _ALONE.fullmatch(plain(value))):
        return int(match["score"])
    raise Unreadable(f"{aspect.label} is {str(value)[:40]!r}, not a whole number from 1 to 5.")


def _reason(value: dict[str, Any]) -> str:
    flat = {_plain_name(name): inner for name, inner in value.items()}
    said = next((flat[n] for n in ("reason", "rationale", "explanation") if n in flat), "")
    return said if isinstance(said, str) else ""


def _from_lines(text: str, rubric: Rubric) -> dict[str, int]:
    scores: dict[str, int] = {}
    bare = plain(text)
    for aspect in rubric.aspects:
        found = {int(match["score"]) for match in _pattern(aspect).finditer(bare)}
        if not found and len(rubric.aspects) == 1:
            found = _single(bare)
        if len(found) > 1:
            raise Ambiguous(f"The judge gave several different scores for {aspect.label}.")
        if found:
            scores[aspect.name] = found.pop()
    return scores


def _single(text: str) -> set[int]:
    """The score of a reply about one aspect: "Score: 4", or the number alone."""
    found = {int(match["score"]) for match in _OVERALL.finditer(text)}
    if not found and (match := _ALONE.fullmatch(text)):
        found = {int(match["score"])}
    return found


def _pattern(aspect: Aspect) -> re.Pattern[str]:
    parts = (re.split(r"[\s_-]+", one) for one in (aspect.label, aspect.name))
    name = "|".join("[ -]".join(map(re.escape, words)) for words in parts)
    return re.compile(
        rf"\b(?:{name})\b[ )]{{0,2}}[:=(-]{{1,2}} ?(?:(?:score|rating)\b ?(?:is|of|[:=])?)?{_SAID}",
        re.IGNORECASE,
    )


def _plain_name(name: str) -> str:
    return re.sub(r"[^a-z]+", "_", name.lower()).strip("_")
