"""Text and Markdown files, alone or in a ZIP, as rows of passages. Nothing is unpacked to disk.

Each passage is a row with `text`, `document` (its name in the archive), `part` and `of`. A file of
an archive that cannot be read costs that file only.
"""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds.passages import MAX_WORDS, split_passages
from distill_studio.seeds.source import BOM, SourceRow, bad_utf8

TEXT_ENDINGS = (".txt", ".text", ".md", ".markdown")
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
MAX_ARCHIVE_BYTES = 1024 * 1024 * 1024  # of its documents, unpacked
MAX_DOCUMENTS = 20_000
_OFFICE = ("[Content_Types].xml", "mimetype")
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)

DocumentReader = Callable[[Path, int], Iterator[SourceRow]]


def read_text(path: Path, max_words: int = 0) -> Iterator[SourceRow]:
    """Yield the passages of one file; `line` is where each begins."""
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        yield SourceRow(1, problem=f"{path.name} {_too_large()}")
        return
    yield from _rows(path.read_bytes(), path.name, max_words)


def read_zip(path: Path, max_words: int = 0) -> Iterator[SourceRow]:
    """Yield the passages of the archive's documents; `line` is the number of the passage.

    Raises:
        InvalidInput: It is no ZIP archive, an office document, or holds too many files.
    """
    number, size = 1, 0
    with _opened(path) as archive:
        for info in _members(archive, path.name):
            name = info.filename.replace("\\", "/")
            data, problem = _member(archive, info, name)
            size += len(data)
            if size > MAX_ARCHIVE_BYTES:
                limit = MAX_ARCHIVE_BYTES // 1024**2
                rest = f"{_shown(name)} and what follows: more than {limit} MiB of text at once."
                yield SourceRow(number, problem=rest)
                return
            if problem:
                yield SourceRow(number, problem=f"{_shown(name)} {problem}")
                number += 1
            else:
                for row in _rows(data, name, max_words, is_named=True):
                    yield SourceRow(number, row.values, row.problem)
                    number += 1


DOCUMENTS: dict[str, DocumentReader] = {"text": read_text, "zip": read_zip}


def _members(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The files of an archive by name, without what operating systems add by themselves."""
    infos = archive.infolist()
    if any(info.filename in _OFFICE for info in infos):
        raise InvalidInput(
            f"{name} is an office document, not an archive of texts.",
            "Save it as plain text or Markdown.",
        )
    kept = [info for info in infos if not info.is_dir() and not _is_hidden(info.filename)]
    if len(kept) > MAX_DOCUMENTS:
        raise InvalidInput(
            f"{name} holds {len(kept):,} files; {MAX_DOCUMENTS:,} go in at once.",
            "Split it into several archives.",
        )
    return sorted(kept, key=lambda info: info.filename)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as err:
        raise InvalidInput(
            f"{path.name} is no readable ZIP archive ({err}).", "Is it cut off? Pack it again."
        ) from err


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> tuple[bytes, str]:
    """(content, what keeps it out); never more than the limit is unpacked, whatever it claims."""
    if problem := _why_not(name, info):
        return b"", problem
    try:
        with archive.open(info) as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
    except _UNREADABLE as err:
        why = str(err).splitlines()[0] if str(err) else "damaged"
        return b"", f"cannot be read ({why})."
    if len(data) > MAX_DOCUMENT_BYTES:
        return b"", _too_large()
    return data, ""


def _why_not(name: str, info: zipfile.ZipInfo) -> str:
    """What keeps a file of an archive out, as far as its entry tells."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "has a name that leads out of the archive."
    if path.suffix.lower() not in TEXT_ENDINGS:
        return "is no text or Markdown file."
    if info.flag_bits & 0x1:
        return "is encrypted. Pack it without a password."
    return ""


def _rows(data: bytes, name: str, max_words: int, *, is_named: bool = False) -> Iterator[SourceRow]:
    prefix = f"{_shown(name)}: " if is_named else ""
    body = data.removeprefix(BOM)
    line, problem = bad_utf8(body)
    if b"\0" in body:
        line, problem = body.count(b"\n", 0, body.index(b"\0")) + 1, "Holds binary data, not text."
    if problem:
        where = f"line {line}: " if is_named else ""
        yield SourceRow(line, problem=f"{prefix}{where}{problem}")
        return
    text = body.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    passages = split_passages(text, max_words or MAX_WORDS)
    if not passages:
        yield SourceRow(1, problem=f"{prefix}It holds no words.")
    for part, passage in enumerate(passages, start=1):
        values = {"text": passage.text, "document": name, "part": part, "of": len(passages)}
        yield SourceRow(passage.line, values=values)


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return "__MACOSX" in parts or any(part.startswith(".") and part != ".." for part in parts)


def _too_large() -> str:
    return f"is larger than {MAX_DOCUMENT_BYTES // 1024**2} MiB. Split it."


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:200]
