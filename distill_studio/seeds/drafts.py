"""A file as a stream of drafts, with the checks that concern the file as a whole.

Start from `open_file`. What is no file but has rows all the same is an `OpenSource`, too.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds import IMPORTERS
from distill_studio.seeds.columns import ColumnMapping, guess_mapping
from distill_studio.seeds.conversation import RowError
from distill_studio.seeds.detect import detect_format
from distill_studio.seeds.documents import DOCUMENTS
from distill_studio.seeds.rows import Draft, to_drafts
from distill_studio.seeds.source import SourceRow

SAMPLE_ROWS = 200  # from which the columns are guessed


@dataclass(frozen=True, slots=True)
class DraftedRow:
    """A row of the file with what it says, or the problem that keeps it out."""

    line: int
    drafts: list[Draft]
    problem: str = ""


class OpenSource(Protocol):
    """Rows whose format and columns are known."""

    @property
    def name(self) -> str:
        """Of the file, or of what it is instead."""

    @property
    def size_bytes(self) -> int:
        """0 where it is not known."""

    @property
    def format(self) -> str:
        """A key of IMPORTERS or DOCUMENTS, or another word for what is no file."""

    @property
    def columns(self) -> dict[str, str]:
        """Name -> an example, shortened."""

    @property
    def mapping(self) -> ColumnMapping:
        """Which column is what."""

    @property
    def is_documents(self) -> bool:
        """True when its rows are passages of texts."""

    @property
    def most_rows(self) -> int:
        """Where its rows are cut off; 0: nowhere."""

    @property
    def origin(self) -> dict[str, Any]:
        """What is stored with each row beside the name of the source."""

    def fingerprint(self) -> str:
        """A hash of what it holds, without what its columns are taken for."""

    def rows(self) -> Iterator[DraftedRow]:
        """Every row, in its order."""


@dataclass(frozen=True)
class OpenFile:
    """A file whose format and columns are known."""

    path: Path
    format: str  # a key of IMPORTERS or DOCUMENTS
    columns: dict[str, str]  # name -> an example, shortened
    mapping: ColumnMapping

    most_rows: int = 0
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.name

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.path.stat().st_size

    @property
    def is_documents(self) -> bool:
        """True when its rows are passages of texts."""
        return self.format in DOCUMENTS

    def fingerprint(self) -> str:
        """SHA-256 of its bytes."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def rows(self) -> Iterator[DraftedRow]:
        """Every row, in the file's order."""
        for row in _source_rows(self.path, self.format, self.mapping.passage_words):
            yield draft(row, self.mapping)


def open_file(path: Path, mapping: ColumnMapping | None = None) -> OpenFile:
    """Recognise format and columns; without a mapping, guess one.

    Raises:
        InvalidInput: The file is empty or of no known kind, or the mapping names a column that
            the file does not have.
    """
    file_format = detect_format(path)
    words = mapping.passage_words if mapping else 0
    sample = [
        row.values
        for row in islice(_source_rows(path, file_format, words), SAMPLE_ROWS)
        if row.values is not None
    ]
    columns = columns_of(sample)
    return OpenFile(path, file_format, columns, settled(mapping, sample, columns))


def columns_of(sample: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Column name -> an example, shortened, from the first rows."""
    columns: dict[str, str] = {}
    for values in sample:
        for name, value in values.items():
            if not columns.get(name):
                columns[name] = "" if value is None else _shortened(value)
    return columns


def settled(
    mapping: ColumnMapping | None,
    sample: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
) -> ColumnMapping:
    """The mapping, or a guess where there is none.

    Raises:
        InvalidInput: It names a column that is not there.
    """
    if mapping is None:
        return guess_mapping(sample)
    if sample:
        _check(mapping, list(columns))
    return mapping


def check_usable(file: OpenSource) -> None:
    """Refuse a mapping that says nothing about prompts.

    Raises:
        InvalidInput: Names the columns there are.
    """
    mapping = file.mapping
    if not (mapping.prompt or mapping.messages or mapping.chosen) and file.columns:
        raise InvalidInput(
            f"No column holds prompts or conversations; there are: {_listed(file.columns)}.",
            "Choose the column that holds the prompt.",
        )
    if bool(mapping.chosen) != bool(mapping.rejected):
        raise InvalidInput("Choose both a chosen and a rejected answer, or neither.")


def _source_rows(path: Path, file_format: str, passage_words: int) -> Iterator[SourceRow]:
    if reader := DOCUMENTS.get(file_format):
        return reader(path, passage_words)
    return IMPORTERS[file_format](path)


def draft(row: SourceRow, mapping: ColumnMapping) -> DraftedRow:
    """What a row says, or what is wrong with it."""
    if row.values is None:
        return DraftedRow(row.line, [], row.problem)
    try:
        return DraftedRow(row.line, to_drafts(row.values, mapping))
    except RowError as err:
        return DraftedRow(row.line, [], err.user_message)


def _check(mapping: ColumnMapping, columns: list[str]) -> None:
    for part, name in mapping.columns().items():
        if name not in columns:
            raise InvalidInput(
                f"There is no column '{name}' (chosen as {part.replace('_', ' ')});"
                f" the file has: {_listed(columns)}.",
                "Choose one of these columns, or none.",
            )


def _listed(columns: list[str] | dict[str, str]) -> str:
    return ", ".join(list(columns)[:20]) or "no columns"


def _shortened(value: object) -> str:
    text = " ".join(str(value)[:400].split()).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= 120 else text[:119] + "…"
