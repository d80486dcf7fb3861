"""The report as HTML: `report_body` for the app, `report_page` as a file that stands alone.

Both have the same markup and `assets/report.css`; the file is a `standalone_page`.
"""

from collections.abc import Sequence

from distill_studio.core.markup import esc
from distill_studio.core.standalone import standalone_page
from distill_studio.curate.dataset_report import words as w
from distill_studio.curate.dataset_report.records import (
    CameIn,
    Counted,
    DatasetReport,
    GoneExample,
    Stays,
)

_NUMERIC = {
    "Rows",
    "Stay",
    "Gone",
    "Share",
    "Share of all",
    "Items",
    "Items found",
    "Rows with an item",
    "Leaks that stay",
    "Not checked",
    *w.LENGTH_COLUMNS[1:],
}


def report_page(report: DatasetReport) -> str:
    """A whole HTML file."""
    return standalone_page(f"{report.workspace}: dataset report", report_body(report))


def report_body(report: DatasetReport) -> str:
    """The report without a page around it."""
    warnings = "".join(f"<li>{esc(one)}</li>" for one in report.warnings)
    parts = [
        f"<header><h1>{esc(report.workspace)}</h1>"
        f'<p class="lead">{esc(w.summary(report))}</p>'
        f'<p class="quiet">Dataset report, {report.made_at:%Y-%m-%d %H:%M} UTC, Distill Studio'
        f" {esc(report.version)}</p></header>",
        _flow(report),
        f'<ul class="warnings">{warnings}</ul>' if warnings else "",
        _section("What came in", _came_in(report.came_in)),
        _section("What went, and why", _gone(report) + _topics(report)),
        _section("What stays", _stays(report.stays)),
        _section("What it was checked against", _checks(report)),
        _section("How it was curated", _curated(report)),
        _section("Rows that went", _examples(report.examples)) if report.examples else "",
    ]
    return f'<article class="ds-report">{"".join(parts)}</article>'


def _flow(report: DatasetReport) -> str:
    """One bar: what stays, and what went by reason."""
    total = report.came_in.rows
    if not total:
        return ""
    reasons = [(f"r{k % 6}", one.label, one.rows) for k, one in enumerate(report.gone)]
    shown = [one for one in (("stay", "Stay", report.stays.rows), *reasons) if one[2]]
    bars = "".join(
        f'<i class="{kind}" style="flex-grow:{rows}" title="{esc(label)}: {w.number(rows)}"></i>'
        for kind, label, rows in shown
    )
    legend = "".join(
        f'<li><i class="{kind}"></i>{esc(label)} <b>{w.number(rows)}</b>'
        f' <span class="quiet">{w.share(rows, total)}</span></li>'
        for kind, label, rows in shown
    )
    said = esc(", ".join(f"{label} {rows}" for _, label, rows in shown))
    bar = f'<div class="flow" role="img" aria-label="{said}">{bars}</div>'
    return f'{bar}<ul class="legend">{legend}</ul>'


def _came_in(came: CameIn) -> str:
    more = w.number(came.more_sources)
    return (
        _paragraph(w.facts_of_seeds(came))
        + '<div class="two">'
        + _counted("Recipe", came.recipes)
        + _counted("Source", came.sources)
        + "</div>"
        + (_paragraph(f"And {more} more sources.") if came.more_sources else "")
        + "<h3>Teachers and their terms</h3>"
        + _table(("Teacher", "Model", "Rows", "Stay", "Terms"), w.cells_of_teachers(came.teachers))
        + (_paragraph(f"And {w.number(came.more_teachers)} more.") if came.more_teachers else "")
    )


def _counted(title: str, rows: Sequence[Counted]) -> str:
    cells = [[one.name or "not named", w.number(one.rows), w.number(one.kept)] for one in rows]
    return _table((title, "Rows", "Stay"), cells)


