"""Choices of rows compared, as safe HTML. Pure; every outside text passes `esc`."""

from collections.abc import Callable, Sequence

from distill_studio.curate.diversity.reports import LABELS, MethodReport, SelectionReport
from distill_studio.curate.diversity.wordmodel import NAME as WORD_MODEL
from distill_studio.ui.html import esc, note, number

Column = tuple[str, Callable[[MethodReport], str], Callable[[MethodReport], float] | None]
_COLUMNS: tuple[Column, ...] = (
    ("Rows", lambda m: number(m.rows), None),
    ("Coverage", lambda m: f"{m.coverage:.3f}", lambda m: m.coverage),
    ("Topics", lambda m: number(m.topics), lambda m: m.topics),
    ("Effective topics", lambda m: f"{m.effective:.1f}", lambda m: round(m.effective, 1)),
    ("Mean quality", lambda m: f"{m.quality:.2f}", lambda m: round(m.quality, 2)),
    (
        "Held-out bits per word",
        lambda m: "–" if m.bits is None else f"{m.bits:.3f}",
        lambda m: 0.0 if m.bits is None else -round(m.bits, 3),
    ),
    ("Time", lambda m: "–" if m.method == "all" else f"{m.seconds:.1f} s", None),
)


def selection_html(report: SelectionReport | None) -> str:
    """The table of a comparison, best figures marked, with what the columns mean."""
    if report is None:
        return note("No choices compared yet.")
    methods = [one for one in report.methods if one.method != "all"]
    head = "".join(f"<th scope='col'>{esc(title)}</th>" for title, _, _ in _COLUMNS)
    body = "".join(_line(one, methods) for one in report.methods)
    return (
        "<div class='ds-table-wrap ds-choice'><table class='ds-table'>"
        f"<caption>{esc(_caption(report))}</caption>"
        f"<thead><tr><th scope='col'>Choice</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{note(_meaning(report))}"
    )


def _line(one: MethodReport, methods: Sequence[MethodReport]) -> str:
    cells = []
    for _, text, worth in _COLUMNS:
        best = worth is not None and one in methods and len(methods) > 1
        best = best and worth is not None and worth(one) >= max(map(worth, methods))
        same = worth is not None and len({worth(m) for m in methods}) == 1
        cells.append(f"<td class='{'best' if best and not same else ''}'>{esc(text(one))}</td>")
    kind = "all" if one.method == "all" else ""
    label = esc(LABELS.get(one.method, one.method).capitalize())
    return f"<tr class='{kind}'><td>{label}</td>{''.join(cells)}</tr>"


def _caption(report: SelectionReport) -> str:
    fixed = f"; {number(report.fixed)} accepted ones are in every choice" if report.fixed else ""
    return f"{number(report.count)} of {number(report.candidates)} rows{fixed}"


def _meaning(report: SelectionReport) -> str:
    said = [
        "Coverage: how alike the nearest chosen row is, averaged over"
        f" {'all' if report.sampled == report.candidates else number(report.sampled)} rows."
    ]
    if report.held_out:
        said.append(
            f"Bits per word: an {WORD_MODEL} fitted on the choice, on {number(report.held_out)}"
            " rows held out of the fit; less is better. It counts words and knows no meaning;"
            " random has the mix of the held-out rows and is hard to beat there."
        )
    else:
        said.append("Too few rows to hold some out.")
    if report.neighbours < report.candidates - 1:
        search = (
            "an exact search"
            if report.recall == 1
            else f"a search that found {report.recall:.1%} of the true ones"
        )
        said.append(
            f"Facility location looks at the {report.neighbours} nearest rows of each, from"
            f" {search}."
        )
    return " ".join(said)
