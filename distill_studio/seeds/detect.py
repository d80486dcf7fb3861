"""Which format a file has: by what it holds first, by its name second."""

import json
import re
from pathlib import Path

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds.documents import TEXT_ENDINGS
from distill_studio.seeds.source import BOM

_HEAD_BYTES = 1024 * 1024
_BY_EXTENSION = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".zip": "zip",
    **dict.fromkeys(TEXT_ENDINGS, "text"),
}
_FOREIGN = {
    b"\x1f\x8b": "is compressed with gzip",
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd",
    b"\xff\xfe": "is UTF-16 text",
    b"\xfe\xff": "is UTF-16 text",
    b"SQLite format 3": "is an SQLite database",
    b"%PDF": "is a PDF",
}


def detect_format(path: Path) -> str:
    """The key in `IMPORTERS` or `DOCUMENTS` that reads this file.

    Raises:
        InvalidInput: Empty, compressed, or of no kind we read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    text = head.removeprefix(BOM).lstrip()
    if not text and path.stat().st_size <= _HEAD_BYTES:
        raise InvalidInput(f"{path.name} is empty.", "Choose a file with at least one row.")
    if head.startswith(b"PAR1"):
        return "parquet"
    by_name = _BY_EXTENSION.get(path.suffix.lower(), "")
    if by_name == "zip" and head.startswith(b"PK"):
        return "zip"
    _refuse_foreign(path, head, by_name)
    if by_name == "text" and not _is_json(text):
        return "text"
    if text.startswith(b"["):
        return "csv" if by_name == "csv" else "json"
    if text.startswith(b"{"):
        return _lines_or_one_object(text, by_name if by_name != "text" else "")
    if by_name:
        return by_name
    if any(mark in text.split(b"\n", 1)[0] for mark in (b",", b"\t", b";")):
        return "csv"
    raise InvalidInput(
        f"{path.name} is neither JSON, JSON Lines, CSV, Parquet, text nor a ZIP of texts.",
        "Save it as one of these with UTF-8 text.",
    )


def _refuse_foreign(path: Path, head: bytes, by_name: str) -> None:
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise InvalidInput(
                f"{path.name} {what}.", "Unpack it, or save it as UTF-8 JSONL, JSON or CSV."
            )
    if by_name == "parquet":
        raise InvalidInput(
            f"{path.name} is no Parquet file: it does not begin with PAR1.",
            "If it holds JSON or CSV, give it that ending.",
        )
    if by_name == "zip":
        raise InvalidInput(f"{path.name} is no ZIP archive.", "Pack it again, or fix its ending.")


def _lines_or_one_object(text: bytes, by_name: str) -> str:
    if by_name in ("jsonl", "csv"):
        return by_name if by_name == "jsonl" or not _is_object(text) else "jsonl"
    first, _, rest = text.partition(b"\n")
    if _is_object(text):  # more than one line of it, or the only row
        return "jsonl" if rest.strip() or not by_name else "json"
    return by_name or ("jsonl" if len(first) >= _HEAD_BYTES else "json")


def _is_json(text: bytes) -> bool:
    """True for a list of objects or lines of them under a name of text."""
    return _is_object(text) or bool(re.match(rb"\[\s*\{", text))


def _is_object(text: bytes) -> bool:
    """True when the first line is an object by itself."""
    try:
        return isinstance(json.loads(text.partition(b"\n")[0]), dict)
    except (ValueError, RecursionError):
        return False
