"""CSV and TSV with a header line. Rows with too many or too few fields are listed, not guessed."""

import csv
from collections.abc import Iterator
from pathlib import Path

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds.source import (
    MAX_ROW_BYTES,
    SourceRow,
    bad_utf8,
    read_lines,
    too_long,
)

_DELIMITERS = ",;\t|"


def read_csv(path: Path) -> Iterator[SourceRow]:
    """Yield a row or a problem for each record after the header.

    Raises:
        InvalidInput: There is no usable header line.
    """
    csv.field_size_limit(MAX_ROW_BYTES)
    feed = _Feed(path)
    header_text = next(feed, "")
    delimiter = max(_DELIMITERS, key=header_text.count)
    names = next(csv.reader([header_text], delimiter=delimiter), [])
    header = [name.strip() or f"column {i}" for i, name in enumerate(names, start=1)]
    _check_header(header)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        first = feed.line + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as err:
            yield SourceRow(first, problem=_explain(err, first, feed.line))
        else:
            row = _row(fields, header, first, feed)
            if row is not None:
                yield row


class _Feed:
    """Lines as text for the csv module; remembers the number of the last one.

    Bytes that are no UTF-8 pass through as surrogates and are found in the finished fields.
    """

    def __init__(self, path: Path) -> None:
        self._lines = read_lines(path)
        self.line = 0
        self.too_long_line = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        raw = next(self._lines)
        self.line = raw.number
        if raw.data is None:
            self.too_long_line = raw.number
            return "\n"
        return raw.data.decode("utf-8", "surrogateescape") + "\n"


def _row(fields: list[str], header: list[str], line: int, feed: _Feed) -> SourceRow | None:
    if feed.too_long_line >= line:
        return SourceRow(feed.too_long_line, problem=too_long("The line"))
    if not fields or (len(fields) == 1 and not fields[0].strip() and len(header) > 1):
        return None  # a blank line
    if len(fields) != len(header):
        return SourceRow(
            line,
            problem=f"{len(fields)} fields where the header has {len(header)}"
            f" ({', '.join(header[:8])}).",
        )
    try:
        "".join(fields).encode("utf-8")
    except UnicodeEncodeError:
        data = ",".join(fields).encode("utf-8", "surrogateescape")
        at, reason = bad_utf8(data, line, unit="row")
        return SourceRow(at, problem=reason)
    return SourceRow(line, values=dict(zip(header, fields, strict=True)))


def _check_header(header: list[str]) -> None:
    if not header:
        raise InvalidInput("The first line of the CSV holds no column names.")
    try:
        "".join(header).encode("utf-8")
    except UnicodeEncodeError as err:
        raise InvalidInput(
            "Line 1, the header, is not valid UTF-8.", "Save the file as UTF-8."
        ) from err
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InvalidInput(
            f"The header names a column twice: {', '.join(twice)}.", "Rename one of them."
        )


def _explain(err: csv.Error, first: int, last: int) -> str:
    text = str(err)
    if "unexpected end of data" in text:
        return f"A quote opened here is never closed; lines {first} to {last} were not read."
    if "field limit" in text:
        return too_long("A field")
    return f"Broken CSV: {text}."
