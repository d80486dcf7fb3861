"""What the forms of the report have in common: labels, shares, the parts as rows of cells."""

from collections.abc import Sequence

from distill_studio.core.embedding_models import is_static
from distill_studio.curate.dataset_report.records import (
    REJECTED,
    CameIn,
    Checked,
    DatasetReport,
    Lengths,
    NearSettings,
    ScoreBin,
    Stays,
    Teacher,
    TopicLine,
)
from distill_studio.curate.filters import FILTERS

_LABELS = {
    REJECTED: "Rejected by people",
    "exact": "Same text as another row",
    "near": "Near-duplicate of another row",
}
_FIELDS = {"prompt": "prompts", "answer": "answers", "both": "prompts and answers"}
_KINDS = {
    "benchmark": "",
    "validation": "own: validation split",
    "prompts": "own: evaluation prompts",
}


def reason_label(code: str) -> str:
    """A reason in words."""
    if code in _LABELS:
        return _LABELS[code]
    return FILTERS[code].label if code in FILTERS else code.replace("_", " ").capitalize()


def number(value: float) -> str:
    """A count with thousands."""
    return f"{value:,.0f}"


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent, with a decimal where it is small."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.1f}%" if 0 < percent < 10 else f"{percent:.0f}%"


def summary(report: DatasetReport) -> str:
    """The page in one sentence."""
    total, stay = report.came_in.rows, report.stays.rows
    if not total:
        return "There is no row yet."
    largest = report.gone[:1]
    why = f"; most went as: {largest[0].label.lower()}" if largest else ""
    return f"{number(stay)} of {number(total)} rows stay ({share(stay, total)}){why}."


def cells_of_teachers(teachers: Sequence[Teacher]) -> list[list[str]]:
    """Teacher, models, rows, kept, terms."""
    return [
        [
            one.name or "not named",
            ", ".join(one.models) or "–",
            number(one.rows),
            number(one.kept),
            one.licence_note or "not stated",
        ]
        for one in teachers
    ]


def facts_of_seeds(came: CameIn) -> str:
    """Prompts in a sentence."""
    sources = ", ".join(
        f"{one.name or 'no source'} {number(one.rows)}" for one in came.seed_sources
    )
    text = f"{number(came.seeds)} prompts, {number(came.unanswered)} of them without an answer"
    text += f" (largest sources: {sources})." if sources else "."
    if came.failures:
        text += f" {number(came.failures)} requests gave no answer."
    return text


def facts_of_review(stays: Stays) -> list[tuple[str, str]]:
    """The state of review, as name and number."""
    facts = [
        ("accepted", number(stays.accepted)),
        ("of them edited", number(stays.edited)),
        ("not decided", number(stays.pending)),
        ("reviewers", number(stays.reviewers)),
    ]
    words = next((one for one in stays.lengths if one.what.startswith("answers")), None)
    if words:
        facts.append(("words in answers", number(words.total)))
    if stays.counted_rows:
        known = (
            "" if stays.counted_rows == stays.rows else f" (of {number(stays.counted_rows)} rows)"
        )
        facts.append((f"answer tokens{known}", number(stays.answer_tokens)))
    return facts


def cells_of_lengths(lengths: Sequence[Lengths]) -> list[list[str]]:
    """What, mean, quantiles, longest."""
    return [
        [
            one.what,
            number(one.mean),
            *(number(value) for value in (one.p5, one.p25, one.median, one.p75, one.p95)),
            number(one.longest),
        ]
        for one in lengths
    ]


LENGTH_COLUMNS = ("", "Mean", "5%", "25%", "Median", "75%", "95%", "Longest")


def cells_of_topics(topics: Sequence[TopicLine]) -> list[list[str]]:
    """Topic, rows, gone, share, stays, the main reasons."""
    return [
        [
            one.topic or "no topic",
            number(one.total),
            number(one.removed),
            share(one.removed, one.total),
            number(one.kept),
            ", ".join(
                f"{reason_label(code).lower()} {number(count)}"
                for code, count in list(one.by_reason.items())[:3]
            ),
        ]
        for one in topics
    ]


TOPIC_COLUMNS = ("Topic", "Rows", "Gone", "Share", "Stay", "Mostly as")


def cells_of_checks(checked: Sequence[Checked]) -> list[list[str]]:
    """Benchmark, items, rows hit, items hit, left in, reworded candidates, unchecked."""
    return [
        [
            f"{one.name} ({_KINDS[one.kind]})" if _KINDS.get(one.kind) else one.name,
            number(one.items),
            number(one.rows_hit),
            number(one.items_hit),
            number(one.kept_hit),
            _candidates(one),
            number(one.unchecked),
        ]
        for one in checked
    ]


CHECK_COLUMNS = (
    "Benchmark",
    "Items",
    "Rows with an item",
    "Items found",
    "Leaks that stay",
    "Reworded candidates",
    "Not checked",
)


def _candidates(one: Checked) -> str:
    judged = one.leaks + one.not_leaks
    if not (judged or one.open):
        return "none looked for, or none found"
    text = f"{number(judged)} judged by people ({number(one.leaks)} leaks), {number(one.open)} open"
    if one.model_read:
        text += f"; of these {', '.join(one.models)} read {number(one.model_read)} and called"
        text += f" {number(one.model_leaks)} leaks"
    return text


CHECK_RULES = (
    "Word for word: 13 words in a row, more than half of an item in runs of 8 words, short items"
    " whole, in prompts, answers and reasoning. Reworded: the nearest prompts by embedding, read by"
    " people or a model; none goes without a person's verdict, or a model's where that is set."
)


def facts_of_near(near: NearSettings) -> str:
    """How near-duplicates were looked for, in a sentence."""
    what = _FIELDS.get(near.field, near.field)
    if not near.model:
        return f"Equal {what} only (case, space and punctuation apart); meanings were not compared."
    kind = " (a fast static copy)" if is_static(near.model) else ""
    text = f"{what.capitalize()} compared by {near.model}{kind}, the same from a cosine of"
    text += f" {near.threshold:.2f} up; one of each group stays."
    if near.uncompared:
        text += f" {number(near.uncompared)} rows are not compared yet."
    return text


def score_range(one: ScoreBin) -> str:
    """The scores of a bar."""
    if one.start == one.stop:
        return f"{one.start:g}"
    return f"{one.start:.2f} to {one.stop:.2f}"
