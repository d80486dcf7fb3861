"""JSON Lines: one object a line. A bad line costs that line only."""

from collections.abc import Iterator
from pathlib import Path

from distill_studio.seeds.json_text import parse_row
from distill_studio.seeds.source import SourceRow, bad_utf8, read_lines, too_long


def read_jsonl(path: Path) -> Iterator[SourceRow]:
    """Yield a row or a problem for each line that is not blank."""
    for raw in read_lines(path):
        if raw.data is None:
            yield SourceRow(raw.number, problem=too_long("The line"))
        elif raw.data.strip():
            try:
                text = raw.data.decode("utf-8")
            except UnicodeDecodeError:
                yield SourceRow(raw.number, problem=bad_utf8(raw.data)[1])
            else:
                yield parse_row(text, raw.number)
