"""Models by strength and their win rates as safe HTML; for Prefer and for the arena.

Start from `ranking_html` (a whole report) or from `strength_cells` and `matrix_html`.
"""

from collections.abc import Sequence
from typing import Protocol

from distill_studio.evaluate.wins import WinRate
from distill_studio.services.agreement_views import RankingReport
from distill_studio.ui.html import chip, empty_state, esc, note, number, table
from distill_studio.ui.panels.agreement_html import figure_svg, percent_cell

SOURCES = {
    "people": "people",
    "judges": "judges",
    "imports": "imported files",
    "all": "people, judges and imported files",
}
STRENGTH_HEAD = ("", "Model", "Points", "95% interval", "")
MOST_SHADE = 20  # percent of colour in a cell, at 0 and 100%: text on it can be read
_MOST_ACROSS = 12
EXPLAINED = (
    "Bradley-Terry: 400 points are odds of 10 to 1; a tie is half a win; intervals by bootstrap"
    " over prompts."
)


class Rated(Protocol):
    """What a row of a ranking has: see `agreement.bradley_terry.Strength`."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def rating(self) -> float | None:
        """Points; None where there is no finite estimate."""

    @property
    def low(self) -> float | None:
        """Lower end of the interval; None: open."""

    @property
    def high(self) -> float | None:
        """Upper end; None: open."""

    @property
    def why(self) -> str:
        """In words, where the rating or an end is missing."""


def ranking_html(report: RankingReport) -> str:
    """Strengths with intervals, win rates of each against each, rates at equal length."""
    ranking = report.ranking
    if not ranking.strengths:
        return empty_state(
            "No two models have been compared yet",
            "Answers of two teachers to the same prompts, and votes on them, make a ranking.",
        ) + sighted_html(report)
    cells = strength_cells(ranking.strengths, ranking.anchor)
    rows = [[*first, number(s.n)] for first, s in zip(cells, ranking.strengths, strict=True)]
    head = note(
        f"From {number(ranking.n)} comparisons of {SOURCES[report.sources]} on"
        f" {number(ranking.prompts)} prompts, by "
        + ", ".join(f"{name} ({number(n)})" for name, n in list(report.voters.items())[:8])
        + "."
    )
    strengths = table([*STRENGTH_HEAD, "Compared"], rows)
    matrix = matrix_html(report.rates, [s.model for s in ranking.strengths])
    return head + sighted_html(report) + strengths + note(EXPLAINED) + matrix + _controlled(report)


class Votes(Protocol):
    """What a report says of votes with and without names."""

    @property
    def people_votes(self) -> int:
        """Blind ones."""

    @property
    def sighted(self) -> bool:
        """Whether those with the names shown count."""

    @property
    def sighted_votes(self) -> int:
        """How many of these there are."""


def sighted_html(report: Votes) -> str:
    """How many votes were cast with the names shown, and whether they count; '' without any."""
    if not report.sighted_votes:
        return ""
    count = "are counted too" if report.sighted else "are not counted"
    return note(
        f"Votes of people: {number(report.people_votes)} blind;"
        f" {number(report.sighted_votes)} cast, or changed, with the names shown {count}.",
        "warn" if report.sighted else "",
    )


def strength_cells(rows: Sequence[Rated], anchor: str) -> list[list[str]]:
    """Place, model, points and their interval in numbers and drawn: the cells of `STRENGTH_HEAD`.

    Args:
        rows: Best first.
        anchor: The model whose rating is fixed.
    """
    scale = _scale(rows)
    return [
        [
            number(place),
            esc(row.model) + (" " + chip("anchor") if row.model == anchor else ""),
            f'<b class="ag-whole">{number(row.rating)}</b>',
            _interval_cell(row, "" if row.model == anchor else row.why),
            _strength_svg(row, scale),
        ]
        for place, row in enumerate(rows, start=1)
    ]


def matrix_html(rates: Sequence[WinRate], models: Sequence[str]) -> str:
    """Win rates of the row's model against the column's, the first twelve; '' for one model."""
    names = models[:_MOST_ACROSS]
    if len(names) < 2:
        return ""
    found = {(r.model, r.against): r for r in rates if r.against}
    rows = [
        [esc(a), *(_rate_cell(found.get((a, b)), is_self=a == b) for b in names)] for a in names
    ]
    head = "Win rates: row against column, with n and what was won / tied / lost"
    return f'<h4 class="ag-h4">{head}</h4>' + table(["", *names], rows)


def _interval_cell(s: Rated, why: str) -> str:
    """The interval, and under it why it has no end, or is none."""
    interval = f'<span class="ag-whole">{_rating_interval(s)}</span>'
    return f'<span class="ag-none">{interval}<small>{esc(why)}</small></span>' if why else interval


def _rating_interval(s: Rated) -> str:
    if s.low is None and s.high is None:
        return ""
    if s.low == s.high:
        return "fixed"
    low = "open" if s.low is None else number(s.low)
    high = "open" if s.high is None else number(s.high)
    return f"{low} to {high}"


def _scale(rows: Sequence[Rated]) -> tuple[float, float]:
    values = [v for s in rows for v in (s.rating, s.low, s.high) if v is not None]
    low, high = min(values, default=900.0), max(values, default=1100.0)
    pad = max((high - low) * 0.08, 20.0)
    return low - pad, high + pad


def _strength_svg(s: Rated, scale: tuple[float, float]) -> str:
    if s.rating is None:
        return ""
    low = scale[0] if s.low is None else s.low
    high = scale[1] if s.high is None else s.high
    return figure_svg(s.rating, low, high, scale, 1000.0, f"{s.rating:.0f} points")


def _rate_cell(rate: WinRate | None, *, is_self: bool) -> str:
    if is_self or rate is None:
        return '<span class="ds-note">–</span>'
    shade = f"--ag-shade:{MOST_SHADE * 2 * abs(rate.rate - 0.5):.0f}%"
    side = "good" if rate.rate >= 0.5 else "bad"
    interval = f"{100 * rate.low:.0f} to {100 * rate.high:.0f}%" if rate.prompts > 1 else "few"
    return (
        f'<span class="ag-rate {side}" style="{shade}"><b>{100 * rate.rate:.0f}%</b>'
        f"<small>{interval}, n {number(rate.n)}: {rate.wins} / {rate.ties} / {rate.losses}</small>"
        "</span>"
    )


def _controlled(report: RankingReport) -> str:
    rows = [
        [
            esc(one.model),
            f"{100 * one.plain:.0f}%",
            percent_cell(one.rate) if one.rate.value is not None else esc(one.rate.why),
            "" if one.slope is None else _pull(one.slope),
        ]
        for one in report.length_controlled
    ]
    if not rows:
        return ""
    title = f"Against {report.ranking.anchor}, as if answers were equally long"
    return f'<h4 class="ag-h4">{esc(title)}</h4>' + table(
        ["Model", "Win rate", "At equal length", "Pull of length"], rows
    )


def _pull(slope: float) -> str:
    if abs(slope) < 0.2:
        return "none to speak of"
    return "longer answers win more" if slope > 0 else "shorter answers win more"
