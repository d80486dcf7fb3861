"""What every importer yields, and how a file's bytes are cut into lines without trusting them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_ROW_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row as the file has it, or why it could not be read.

    Args:
        line: 1-based line where the row begins; for Parquet the number of the row.
        values: Column name to value; None when the row could not be read.
        problem: Why not, in the user's words.
    """

    line: int
    values: dict[str, Any] | None = None
    problem: str = ""


Importer = Callable[[Path], Iterator[SourceRow]]


@dataclass(frozen=True, slots=True)
class RawLine:
    """One line without its end; `data` is None when the line is longer than the limit."""

    number: int
    data: bytes | None


def read_lines(path: Path, max_bytes: int = MAX_ROW_BYTES) -> Iterator[RawLine]:
    """Cut a file at line feeds in bounded memory; a longer line is named, never held."""
    number, pending, is_too_long = 1, bytearray(), False
    with path.open("rb") as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            pieces = chunk.split(b"\n")
            for index, piece in enumerate(pieces):
                if index:
                    yield _finished(number, pending, is_too_long)
                    number, pending, is_too_long = number + 1, bytearray(), False
                if not is_too_long:
                    pending += piece
                if len(pending) > max_bytes:
                    pending, is_too_long = bytearray(), True
        if pending or is_too_long:
            yield _finished(number, pending, is_too_long)


def too_long(what: str, max_bytes: int = MAX_ROW_BYTES) -> str:
    """The reason given for a line or row over the limit."""
    return f"{what} is longer than {max_bytes // 1024**2} MiB and was not read."


def bad_utf8(data: bytes, first_line: int = 1, unit: str = "line") -> tuple[int, str]:
    """(line, reason) for bytes that are no UTF-8: which line, which byte of the line or row."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as err:
        line = first_line + data.count(b"\n", 0, err.start)
        start = data.rfind(b"\n", 0, err.start) + 1 if unit == "line" else 0
        reason = (
            f"Not valid UTF-8: byte {err.start - start + 1} of the {unit}"
            f" is 0x{data[err.start]:02X}."
            " Save the file as UTF-8."
        )
        return line, reason
    return first_line, ""


def _finished(number: int, pending: bytearray, is_too_long: bool) -> RawLine:
    return RawLine(number, None if is_too_long else bytes(pending).rstrip(b"\r"))
