"""Tables and short texts for the terminal. Model text is untrusted: control characters go."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

_PIPE_WIDTH = 160
_WHOLE = {"id", "name", "status", "curation", "state", "kind"}


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
    from rich.console import Console  # noqa: PLC0415  (quick start without tables)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name, heading in columns.items():
        is_copied = name in _WHOLE  # people copy it into the next command
        longest = max(len(clean(row.get(name))) for row in rows) if is_copied else None
        grid.add_column(heading, overflow="ellipsis", no_wrap=True, min_width=longest)
    for row in rows:
        grid.add_row(*(Text(clean(row.get(name), 200)) for name in columns))
    console.print(grid)


def facts(values: Mapping[str, Any]) -> None:
    """Print names and values, a line each."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        print(f"{name:<{width}}  {clean(value)}")
