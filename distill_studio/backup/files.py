"""Bytes of a backup: hashes, and parts as Parquet."""

import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from distill_studio.backup.place import BackupError

_BLOCK = 1 << 20
_PREVIOUS = b"previous"


def sha256_of(content: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hex digest of a file, read piece by piece."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_BLOCK):
            found.update(piece)
    return found.hexdigest()


def to_parquet(rows: pa.Table, previous: int) -> bytes:
    """A part's bytes; `previous` is the number of the part written before it, 0 for none."""
    sink = io.BytesIO()
    told = rows.replace_schema_metadata({_PREVIOUS: str(previous)})
    pq.write_table(told, sink, compression="zstd")
    return sink.getvalue()


def previous_of(rows: pa.Table) -> int:
    """The number of the part before the one that these rows were read from."""
    return int((rows.schema.metadata or {}).get(_PREVIOUS, b"0"))


def from_parquet(content: bytes, path: str, sha256: str) -> pa.Table:
    """A part's rows, once its hash is right.

    Raises:
        BackupError: It is torn or was changed.
    """
    if sha256_of(content) != sha256:
        raise broken(path)
    return pq.read_table(io.BytesIO(content))


def broken(path: str) -> BackupError:
    """What is said of a file whose hash is wrong."""
    return BackupError(
        f"{path} in the backup is not what was written: its hash differs.",
        "It was changed or torn there; an older whole copy is taken where there is one.",
        code="broken",
    )
