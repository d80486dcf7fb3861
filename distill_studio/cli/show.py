"""Tables and short texts for the terminal. Model text is untrusted: control characters go."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

_PIPE_WIDTH = 160
_LONGEST_CELL = 200
_NARROWEST = 36  # an id


def clean(value: Any, length: int = 0) -> str:  # noqa: ANN401  (any JSON value)
    """One line of printable text, at most `length` characters when that is given."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    flat = "".join(c if c.isprintable() else " " for c in str(value))
    text = " ".join(flat.split())
    return text if not length or len(text) <= length else f"{text[: length - 1]}…"


def clean_lines(value: Any) -> str:  # noqa: ANN401
    """Printable text with its line breaks; escape sequences cannot act on the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in str(value))


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], empty: str = "") -> None:
    """Print rows; `columns` maps field to heading. `empty` is said when there are none."""
    if not rows:
        print(empty or "Nothing here.")
        return
    cells = [list(columns.values())]
    cells += [[clean(row.get(name), _LONGEST_CELL) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    total = shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns
    while sum(widths) + 2 * len(widths) > total and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1  # the widest gives way; ids stay whole
    for line in cells:
        cut = [clean(cell, width).ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cut).rstrip())


def facts(values: Mapping[str, Any]) -> None:
    """Print names and values, a line each."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        print(f"{name:<{width}}  {clean(value)}")
