"""A JSON array of objects, read piece by piece; or one object that holds such an array.

A broken element costs that element only: elements are cut apart by brackets and quotes first and
parsed afterwards.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from distill_studio.seeds.json_text import parse_row
from distill_studio.seeds.source import (
    BOM,
    CHUNK_BYTES,
    MAX_ROW_BYTES,
    SourceRow,
    bad_utf8,
    too_long,
)

_IN_STRING = re.compile(r'(?:[^"\\\n]++|\\.)*+', re.DOTALL)  # a line feed ends a broken string
_MARK = re.compile(r'["{}\[\],]')
_MAX_OBJECT_BYTES = 64 * 1024 * 1024


def read_json(path: Path) -> Iterator[SourceRow]:
    """Yield a row or a problem for each element of the array."""
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(BOM).lstrip()
    yield from _read_array(path) if head.startswith(b"[") else _read_object(path)


@dataclass
class _Scanner:
    """Cuts array elements out of text that arrives in chunks.

    After an element with a quote or bracket missing it finds its feet at the next line whose
    object stands in the same column as the first element did.
    """

    line: int = 1
    depth: int = 0
    is_in_string: bool = False
    is_over: bool = False
    start_line: int = 0
    parts: list[str] = field(default_factory=list)
    size: int = 0
    column: int = -1

    def feed(self, chunk: str) -> Iterator[SourceRow]:
        """Yield the elements that end in this chunk. Ends before a lone backslash."""
        start = position = 0
        while position < len(chunk) and not self.is_over:
            if self.is_in_string:
                match = _IN_STRING.match(chunk, position)
                position = match.end() if match else position
                if position < len(chunk):
                    self.is_in_string = False
                    position += chunk[position] == '"'
                continue
            mark = _MARK.search(chunk, position)
            if mark is None:
                break
            position = mark.end()
            is_restart = mark.group() == "{" and self._is_restart(chunk, mark.start())
            if is_restart or self._is_boundary(mark.group()):
                self._take(chunk[start : mark.start()])
                yield from self._element()
                start = mark.start() if is_restart else position
        self._take(chunk[start:])

    def end(self) -> Iterator[SourceRow]:
        """What is left when the file ends."""
        rest = "".join(self.parts).strip()
        if self.is_over:
            if rest:
                yield SourceRow(self.start_line, problem="There is text after the end of the list.")
            return
        where = "in the middle of the row that begins here" if self.start_line else "too early"
        yield SourceRow(
            self.start_line or self.line,
            problem=f"The file ends {where}: the list is never closed. Is the file cut off?",
        )

    def _is_boundary(self, mark: str) -> bool:
        if mark == '"':
            self.is_in_string = True
        elif mark in "{[":
            self.depth += 1
            return self.depth == 1
        elif mark == "]" and self.depth == 1:
            self.is_over = True
            return True
        elif mark in "}]":
            self.depth = max(1, self.depth - 1)
        return mark == "," and self.depth == 1

    def _is_restart(self, chunk: str, at: int) -> bool:
        line_start = chunk.rfind("\n", 0, at)
        if line_start < 0 or chunk[line_start:at].strip():
            return False
        if self.column < 0 and self.depth == 1:
            is_compact = chunk[at:].partition("\n")[0].rstrip(" ,\r").endswith("}")
            self.column = at - line_start if at - line_start > 1 or is_compact else 0
        is_lost = self.depth > 1 and at - line_start == self.column
        if is_lost:
            self.depth = 2  # this object's own bracket is open
        return is_lost

    def _take(self, text: str) -> None:
        if not self.start_line and (stripped := text.lstrip()):
            self.start_line = self.line + text.count("\n", 0, len(text) - len(stripped))
        self.line += text.count("\n")
        self.size += len(text)
        if self.size > MAX_ROW_BYTES:
            self.parts.clear()
        else:
            self.parts.append(text)

    def _element(self) -> Iterator[SourceRow]:
        text, line, size = "".join(self.parts), self.start_line, self.size
        self.parts, self.size, self.start_line = [], 0, 0
        if size > MAX_ROW_BYTES:
            yield SourceRow(line, problem=too_long("The row"))
        elif text.strip():
            yield _parse(text.strip(), line)


def _parse(text: str, line: int) -> SourceRow:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        at, reason = bad_utf8(text.encode("utf-8", "surrogateescape"), line, unit="row")
        return SourceRow(at, problem=reason)
    return parse_row(text, line)


def _read_array(path: Path) -> Iterator[SourceRow]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    scanner, held = _Scanner(), ""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            text = held + decoder.decode(chunk)
            is_odd = (len(text) - len(text.rstrip("\\"))) % 2  # its partner is in the next chunk
            held = "\\" if is_odd else ""
            yield from scanner.feed(text[: len(text) - len(held)])
    yield from scanner.feed(held + decoder.decode(b"", final=True))
    yield from scanner.end()


def _read_object(path: Path) -> Iterator[SourceRow]:
    if path.stat().st_size > _MAX_OBJECT_BYTES:
        limit = _MAX_OBJECT_BYTES // 1024**2
        yield SourceRow(
            1,
            problem=f"One JSON object of more than {limit} MiB. Write a list, or one row a line.",
        )
        return
    data = path.read_bytes().removeprefix(BOM)
    line, reason = bad_utf8(data)
    if reason:
        yield SourceRow(line, problem=reason)
        return
    row = parse_row(data.decode("utf-8"), 1)
    lists = [
        v for v in (row.values or {}).values() if isinstance(v, list) and v and _all_objects(v)
    ]
    if row.values is None or len(lists) != 1 or _looks_like_row(row.values):
        yield row
        return
    for number, value in enumerate(lists[0], start=1):
        yield SourceRow(number, values=value)


def _all_objects(values: list[object]) -> bool:
    return all(isinstance(value, dict) for value in values)


def _looks_like_row(values: dict[str, object]) -> bool:
    """A single row with a conversation in it, rather than a wrapper around rows."""
    turns = next((v for v in values.values() if isinstance(v, list) and v), [])
    first = turns[0] if isinstance(turns, list) else None
    return isinstance(first, dict) and bool({"role", "from"} & set(first))
