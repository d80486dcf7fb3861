"""Score against size as SVG, with what others reported for such a ratio of sizes, for orientation.

Bands are shares of the teacher's quality that a student keeps, as commonly reported for large
models: from 70B to 7B 85 to 95%, from 400B to 7B 70 to 85%, from 70B to 1.5B 65 to 80%. They are no
promise: what a student keeps depends on task, data and training.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from distill_studio.core.markup import esc
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.evaluate.standings import Standing, Standings

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 640, 300, 48, 20, 14, 44
_LEAST_RATIO = 3.0  # of sizes; below it nothing is reported
_COLOURS = {
    ModelRole.TEACHER: "var(--ds-good)",
    ModelRole.STUDENT: "var(--color-accent)",
    ModelRole.BASE: "var(--body-text-color-subdued)",
}


class Band(NamedTuple):
    """What was reported for a ratio of sizes."""

    ratio: float  # teacher's parameters by the student's
    low: float  # share of the teacher's quality kept
    high: float
    example: str


BANDS = (
    Band(70 / 7, 0.85, 0.95, "70B to 7B"),
    Band(70 / 1.5, 0.65, 0.80, "70B to 1.5B"),
    Band(400 / 7, 0.70, 0.85, "400B to 7B"),
)


def band_for(teacher: int | None, student: int | None) -> Band | None:
    """The band whose ratio of sizes is the nearest; None where sizes are unknown or near."""
    if not teacher or not student or teacher / student < _LEAST_RATIO:
        return None
    ratio = math.log(teacher / student)
    return min(BANDS, key=lambda band: abs(math.log(band.ratio) - ratio))


def size_picture(found: Standings) -> str:
    """An SVG of the models whose size is known; '' for fewer than two of them."""
    rows = [row for row in found.rows if row.card.parameters and row.score.value is not None]
    if len(rows) < 2 or len({row.card.parameters for row in rows}) < 2:
        return ""
    across = _Axis([float(row.card.parameters or 1) for row in rows])
    highest = max(row.score.high or row.score.value or 0.0 for row in rows)
    top = min(1.0, math.ceil(10 * max(0.1, highest)) / 10)
    teacher = next((row for row in rows if row.card.id == found.teacher), None)
    is_quality = teacher is not None and not found.has_kl  # no share of it was ever reported
    bands = "".join(_band(across, top, teacher, row) for row in rows if teacher and is_quality)
    marks = "".join(_mark(across, top, row) for row in rows)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="ev-sizes" role="img"'
        f' aria-label="Score by number of parameters" font-size="12" fill="currentColor">'
        f"{_grid(top)}{bands}{marks}"
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">parameters</text></svg>'
    )


class _Axis:
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


def _band(across: _Axis, top: float, teacher: Standing, row: Standing) -> str:
    band = band_for(teacher.card.parameters, row.card.parameters)
    if band is None or row.card.role is not ModelRole.STUDENT or teacher.score.value is None:
        return ""
    x = across.place(float(row.card.parameters or 1))
    high, low = (_up(share * teacher.score.value, top) for share in (band.high, band.low))
    return (
        f'<rect x="{x - 26:.1f}" y="{high:.1f}" width="52" height="{low - high:.1f}" rx="4"'
        ' fill="var(--color-accent)" fill-opacity=".15">'
        f"<title>Reported for {band.example}: {100 * band.low:.0f} to {100 * band.high:.0f}% of the"
        " teacher</title></rect>"
    )


def _mark(across: _Axis, top: float, row: Standing) -> str:
    x, score = across.place(float(row.card.parameters or 1)), row.score.value or 0.0
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
        f'<text x="{x + 10:.1f}" y="{y + 4:.1f}">{esc(_short(row.card))}</text>'
    )


def _short(card: ModelCard) -> str:
    millions = (card.parameters or 0) / 1e6
    size = f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions:.0f}M"
    return f"{card.label[:24]} ({size})"
