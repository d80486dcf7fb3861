"""The curves of a run as files for its model card: a picture that needs nothing else, and a table.

Torch-free. `curve_picture(curve, ...)` is an SVG with its own colours on white, for pages that have
no theme of ours; `curve_rows` the same figures, at each evaluation.
"""

from collections.abc import Sequence

from distill_studio.core.markup import esc
from distill_studio.distill.curve import Curve, Point
from distill_studio.distill.plot import HEIGHT, WIDTH, Scale, smoothed

PICTURE = "curves.svg"  # beside README.md
MOST_ROWS = 12
_HEAD, _FOOT = 34, 16
_STYLE = (
    "text{fill:#52525b;font:13px sans-serif}.title{fill:#18181b;font-weight:600;font-size:15px}"
    ".grid{stroke:#e4e4e7}polyline{fill:none;stroke-linejoin:round}"
    ".train{stroke:#a5b4fc;stroke-width:1}.mean{stroke:#4f46e5;stroke-width:2.2}"
    ".held{stroke:#047857;stroke-width:2;stroke-dasharray:5 4}circle.held{fill:#047857;stroke:none}"
)


def curve_picture(curve: Curve, name: str, kl_label: str = "KL to the teacher") -> str:
    """All that was measured, one drawing below the other; '' where nothing was.

    Args:
        curve: Of the run.
        name: Of the run, for who cannot see the picture.
        kl_label: What the held-out KL is called, see `measures.kl_words`.
    """
    drawings = [
        _drawing(title, train, held, curve.total)
        for title, train, held in _series(curve, kl_label)
        if train or held
    ]
    if not drawings:
        return ""
    each = _HEAD + HEIGHT + _FOOT
    placed = "".join(
        f'<g transform="translate(0 {number * each})">{drawing}</g>'
        for number, drawing in enumerate(drawings)
    )
    height = len(drawings) * each
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img"><title>{esc(f"Curves of {name}, by update")}</title>'
        f'<style>{_STYLE}</style><rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f"{placed}</svg>\n"
    )


def curve_rows(
    curve: Curve, kl_label: str = "KL to the teacher"
) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) with the figures of at most 12 evaluations, the first and last among them.

    A training figure is the mean of the updates since the evaluation before.
    """
    columns, made = ["update"], []
    steps = _thinned(sorted({p.step for p in (*curve.validation, *curve.held_kl)}))
    if not steps:
        return columns, []
    for title, train, held in _series(curve, kl_label):
        at = {p.step: p.value for p in held}
        if train:
            columns.append(f"{title}, training")
            spans = zip([-1, *steps[:-1]], steps, strict=True)
            made.append([_mean(train, after, step) for after, step in spans])
        if held:
            columns.append(f"{title}, held out")
            made.append([_figure(at.get(step)) for step in steps])
    return columns, [[str(step), *cells] for step, *cells in zip(steps, *made, strict=True)]


def _series(curve: Curve, kl_label: str) -> list[tuple[str, list[Point], list[Point]]]:
    """Title, training and held-out points of each drawing."""
    return [
        ("Loss", curve.train, curve.validation),
        (f"{kl_label[:1].upper()}{kl_label[1:]}, times T²", curve.kl, curve.held_kl),
        ("Cross-entropy", curve.ce, curve.held_ce),
        ("Distance of hidden states", curve.features, curve.held_features),
        ("Margin", [], curve.margin),
    ]


def _drawing(title: str, train: Sequence[Point], held: Sequence[Point], total: int) -> str:
    scale = Scale([*train, *held], total)
    parts = [scale.axes()]
    legend = []
    if train:
        parts += [scale.line(train, "train"), scale.line(smoothed(train), "mean")]
        legend.append(("mean", "training"))
    if held:
        parts += [scale.line(held, "held"), *(scale.dot(point, "held") for point in held)]
        legend.append(("held", "held out"))
    keys = "".join(
        f'<polyline class="{kind}" points="{x},18 {x + 26},18"/>'
        f'<text x="{x + 32}" y="22">{word}</text>'
        for x, (kind, word) in zip((WIDTH - 240, WIDTH - 120), legend, strict=False)
    )
    return (
        f'<text class="title" x="10" y="22">{esc(title)}</text>{keys}'
        f'<g transform="translate(0 {_HEAD})">{"".join(parts)}</g>'
    )


def _thinned(steps: Sequence[int]) -> list[int]:
    if len(steps) <= MOST_ROWS:
        return list(steps)
    last = len(steps) - 1
    return [steps[round(place * last / (MOST_ROWS - 1))] for place in range(MOST_ROWS)]


def _mean(points: Sequence[Point], after: int, step: int) -> str:
    found = [p.value for p in points if after < p.step <= step]
    return _figure(sum(found) / len(found) if found else None)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
