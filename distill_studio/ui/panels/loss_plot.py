"""Curves of a run as SVG, drawn on the server: numbers only, colours from the theme.

`loss_plot(curve)` is the large plot of training and held-out loss, `spark` a small one.
"""

import math
from collections.abc import Sequence

from distill_studio.distill.curve import Curve, Point
from distill_studio.ui.html import esc

_WIDTH, _HEIGHT = 860, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 14, 30
_TICKS = 4
_SMOOTH = 0.7  # weight of the past in the bold training line


def loss_plot(curve: Curve) -> str:
    """Training loss (thin), its moving mean (bold) and the held-out loss (dots)."""
    values = [p.value for p in (*curve.train, *curve.validation)]
    if not values:
        return '<p class="ds-note">The curve begins with the first held-out loss.</p>'
    scale = _Scale(curve, values)
    parts = [_axes(scale)]
    if curve.train:
        parts.append(_line(scale, curve.train, "train"))
        parts.append(_line(scale, smoothed(curve.train), "mean"))
    if curve.validation:
        parts.append(_line(scale, curve.validation, "held"))
        parts += [_dot(scale, point) for point in curve.validation]
    label = esc(summary(curve))
    return (
        f'<figure class="ds-plot"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' aria-label="{label}">{"".join(parts)}</svg>{_legend(curve)}</figure>'
    )


def spark(points: Sequence[Point], label: str) -> str:
    """A small line without axes."""
    if len(points) < 2:
        return ""
    low, high = min(p.value for p in points), max(p.value for p in points)
    span = (high - low) or 1.0
    first, last = points[0].step, points[-1].step
    width = (last - first) or 1
    coordinates = " ".join(
        f"{(p.step - first) / width * 120:.1f},{26 - (p.value - low) / span * 24:.1f}"
        for p in points
    )
    return (
        f'<svg class="ds-spark" viewBox="0 0 120 28" role="img" aria-label="{esc(label)}">'
        f'<polyline points="{coordinates}"/></svg>'
    )


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Exponential mean, unbiased at the start."""
    mean, weight, result = 0.0, 0.0, []
    for point in points:
        mean = _SMOOTH * mean + (1 - _SMOOTH) * point.value
        weight = _SMOOTH * weight + (1 - _SMOOTH)
        result.append(Point(step=point.step, value=mean / weight))
    return result


def summary(curve: Curve) -> str:
    """The plot in words, for screen readers."""
    if len(curve.validation) > 1:
        first, last = curve.validation[0], curve.validation[-1]
        return (
            f"Held-out loss from {first.value:.3f} at update {first.step}"
            f" to {last.value:.3f} at update {last.step}."
        )
    if curve.train:
        return f"Training loss {curve.train[-1].value:.3f} at update {curve.train[-1].step}."
    return "One held-out loss so far."


class _Scale:
    """Updates and losses to pixels."""

    def __init__(self, curve: Curve, values: Sequence[float]) -> None:
        steps = [p.step for p in (*curve.train, *curve.validation)]
        self.last = max(curve.total, max(steps), 1)
        low, high = min(values), max(values)
        pad = (high - low) * 0.08 or max(abs(high) * 0.05, 0.01)
        self.low, self.high = low - pad, high + pad

    def x(self, step: float) -> float:
        return _LEFT + step / self.last * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def loss_ticks(self) -> list[float]:
        step = nice_step((self.high - self.low) / _TICKS)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, first + 12) if i * step <= self.high]

    def step_ticks(self) -> list[int]:
        step = max(1, round(nice_step(self.last / 6)))
        return list(range(0, self.last + 1, step))


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def _axes(scale: _Scale) -> str:
    parts = []
    for value in scale.loss_ticks():
        y = scale.y(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    parts += [
        f'<text x="{scale.x(step):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{step}</text>'
        for step in scale.step_ticks()
    ]
    return "".join(parts)


def _line(scale: _Scale, points: Sequence[Point], kind: str) -> str:
    coordinates = " ".join(f"{scale.x(p.step):.1f},{scale.y(p.value):.1f}" for p in points)
    return f'<polyline class="{kind}" points="{coordinates}"/>'


def _dot(scale: _Scale, point: Point) -> str:
    title = f"update {point.step}: {point.value:.4f}"
    return (
        f'<circle class="held" r="4" cx="{scale.x(point.step):.1f}"'
        f' cy="{scale.y(point.value):.1f}"><title>{title}</title></circle>'
    )


def _legend(curve: Curve) -> str:
    items = []
    if curve.train:
        items += ['<span class="mean">training loss</span>']
    if curve.validation:
        items += ['<span class="held">held-out loss</span>']
    return f'<figcaption class="ds-legend">{"".join(items)}<span>by update</span></figcaption>'
