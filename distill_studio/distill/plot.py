"""Figures by update to places in a picture: what every drawing of a curve shares. Torch-free."""

import math
from collections.abc import Sequence

from distill_studio.distill.curve import Point

WIDTH, HEIGHT = 860, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 30
_TICKS = 4
_SMOOTH = 0.7  # weight of the past in a moving mean


class Scale:
    """Updates and figures to pixels.

    Args:
        points: All that is drawn; not empty.
        total: Updates in all; 0 = as far as the points go.
    """

    def __init__(self, points: Sequence[Point], total: int = 0) -> None:
        values = [p.value for p in points]
        self.last = max(total, max(p.step for p in points), 1)
        low, high = min(values), max(values)
        pad = (high - low) * 0.08 or max(abs(high) * 0.05, 0.01)
        self.low, self.high = low - pad, high + pad

    def x(self, step: float) -> float:
        """Of an update."""
        return LEFT + step / self.last * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Of a figure."""
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def value_ticks(self) -> list[float]:
        """Round figures for the axis."""
        step = nice_step((self.high - self.low) / _TICKS)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, first + 12) if i * step <= self.high]

    def step_ticks(self) -> list[int]:
        """Round updates for the axis."""
        step = max(1, round(nice_step(self.last / 6)))
        return list(range(0, self.last + 1, step))

    def axes(self) -> str:
        """Lines of class `grid`, and their figures, as SVG."""
        parts = []
        for value in self.value_ticks():
            y = self.y(value)
            parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
            )
        parts += [
            f'<text x="{self.x(step):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{step}</text>'
            for step in self.step_ticks()
        ]
        return "".join(parts)

    def line(self, points: Sequence[Point], kind: str) -> str:
        """A polyline of this class."""
        coordinates = " ".join(f"{self.x(p.step):.1f},{self.y(p.value):.1f}" for p in points)
        return f'<polyline class="{kind}" points="{coordinates}"/>'

    def dot(self, point: Point, kind: str, said: str = "") -> str:
        """A circle of this class that tells its figure.

        Args:
            point: Where.
            kind: Its class.
            said: Before the figure; markup already escaped.
        """
        title = f"{said}update {point.step}: {point.value:.4f}"
        return (
            f'<circle class="{kind}" r="4" cx="{self.x(point.step):.1f}"'
            f' cy="{self.y(point.value):.1f}"><title>{title}</title></circle>'
        )


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Exponential mean, unbiased at the start."""
    mean, weight, result = 0.0, 0.0, []
    for point in points:
        mean = _SMOOTH * mean + (1 - _SMOOTH) * point.value
        weight = _SMOOTH * weight + (1 - _SMOOTH)
        result.append(Point(step=point.step, value=mean / weight))
    return result