def _gone(report: DatasetReport) -> str:
    if not report.gone:
        return _paragraph("Nothing.")
    total = report.came_in.rows
    rows = []
    for one in report.gone:
        details = ", ".join(
            f"{name or 'no reason given'} {w.number(count)}" for name, count in one.details.items()
        )
        label = f"{one.label} ({details})" if details else one.label
        rows.append([label, w.number(one.rows), w.share(one.rows, total)])
    return _table(("Reason", "Rows", "Share of all"), rows)


def _topics(report: DatasetReport) -> str:
    warned = "".join(
        f"<li><b>{esc(one.topic or 'no topic')}</b> {esc(one.warning)}</li>"
        for one in report.topics
        if one.warning
    )
    more = w.number(report.more_topics)
    return (
        "<h3>By topic</h3>"
        + (f'<ul class="warnings">{warned}</ul>' if warned else "")
        + _table(w.TOPIC_COLUMNS, w.cells_of_topics(report.topics))
        + (_paragraph(f"And {more} more topics.") if report.more_topics else "")
    )


def _stays(stays: Stays) -> str:
    facts = [("rows", w.number(stays.rows)), *w.facts_of_review(stays)]
    tiles = "".join(f"<li><b>{esc(value)}</b>{esc(name)}</li>" for name, value in facts)
    return (
        f'<ul class="tiles">{tiles}</ul>'
        + _table(w.LENGTH_COLUMNS, w.cells_of_lengths(stays.lengths))
        + _scores(stays)
    )


def _scores(stays: Stays) -> str:
    if not stays.judged or stays.mean_score is None:
        return ""
    most = max(one.rows for one in stays.scores)
    bars = "".join(
        f"<li><span>{esc(w.score_range(one))}</span>"
        f'<span class="bar"><i style="width:{100 * one.rows / most:.1f}%"></i></span>'
        f"<b>{w.number(one.rows)}</b></li>"
        for one in stays.scores
    )
    said = f"A judge scored {w.number(stays.judged)} of them, {stays.mean_score:.2f} on average."
    return f'<h3>Judge\'s scores</h3>{_paragraph(said)}<ul class="bars">{bars}</ul>'


def _checks(report: DatasetReport) -> str:
    if not report.checked:
        return _paragraph("Not checked against any benchmark.")
    return _paragraph(w.CHECK_RULES) + _table(w.CHECK_COLUMNS, w.cells_of_checks(report.checked))


def _curated(report: DatasetReport) -> str:
    steps = [
        [
            f"{one.made_at:%Y-%m-%d %H:%M}",
            one.pipeline or "settings of the form",
            one.user,
            w.number(one.changed),
        ]
        for one in report.steps
    ]
    filters = "".join(f"<li>{esc(one)}</li>" for one in report.filters)
    return (
        _paragraph(w.facts_of_near(report.near))
        + (f"<h3>Filters in force</h3><ul>{filters}</ul>" if filters else "")
        + "<h3>Applied</h3>"
        + (_table(("When (UTC)", "What", "By", "Rows"), steps) or _paragraph("Nothing."))
    )


def _examples(examples: Sequence[GoneExample]) -> str:
    by_code: dict[str, list[GoneExample]] = {}
    for one in examples:
        by_code.setdefault(one.code, []).append(one)
    return "".join(
        f"<details><summary>{esc(w.reason_label(code))}</summary>"
        + "".join(_example(one) for one in some)
        + "</details>"
        for code, some in by_code.items()
    )


def _example(one: GoneExample) -> str:
    texts = [("Prompt", one.prompt), ("Answer", one.answer), ("Stays instead", one.other)]
    shown = "".join(f"<dt>{name}</dt><dd>{esc(text)}</dd>" for name, text in texts if text)
    reason = esc(one.reason or "no reason given")
    return f'<div class="row"><p class="quiet">{reason}</p><dl>{shown}</dl></div>'


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{esc(title)}</h2>{inner}</section>"


def _paragraph(text: str) -> str:
    return f"<p>{esc(text)}</p>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    kinds = [' class="n"' if name in _NUMERIC else "" for name in columns]
    head = "".join(
        f'<th scope="col"{kind}>{esc(name)}</th>' for name, kind in zip(columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{esc(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'
