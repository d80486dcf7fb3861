"""Several runs in one chart, what sets them apart, and how they ended. Pure."""

from collections.abc import Callable, Sequence

from distill_studio.distill.curve import Curve, Point
from distill_studio.distill.plot import HEIGHT, WIDTH, Scale, smoothed
from distill_studio.distill.run_comparison import ComparedRow, ComparedRun, RunComparison
from distill_studio.ui.html import esc, note, table

# (label, value) of what can be drawn
DRAWN = [
    ("Training loss", "train"),
    ("Held-out loss", "held"),
    ("Cross-entropy", "ce"),
    ("Distance to the teacher", "kl"),
]
# Value -> training and held-out points, and the figure that decides whether they can be compared.
_SERIES: dict[str, tuple[Callable[[Curve], tuple[list[Point], list[Point]]], str]] = {
    "train": (lambda curve: (curve.train, []), "loss"),
    "held": (lambda curve: ([], curve.validation), "loss"),
    "ce": (lambda curve: (curve.ce, curve.held_ce), "ce"),
    "kl": (lambda curve: (curve.kl, curve.held_kl), "kl"),
}


def comparison_html(found: RunComparison, drawn: str) -> str:
    """Chart, settings that differ, final figures.

    Args:
        found: The runs.
        drawn: A value of `DRAWN`.
    """
    names = [run.name for run in found.runs]
    return "".join((
        _chart(found, drawn),
        '<h4 class="ds-h3">Settings that differ</h4>',
        table(
            ("Setting", *names),
            [[esc(row.label), *map(_setting, row.values)] for row in found.settings],
            empty="None: these runs were told the same.",
        ),
        '<h4 class="ds-h3">Final figures</h4>',
        table(
            ("Figure", *names),
            [[_label(row), *map(_number, row.values)] for row in found.figures],
            empty="None of them has a figure yet.",
        ),
    ))


def _chart(found: RunComparison, drawn: str) -> str:
    series, figure = _SERIES[drawn]
    label = next(label for label, value in DRAWN if value == drawn)
    lines = [(number, run, *series(run.curve)) for number, run in enumerate(found.runs)]
    points = [point for *_, train, held in lines for point in (*train, *held)]
    if not points:
        return note(f"None of these runs has a curve of this: {label}.")
    scale = Scale(points, max(run.curve.total for run in found.runs))
    parts = [scale.axes()]
    for number, run, train, held in lines:
        if train:
            parts.append(scale.line(smoothed(train), f"run-{number} {'part' if held else ''}"))
        if held:
            parts.append(scale.line(held, f"run-{number}"))
            said = f"{esc(run.name)}, "
            parts += [scale.dot(point, f"run-{number}", said) for point in held]
    about = esc(f"{label} of {', '.join(run.name for run in found.runs)} by update.")
    legend = "".join(
        f'<span class="run-{number}"{_about(run, drawn)}>{esc(_name(run, drawn))}</span>'
        for number, run, train, held in lines
        if train or held
    )
    lacking = [run.name for _, run, train, held in lines if not (train or held)]
    missing = ", ".join(lacking)
    return (
        f'<figure class="ds-plot ds-compared"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{about}">{"".join(parts)}</svg>'
        f'<figcaption class="ds-legend">{legend}<span>by update</span></figcaption></figure>'
        f"{_both(lines)}{_unlike(found.unlike[figure])}"
        f"{note(f'Without such a curve: {missing}.') if missing else ''}"
    )


def _both(lines: Sequence[tuple[int, ComparedRun, list[Point], list[Point]]]) -> str:
    has_both = any(train and held for *_, train, held in lines)
    return note("Thin: training, a moving mean. With dots: held out.") if has_both else ""


def _name(run: ComparedRun, drawn: str) -> str:
    return f"{run.name} ({run.kl_label})" if drawn == "kl" and run.kl_label else run.name


def _about(run: ComparedRun, drawn: str) -> str:
    return f' title="{esc(run.kl_about)}"' if drawn == "kl" and run.kl_about else ""


def _unlike(settings: Sequence[str]) -> str:
    if not settings:
        return ""
    return note(
        "Not to be compared by height, for they do not measure the same. They differ in:"
        f" {', '.join(settings)}.",
        "warn",
    )


def _label(row: ComparedRow) -> str:
    if not row.unlike:
        return esc(row.label)
    why = f"not comparable: {', '.join(row.unlike)}"
    return f'{esc(row.label)}<p class="ds-note warn">{esc(why)}</p>'


def _setting(value: str | float | None) -> str:
    return "–" if value is None else esc(value)


def _number(value: str | float | None) -> str:
    if not isinstance(value, float):
        return "–"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.4f}"
