"""Small pieces of safe HTML for `gr.HTML(value=...)` with its default template.

Every text that comes from outside passes `esc`; only our own markup is left as it is.
"""

import re
from collections.abc import Iterable, Sequence
from html import unescape

from distill_studio.core.markup import esc

__all__ = [
    "card",
    "chip",
    "duration",
    "empty_state",
    "esc",
    "marked",
    "note",
    "number",
    "page_head",
    "progress_bar",
    "size",
    "table",
    "usd",
]

_TAG = re.compile(r"<[^>]*>")
_MOST_LETTERS = 14  # of a word that makes a table's column wider


def chip(text: str, kind: str = "") -> str:
    """A small label; `kind` is one of '', good, bad, warn, info."""
    return f'<span class="ds-chip {esc(kind)}">{esc(text)}</span>'


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", empty: str = ""
) -> str:
    """A table whose cells are HTML made by `esc` and the like (not raw text).

    A column is wide enough for its words, so that a narrow page scrolls the table sideways; only
    longer words are broken.
    """
    if not rows:
        return note(empty) if empty else ""
    head = "".join(
        f'<th scope="col" style="min-width:{_least_rem(row[n] for row in rows):.1f}rem">'
        f"{esc(column)}</th>"
        for n, column in enumerate(columns)
    )
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    label = f"<caption>{esc(caption)}</caption>" if caption else ""
    return (
        f'<div class="ds-table-wrap"><table class="ds-table">{label}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _least_rem(cells: Iterable[str]) -> float:
    """Room for the longest word of some cells, and for their padding."""
    words = (unescape(word) for cell in cells for word in _TAG.sub(" ", cell).split())
    return 1.5 + 0.58 * max((min(len(word), _MOST_LETTERS) for word in words), default=0)


def note(text: str, kind: str = "") -> str:
    """A quiet paragraph; `kind` is one of '', good, bad, warn."""
    return f'<p class="ds-note {esc(kind)}">{esc(text)}</p>'


def empty_state(title: str, text: str) -> str:
    """What an empty page shows: what is missing and what to do."""
    return f'<div class="ds-empty"><h3>{esc(title)}</h3><p>{esc(text)}</p></div>'


def progress_bar(done: int, total: int | None, label: str) -> str:
    """A labelled bar; without a total it only shows that something moves."""
    value = f'max="{max(total, 1)}" value="{min(done, total)}"' if total else ""
    return f'<progress class="ds-progress" aria-label="{esc(label)}" {value}></progress>'


def card(inner: str, classes: str = "") -> str:
    """A framed box around HTML."""
    return f'<div class="ds-card {esc(classes)}">{inner}</div>'


def page_head(title: str, text: str) -> str:
    """The heading of a tab and one sentence under it."""
    return f'<header class="ds-head"><h2>{esc(title)}</h2><p>{esc(text)}</p></header>'


def number(value: float | None, digits: int = 0) -> str:
    """A number with thin thousands, or a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def counted(count: int, thing: str) -> str:
    """1 seed, 2 seeds, 1,200 seeds."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def size(count: float | None) -> str:
    """Bytes in words."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def marked(pieces: Sequence[tuple[str, str]], side: str) -> str:
    """One side of a difference, what the other side lacks marked."""
    tag = "del" if side == "left" else "ins"
    return "".join(
        esc(text) if where == "both" else f"<{tag}>{esc(text)}</{tag}>"
        for where, text in pieces
        if where in ("both", side)
    )


def usd(amount: float) -> str:
    """`$0.04`; with more digits where cents say nothing."""
    if amount >= 0.01 or not amount:
        return f"${amount:.2f}"
    if amount >= 0.0001:
        return f"${amount:.4f}"
    return f"${amount:.6f}" if amount >= 0.000001 else "under $0.000001"


def duration(seconds: float | None) -> str:
    """Seconds in words: 45 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
