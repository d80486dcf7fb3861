"""Agreement, people, judges and the ranking of models as safe HTML with drawn intervals."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from distill_studio.agreement.tables import AgreementRow, Between
from distill_studio.core.estimate import Estimate
from distill_studio.services.agreement_csv import to_csv
from distill_studio.services.agreement_people import PersonStats
from distill_studio.services.agreement_views import AgreementReport, JudgeStats
from distill_studio.ui.html import chip, empty_state, esc, note, number, table

_WIDTH, _HEIGHT = 120, 16
_OF = {"votes": "votes", "scores": "scores", "verifier": "checks"}
_NOUNS = {"decisions": "record", "kept": "record", "votes": "comparison"}


def agreement_html(report: AgreementReport) -> str:
    """How far people agree: everybody, each two, by topic."""
    if report.hint:
        return empty_state("Agreement cannot be measured yet", report.hint)
    noun = _NOUNS[report.measured]
    parts = [
        table(
            ["Who", f"{noun.capitalize()}s", "Agree", "Cohen", "Fleiss", "Krippendorff", ""],
            [_agreement_cells(row) for row in report.rows if row.scope != "topic"],
        )
    ]
    topics = [row for row in report.rows if row.scope == "topic"]
    if topics:
        parts.append('<h4 class="ag-h4">By topic</h4>')
        parts.append(
            table(
                ["Topic", f"{noun.capitalize()}s", "Agree", "Cohen", "Fleiss", "Krippendorff", ""],
                [_agreement_cells(row) for row in topics],
            )
        )
    parts.append(
        note(
            "Below each figure its 95% interval (bootstrap over prompts). 0 is what chance would"
            " give, 1 is full agreement. Above 0.8 is firm, 0.667 to 0.8 tentative (Krippendorff)."
        )
    )
    return "".join(parts)


def people_html(people: Sequence[PersonStats], measured: str) -> str:
    """A row per person, and below it what to look at."""
    of_votes = measured == "votes"
    known = [p for p in people if (p.votes + p.rankings if of_votes else p.decisions + p.bulk)]
    if not known:
        return note("No one has judged anything here yet.")
    if measured == "votes":
        columns = [
            "Person", "Votes", "Median", "Left side", "Longer answer", "With others",
            "With themselves", "With judges",
        ]  # fmt: skip
        rows = [_voter_cells(p) for p in known]
    else:
        columns = ["Person", "Records", "In bulk", "Median", "Verdicts", "With others"]
        rows = [_decider_cells(p) for p in known]
    said = "" if measured != "votes" else "".join(_remarks(p) for p in known)
    return table(columns, rows) + said


def _remarks(p: PersonStats) -> str:
    quiet = note(f"{p.user}: {p.length.remark}") if p.length.remark else ""
    return "".join(note(f"{p.user}: {text}", "warn") for text in p.warnings) + quiet


def judges_html(judges: Sequence[JudgeStats], measured: str) -> str:
    """Whether to trust a judge or verifier on the rest."""
    wanted = judges_of(judges, measured)
    if not wanted:
        return note(
            "No judge has compared answers here. A recipe with a judge does, or a file of"
            " judgements imported on the Seeds tab."
            if measured == "votes"
            else "No decided answer has a judge's score or a verifier's verdict."
        )
    rows = [
        [
            esc(j.judge) + _line(j),
            number(j.agreement.n),
            percent_cell(j.agreement.percent),
            figure_cell(j.agreement.kappa),
            interval_svg(j.agreement.kappa),
            *([figure_cell(j.separation)] if measured != "votes" else []),
            chip("usable", "good") if j.is_usable else chip("a hint", "warn"),
            esc(j.advice),
        ]
        for j in wanted
    ]
    last = ["Separation"] if measured != "votes" else []
    head = ["Judge", "Both judged", "Agree", "Kappa", "", *last, "", "What to make of it"]
    extra = (
        note("Separation: the chance that a kept answer scores above a rejected one; 0.5 is none.")
        if last
        else ""
    )
    return table(head, rows) + extra


def judges_of(judges: Sequence[JudgeStats], measured: str) -> list[JudgeStats]:
    """Those that belong beside votes, or beside decisions."""
    return [j for j in judges if (j.of == "votes") == (measured == "votes")]


def download_links(name: str, records: Sequence[Mapping[str, Any]]) -> str:
    """The same figures as files, inside the page itself."""
    if not records:
        return ""
    files = {
        "csv": ("text/csv", to_csv(records)),
        "json": ("application/json", json.dumps(list(records), ensure_ascii=False, indent=1)),
    }
    links = [
        f'<a class="ds-link" download="{esc(name)}.{kind}" href="data:{mime};base64,'
        f'{base64.b64encode(text.encode()).decode()}">{kind.upper()}</a>'
        for kind, (mime, text) in files.items()
    ]
    title = name.replace("-", " ")
    return f'<p class="ds-note ag-links">Download {esc(title)}: {" ".join(links)}</p>'


def figure_cell(found: Estimate | None) -> str:
    """A coefficient with its interval below; a dash with the reason as its title."""
    if found is None:
        return '<span class="ds-note">–</span>'
    if found.value is None:
        return f'<span class="ag-none">–<small>{esc(found.why)}</small></span>'
    return f'<span class="ag-figure"><b>{found.value:.2f}</b>{_ends(found, 1, 2)}</span>'


def percent_cell(found: Estimate) -> str:
    """A share in percent with its interval below."""
    if found.value is None:
        return '<span class="ds-note">–</span>'
    return f'<span class="ag-figure"><b>{100 * found.value:.0f}%</b>{_ends(found, 100, 0)}</span>'


def interval_svg(found: Estimate, low: float = -0.2, high: float = 1.0) -> str:
    """The interval as a bar, the figure as a tick, chance (0) as a thin line."""
    if found.value is None:
        return ""
    ends = (found.low, found.high)
    words = f"{found.value:.2f}" + (
        f", 95% interval {found.low:.2f} to {found.high:.2f}" if None not in ends else ""
    )
    return figure_svg(found.value, found.low, found.high, (low, high), 0.0, words)


def _agreement_cells(row: AgreementRow) -> list[str]:
    return [
        esc(row.name, 60),
        f"{number(row.items)}",
        percent_cell(row.percent),
        figure_cell(row.cohen),
        figure_cell(row.fleiss),
        figure_cell(row.alpha),
        interval_svg(row.alpha),
    ]


def _voter_cells(p: PersonStats) -> list[str]:
    ranked = f", {number(p.rankings)} ranked" if p.rankings else ""
    sighted = f", {number(p.sighted)} with the names shown" if p.sighted else ""
    rest = f"<small>{number(p.ties)} ties, {number(p.both_bad)} both bad{ranked}{sighted}</small>"
    return [
        esc(p.user),
        f'<span class="ag-figure"><b>{number(p.votes)}</b>{rest}</span>',
        _pace(p.seconds_a_vote, p.votes_a_minute),
        percent_cell(p.position.share),
        percent_cell(p.length.share),
        _between(p.with_others_votes),
        percent_cell(p.same)
        + (f"<small> of {p.repeats.repeats} repeats</small>" if p.repeats.repeats else ""),
        _between(p.with_judges),
    ]


def _decider_cells(p: PersonStats) -> list[str]:
    return [
        esc(p.user),
        number(p.decisions),
        number(p.bulk),
        _pace(p.seconds_a_decision, p.decisions_a_minute),
        _verdict_bar(p),
        _between(p.with_others_decisions),
    ]


def _verdict_bar(p: PersonStats) -> str:
    """Accepted, edited and rejected as one bar, with the shares in words."""
    if not p.decisions:
        return ""
    kinds = (("good", "accepted", p.accepted), ("info", "edited", p.edited),
             ("bad", "rejected", p.rejected))  # fmt: skip
    parts = "".join(
        f'<span class="{kind}" style="width:{100 * count / p.decisions:.1f}%"></span>'
        for kind, _, count in kinds
    )
    words = ", ".join(f"{100 * count / p.decisions:.0f}% {word}" for _, word, count in kinds)
    return f'<span class="ag-bar" aria-hidden="true">{parts}</span><small>{words}</small>'


def _between(found: Between) -> str:
    if found.percent.value is None:
        return '<span class="ds-note">–</span>'
    kappa = "" if found.kappa.value is None else f", kappa {found.kappa.value:.2f}"
    return (
        f'<span class="ag-figure"><b>{100 * found.percent.value:.0f}%</b>'
        f"<small>of {number(found.n)}{kappa}</small></span>"
    )


def _pace(seconds: float | None, a_minute: float | None) -> str:
    if seconds is None:
        return "–"
    rate = f"<small>{number(a_minute, 1)} a minute</small>" if a_minute else ""
    return f'<span class="ag-figure">{seconds:.1f} s{rate}</span>'


def _line(judge: JudgeStats) -> str:
    line = "" if judge.line is None else f", from {judge.line:g} on kept"
    return f"<br><small>{_OF[judge.of]}{line}</small>"


def _ends(found: Estimate, factor: float, digits: int) -> str:
    if found.low is None or found.high is None:
        return f"<small>{esc(found.why)}</small>"
    low, high = (f"{factor * end:.{digits}f}" for end in (found.low, found.high))
    return f"<small>{low} to {high}</small>"


def figure_svg(
    value: float,
    low: float | None,
    high: float | None,
    scale: tuple[float, float],
    mark: float,
    words: str,
) -> str:
    """A bar from low to high and a dot at the value on a scale with a mark; `words` name it."""

    def x(at: float) -> float:
        share = (min(max(at, scale[0]), scale[1]) - scale[0]) / (scale[1] - scale[0])
        return 4 + share * (_WIDTH - 8)

    bar = ""
    if low is not None and high is not None:
        width = max(x(high) - x(low), 1.0)
        bar = f'<rect class="range" x="{x(low):.1f}" y="5" width="{width:.1f}" height="6" rx="3"/>'
    return (
        f'<svg class="ag-interval" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' aria-label="{esc(words)}"><title>{esc(words)}</title>'
        f'<line class="axis" x1="4" x2="{_WIDTH - 4}" y1="8" y2="8"/>'
        f'<line class="mark" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="2" y2="14"/>{bar}'
        f'<circle class="value" cx="{x(value):.1f}" cy="8" r="3.5"/></svg>'
    )
