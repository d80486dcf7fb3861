"""What the review bench gets of a pair: light, and everything in plain text.

Start from `bench_record`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from distill_studio.core.records import Curation, Message, Pair, PairStatus, Record

CUT_OFF = "Cut off at the token limit"  # the mark of such an answer, the same on every page
LONGEST_WORDS = 400  # characters of what a judge or a verifier said
_FAILS, _CUT = "Wrong or made up", "Incomplete or cut off"  # of the standard reasons
_CURATION_HINTS = {Curation.FILTERED: "Filtered out", Curation.DUPLICATE: "Near-duplicate"}


class BenchRecord(Record):
    """One record on the screen of the review bench."""

    id: str = Field(description="The pair's id.")
    messages: tuple[Message, ...] = Field(description="The conversation before the answer.")
    answer: str = Field(description="The teacher's answer, as written.")
    edited_answer: str | None = Field(default=None, description="A person's edit, if any.")
    reasoning: str = Field(default="", description="Chain of thought, shown folded.")
    topic: str = Field(default="", description="Topic label.")
    status: PairStatus = Field(description="Decided how, now.")
    reject_reason: str = Field(default="", description="Why it was rejected.")
    decided_by: str = Field(default="", description="Who decided.")
    decided_at: datetime | None = Field(default=None, description="When, UTC.")
    provenance: str = Field(description="Teacher, recipe, settings, length: one line.")
    is_generated: bool = Field(default=False, description="A generation made it, not an import.")
    hints: tuple[str, ...] = Field(default=(), description="Flags of filters; they never decide.")
    judge_score: float | None = Field(default=None, description="A hint only.")
    judge_words: str = Field(default="", description="What the judge said of it; a hint only.")
    verdict: Literal["", "passes", "fails"] = Field(default="", description="Of a verifier.")
    verdict_note: str = Field(default="", description="What the verifier found.")
    suggested_reason: str = Field(default="", description="To reject it for; never decides.")
    candidates: int = Field(default=1, description="Answers to the same seed, this one included.")
    candidate: int = Field(default=1, description="Which of them this is, by age.")
    note: str = Field(default="", description="The asking person's own note.")
    tags: tuple[str, ...] = Field(default=(), description="The asking person's own tags.")


class RelatedRow(Record):
    """A row beside another one: a second answer to its prompt, or a near-duplicate."""

    id: str = Field(description="The pair's id.")
    prompt: str = Field(description="Its last user message.")
    answer: str = Field(description="Its answer as it counts, edits included.")
    status: PairStatus = Field(description="Decided how, now.")
    judge_score: float | None = Field(default=None, description="A hint only.")
    field: str = Field(default="", description="What is alike: prompt, answer or both.")
    similarity: float | None = Field(default=None, description="Cosine; 1 for the same text.")


class Related(Record):
    """What to look at beside a row."""

    candidates: tuple[RelatedRow, ...] = Field(description="Other answers to the same prompt.")
    near: tuple[RelatedRow, ...] = Field(description="Near-duplicates, the most alike first.")
    is_compared: bool = Field(description="Whether near-duplicates were searched at all.")


def bench_record(
    pair: Pair,
    candidate: int = 1,
    candidates: int = 1,
    checked: tuple[bool, str] | None = None,
) -> BenchRecord:
    """The record for a pair that is number `candidate` of `candidates` answers to its seed.

    Args:
        pair: The pair.
        candidate: Its number among them, by age.
        candidates: How many there are.
        checked: Whether the answer holds, and what was found; None when nothing checked it. A
            verdict on the teacher's words says nothing of a person's edit, so that it is left out.
    """
    holds, found = checked if checked and pair.edited_answer is None else (None, "")
    return BenchRecord(
        id=pair.id,
        messages=pair.messages,
        answer=pair.answer,
        edited_answer=pair.edited_answer,
        reasoning=pair.reasoning,
        topic=pair.topic,
        status=pair.status,
        reject_reason=pair.reject_reason,
        decided_by=pair.decided_by,
        decided_at=pair.decided_at,
        provenance=provenance_line(pair),
        is_generated=bool(pair.job_id and pair.teacher and pair.recipe != "import"),
        hints=hints(pair),
        judge_score=pair.judge_score,
        judge_words=_judge_words(pair),
        verdict="" if holds is None else "passes" if holds else "fails",
        verdict_note=found[:LONGEST_WORDS],
        suggested_reason=_suggested_reason(pair, holds=holds),
        candidates=candidates,
        candidate=candidate,
    )


def provenance_line(pair: Pair) -> str:
    """Where a pair comes from, in one line: `smollm2 · direct v1 · temperature 0.7 · 84 tokens`."""
    version = pair.recipe_version.removeprefix("v")
    recipe = pair.recipe.replace("_", " ") + (f" v{version}" if version else "")
    if pair.recipe == "import":
        recipe = f"imported from {pair.source}" if pair.source else "imported"
    parts = [
        pair.teacher,
        pair.model if pair.model != pair.teacher else "",
        recipe,
        *(f"{name.replace('_', ' ')} {value}" for name, value in _shown_params(pair)),
        f"{pair.completion_tokens} tokens" if pair.completion_tokens is not None else "",
        f"{pair.latency_ms / 1000:.1f} s" if pair.latency_ms is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def hints(pair: Pair) -> tuple[str, ...]:
    """What filters and the reply itself suggest, in words."""
    found = []
    if pair.curation is not Curation.KEPT:
        label = _CURATION_HINTS[pair.curation]
        found.append(f"{label}: {pair.curation_reason}" if pair.curation_reason else label)
    if pair.finish_reason == "length":
        found.append(CUT_OFF)
    if not pair.answer.strip():
        found.append("The answer is empty")
    return tuple(found)


def _judge_words(pair: Pair) -> str:
    judged = pair.params.get("judged")
    said = judged.get("reason", "") if isinstance(judged, Mapping) else ""
    return said[:LONGEST_WORDS] if isinstance(said, str) else ""


def _suggested_reason(pair: Pair, *, holds: bool | None) -> str:
    if holds is False:
        return _FAILS
    return _CUT if pair.finish_reason == "length" else ""


def _shown_params(pair: Pair) -> list[tuple[str, str | int | float]]:
    shown = []
    for name in ("temperature", "top_p", "seed"):
        value = pair.params.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            shown.append((name, value))
    return shown
