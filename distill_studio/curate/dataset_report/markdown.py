"""The report as Markdown, for a file of its own and for the card of a snapshot."""

import re
from collections.abc import Sequence

from distill_studio.curate.dataset_report import words as w
from distill_studio.curate.dataset_report.records import (
    CameIn,
    Counted,
    DatasetReport,
    GoneExample,
    Stays,
)

_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~!$&])")


def report_markdown(report: DatasetReport, *, level: int = 1, with_examples: bool = True) -> str:
    """The whole report.

    Args:
        report: What is known.
        level: Of its first heading: 1 for a file, more inside another document.
        with_examples: Rows that went, quoted. A card that is published leaves them out: they are
            what was to be removed.
    """
    sub = "#" * (level + 1)
    parts = [
        f"{'#' * level} Report on the dataset {_text(report.workspace)}",
        f"{_text(w.summary(report))} Made {report.made_at:%Y-%m-%d %H:%M} UTC with Distill Studio"
        f" {report.version}.",
        *[f"- **Look at this:** {_text(one)}" for one in report.warnings],
        f"{sub} What came in",
        *_came_in(report.came_in),
        f"{sub} Teachers and their terms",
        _table(
            ("Teacher", "Model", "Rows", "Stay", "Terms"),
            w.cells_of_teachers(report.came_in.teachers),
        )
        or "Nobody: no answer is there.",
        f"{sub} What went, and why",
        _gone(report),
        f"{sub} By topic",
        _topics(report),
        f"{sub} What stays",
        *_stays(report.stays),
        f"{sub} What it was checked against",
        *_checks(report),
        f"{sub} How it was curated",
        *_curated(report),
    ]
    if with_examples and report.examples:
        parts += [f"{sub} Rows that went", *_examples(report.examples)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _came_in(came: CameIn) -> list[str]:
    columns = ("Rows", "Stay")
    more = f"And {w.number(came.more_sources)} more sources." if came.more_sources else ""
    return [
        _text(w.facts_of_seeds(came)),
        _table(("Recipe", *columns), [_counted(one) for one in came.recipes]),
        _table(("Source", *columns), [_counted(one) for one in came.sources]),
        more,
    ]


def _counted(one: Counted) -> list[str]:
    return [one.name or "not named", w.number(one.rows), w.number(one.kept)]


def _gone(report: DatasetReport) -> str:
    total = report.came_in.rows
    rows = [
        [one.label + _details(one.details), w.number(one.rows), w.share(one.rows, total)]
        for one in report.gone
    ]
    return _table(("Reason", "Rows", "Share of all"), rows) or "Nothing."


def _details(details: dict[str, int]) -> str:
    said = ", ".join(f"{name or 'no reason given'} {w.number(n)}" for name, n in details.items())
    return f" ({said})" if said else ""


def _topics(report: DatasetReport) -> str:
    warned = [
        f"- **{_text(one.topic or 'no topic')}** loses far more than the others:"
        f" {_text(one.warning)}"
        for one in report.topics
        if one.warning
    ]
    table = _table(w.TOPIC_COLUMNS, w.cells_of_topics(report.topics))
    more = f"And {w.number(report.more_topics)} more topics." if report.more_topics else ""
    return "\n\n".join(part for part in ("\n".join(warned), table, more) if part)


def _stays(stays: Stays) -> list[str]:
    facts = ", ".join(f"{value} {name}" for name, value in w.facts_of_review(stays))
    parts = [f"{w.number(stays.rows)} rows: {facts}."]
    parts.append(_table(w.LENGTH_COLUMNS, w.cells_of_lengths(stays.lengths)))
    if stays.judged and stays.mean_score is not None:
        parts.append(
            f"A judge scored {w.number(stays.judged)} of them, {stays.mean_score:.2f} on average."
        )
        bars = [[w.score_range(one), w.number(one.rows)] for one in stays.scores]
        parts.append(_table(("Score", "Rows"), bars))
    return parts


def _checks(report: DatasetReport) -> list[str]:
    if not report.checked:
        return ["Not checked against any benchmark."]
    return [w.CHECK_RULES, _table(w.CHECK_COLUMNS, w.cells_of_checks(report.checked))]


def _curated(report: DatasetReport) -> list[str]:
    steps = [
        f"{one.made_at:%Y-%m-%d %H:%M}: {one.pipeline or 'settings of the form'},"
        f" {w.number(one.changed)} rows changed, by {one.user}"
        for one in report.steps
    ]
    return [
        f"**Near-duplicates.** {_text(w.facts_of_near(report.near))}",
        "**Filters in force.** " + (_text("; ".join(report.filters)) or "None."),
        "**Applied**, newest first:\n\n" + "\n".join(f"- {_text(one)}" for one in steps)
        if steps
        else "Nothing was applied.",
    ]


def _examples(examples: Sequence[GoneExample]) -> list[str]:
    parts: list[str] = []
    last = ""
    for one in examples:
        if one.code != last:
            parts.append(f"**{_text(w.reason_label(one.code))}**")
            last = one.code
        texts = [("Prompt", one.prompt), ("Answer", one.answer), ("Stays instead", one.other)]
        said = [f"  {name}: {_text(text)}" for name, text in texts if text]
        reason = _text(one.reason or "no reason given")
        parts.append("  \n".join([f"- {reason}", *said]))
    return parts


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [columns, ["---"] * len(columns), *[[_text(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(text: str) -> str:
    """Outside text on one line, with every sign that Markdown or HTML would act on disarmed."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _SIGNS.sub(r"\\\1", flat)
