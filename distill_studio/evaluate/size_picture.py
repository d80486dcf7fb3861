"""Score against size, speed or cost as SVG; with size, what others reported for such a ratio.

Start at `pictures`. Bands are shares of the teacher's quality that a student keeps, as commonly
reported for large models: from 70B to 7B 85 to 95%, from 400B to 7B 70 to 85%, from 70B to 1.5B 65
to 80%, and 95 to 100% of an ensemble by one model. They are no promise: what a student keeps
depends on task, data and training.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from distill_studio.core.markup import esc
from distill_studio.core.records.comparison import ModelRole
from distill_studio.evaluate.standings import Standing, Standings
from distill_studio.evaluate.wording import percent, usd

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 640, 300, 48, 20, 14, 44
_LEAST_RATIO = 3.0  # of sizes; below it nothing is reported
_COLOURS = {
    ModelRole.TEACHER: "var(--ds-good)",
    ModelRole.STUDENT: "var(--color-accent)",
    ModelRole.BASE: "var(--body-text-color-subdued)",
}


class Band(NamedTuple):
    """What was reported for a ratio of sizes."""

    ratio: float  # teacher's parameters by the student's; infinite: of any size
    low: float  # share of the teacher's quality kept
    high: float
    example: str

    @property
    def words(self) -> str:
        """The band as a phrase."""
        return f"{100 * self.low:.0f} to {100 * self.high:.0f}%"


BANDS = (
    Band(70 / 7, 0.85, 0.95, "70B to 7B"),
    Band(70 / 1.5, 0.65, 0.80, "70B to 1.5B"),
    Band(400 / 7, 0.70, 0.85, "400B to 7B"),
    Band(math.inf, 0.95, 1.0, "ensemble to one"),
)
ENSEMBLE = BANDS[-1]


class Axis(NamedTuple):
    """What a picture may have from left to right."""

    label: str  # of the choice
    unit: str  # under the picture
    value: Callable[[Standing], float | None]
    text: Callable[[float], str]


def _size(value: float) -> str:
    millions = value / 1e6
    return f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions:.0f}M"


AXES = {
    "size": Axis("Size", "parameters", lambda row: row.card.parameters, _size),
    "speed": Axis(
        "Speed", "tokens written per second", lambda row: row.tokens_per_s, lambda v: f"{v:,.0f}/s"
    ),
    "cost": Axis("Cost", "USD per 1,000 answers", lambda row: row.usd_per_1000, usd),
}


def band_for(teacher: int | None, student: int | None) -> Band | None:
    """The band whose ratio of sizes is the nearest; None where sizes are unknown or near."""
    if not teacher or not student or teacher / student < _LEAST_RATIO:
        return None
    ratio = math.log(teacher / student)
    by_size = [band for band in BANDS if math.isfinite(band.ratio)]
    return min(by_size, key=lambda band: abs(math.log(band.ratio) - ratio))


def pictures(found: Standings) -> str:
    """The pictures that can be drawn, one in view, with a choice of the axis (no script); or ''."""
    drawn = {name: svg for name in AXES if (svg := picture(found, name))}
    if len(drawn) < 2:
        return "".join(drawn.values())
    first = next(iter(drawn))
    choices = "".join(
        f'<input type="radio" name="ev-axis" id="ev-axis-{name}"'
        f'{" checked" if name == first else ""}><label for="ev-axis-{name}">{AXES[name].label}'
        "</label>"
        for name in drawn
    )
    views = "".join(f'<div class="ev-axis-{name}">{svg}</div>' for name, svg in drawn.items())
    return (
        '<div class="ev-axes" role="group" aria-label="Score by size, speed or cost">'
        f"<span>Score by</span>{choices}{views}</div>"
    )


def picture(found: Standings, axis: str = "size") -> str:
    """An SVG of the models of which the axis is known; '' where fewer than two differ in it."""
    across = AXES[axis]
    rows = [row for row in found.rows if across.value(row) and row.score.value is not None]
    values = {row.card.id: float(across.value(row) or 1.0) for row in rows}
    if len(set(values.values())) < 2:
        return ""
    scale = _Scale(list(values.values()))
    highest = max(row.score.high or row.score.value or 0.0 for row in rows)
    top = min(1.0, math.ceil(10 * max(0.1, highest)) / 10)
    teacher = next((row for row in rows if row.card.id == found.teacher), None)
    bands = ""
    if teacher is not None and axis == "size" and found.has_retained:
        bands = _ensemble(top, teacher) + "".join(
            _band(scale.place(values[row.card.id]), top, teacher, row) for row in rows
        )
    marks = "".join(
        _mark(scale.place(values[r.card.id]), top, r, across.text(values[r.card.id])) for r in rows
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="ev-sizes" role="img"'
        f' aria-label="Score by {across.unit}" font-size="12" fill="currentColor">'
        f"{_grid(top)}{bands}{marks}"
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{across.unit}</text></svg>'
    )


def tradeoffs(found: Standings) -> tuple[list[str], list[list[str]]]:
    """Heads and rows (plain text) of quality, size, speed and cost; no rows where none is known."""
    heads = ["Model", "Score", "Parameters", "Tokens/s", "USD per 1,000 answers", "By"]
    if not any(axis.value(row) for row in found.rows for axis in AXES.values()):
        return heads, []
    return heads, [
        [
            row.card.label,
            percent(row.score.value),
            "unknown" if not row.card.parameters else _size(row.card.parameters),
            "" if row.tokens_per_s is None else f"{row.tokens_per_s:,.0f}",
            "" if row.usd_per_1000 is None else usd(row.usd_per_1000),
            row.cost_basis,
        ]
        for row in found.rows
    ]


class _Scale:
    """A logarithmic axis with room at both ends."""

    def __init__(self, values: Sequence[float]) -> None:
        self._low, self._high = math.log(min(values)), math.log(max(values))

    def place(self, value: float) -> float:
        share = (math.log(value) - self._low) / (self._high - self._low)
        room = _WIDTH - _LEFT - _RIGHT
        return _LEFT + room * (0.12 + 0.76 * share)


def _up(score: float, top: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _FOOT) * (1 - min(max(score, 0.0), top) / top)


def _grid(top: float) -> str:
    return "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_up(level, top):.1f}"'
        f' y2="{_up(level, top):.1f}" stroke="currentColor" stroke-opacity=".15"/>'
        f'<text x="{_LEFT - 8}" y="{_up(level, top) + 4:.1f}" text-anchor="end">'
        f"{100 * level:.0f}%</text>"
        for level in (0.0, top / 2, top)
    )


def _ensemble(top: float, teacher: Standing) -> str:
    """What was reported of several teachers: no ratio of sizes, so over the whole width."""
    quality = teacher.score.value or 0.0
    high, low = _up(ENSEMBLE.high * quality, top), _up(ENSEMBLE.low * quality, top)
    return (
        f'<rect class="ev-ensemble" x="{_LEFT}" y="{high:.1f}" width="{_WIDTH - _LEFT - _RIGHT}"'
        f' height="{low - high:.1f}" fill="var(--ds-good)" fill-opacity=".1">'
        f"<title>Reported for {ENSEMBLE.example}: {ENSEMBLE.words} of the teachers</title></rect>"
        f'<text x="{_WIDTH / 2}" y="{low + 12:.1f}" text-anchor="middle" fill-opacity=".7"'
        ' font-size="10">'
        f"{ENSEMBLE.example}: {ENSEMBLE.words}</text>"
    )


def _band(x: float, top: float, teacher: Standing, row: Standing) -> str:
    band = band_for(teacher.card.parameters, row.card.parameters)
    if band is None or row.card.role is not ModelRole.STUDENT or teacher.score.value is None:
        return ""
    high, low = (_up(share * teacher.score.value, top) for share in (band.high, band.low))
    return (
        f'<rect x="{x - 26:.1f}" y="{high:.1f}" width="52" height="{low - high:.1f}" rx="4"'
        ' fill="var(--color-accent)" fill-opacity=".15">'
        f"<title>Reported for {band.example}: {band.words} of the teacher</title></rect>"
    )


def _mark(x: float, top: float, row: Standing, text: str) -> str:
    score = row.score.value or 0.0
    y = _up(score, top)
    line = ""
    if row.score.low is not None and row.score.high is not None:
        line = (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_up(row.score.low, top):.1f}"'
            f' y2="{_up(row.score.high, top):.1f}" stroke="currentColor" stroke-opacity=".4"'
            ' stroke-width="3"/>'
        )
    colour = _COLOURS.get(row.card.role or ModelRole.BASE, "currentColor")
    return (
        f'{line}<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}">'
        f"<title>{esc(row.card.label)}: {100 * score:.1f}%</title></circle>"
        f'<text x="{x + 10:.1f}" y="{y + 4:.1f}">{esc(row.card.label[:24])} ({esc(text)})</text>'
    )
