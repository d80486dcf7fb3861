"""Curves of a run as SVG, drawn on the server: numbers only, colours from the theme.

`loss_plot(curve)` is the large plot of training and held-out loss, `spark` a small one.
"""

from collections.abc import Sequence

from distill_studio.distill.curve import Curve, Point
from distill_studio.distill.plot import HEIGHT, WIDTH, Scale, smoothed
from distill_studio.ui.html import esc


def loss_plot(curve: Curve) -> str:
    """Training loss (thin), its moving mean (bold) and the held-out loss (dots)."""
    points = [*curve.train, *curve.validation]
    if not points:
        return '<p class="ds-note">The curve begins with the first held-out loss.</p>'
    scale = Scale(points, curve.total)
    parts = [scale.axes()]
    if curve.train:
        parts.append(scale.line(curve.train, "train"))
        parts.append(scale.line(smoothed(curve.train), "mean"))
    if curve.validation:
        parts.append(scale.line(curve.validation, "held"))
        parts += [scale.dot(point, "held") for point in curve.validation]
    label = esc(summary(curve))
    return (
        f'<figure class="ds-plot"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
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


def _legend(curve: Curve) -> str:
    items = []
    if curve.train:
        items += ['<span class="mean">training loss</span>']
    if curve.validation:
        items += ['<span class="held">held-out loss</span>']
    items += ["<span>by number of updates</span>"]
    return f'<figcaption class="ds-legend">{"".join(items)}</figcaption>'
