"""A snapshot's folder: Parquet splits, manifest.json, README.md; written once, read-only.

`SnapshotWriter` writes into a temporary folder beside the final one and renames it at the end, so
a folder under the final name is always whole. `verify` compares every file with the manifest.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distill_studio.core.errors import Conflict, NotFound
from distill_studio.core.ids import content_hash
from distill_studio.freeze.card import dataset_card

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
CARD = "README.md"
SPLITS = ("train", "validation")


class SnapshotWriter:
    """Takes rows split by split, then `finish`es or is thrown away by `discard`.

    Args:
        folder: The final folder; must not exist.
        schema: Columns of the rows; the first is `id`.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self.temporary = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        self._schema = schema
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._row_hashes: dict[str, list[bytes]] = {}
        self._ids: dict[str, list[str]] = {}

    def add(self, split: str, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows to a split, as one row group."""
        if not rows:
            return
        if split not in self._writers:
            self._writers[split] = pq.ParquetWriter(
                self.temporary / f"{split}.parquet", self._schema, compression="zstd"
            )
        self._writers[split].write_table(pa.Table.from_pylist(list(rows), schema=self._schema))
        self._ids.setdefault(split, []).extend(row["id"] for row in rows)
        self._row_hashes.setdefault(split, []).extend(_row_hash(row) for row in rows)

    @property
    def content_hash(self) -> str:
        """Hash of the rows without their ids and order: equal for equal data and split."""
        digest = hashlib.sha256(",".join(self._schema.names).encode())
        for split in SPLITS:
            digest.update(split.encode())
            for row_hash in sorted(self._row_hashes.get(split, [])):
                digest.update(row_hash)
        return digest.hexdigest()

    def finish(self, facts: dict[str, Any], report: str = "") -> dict[str, Any]:
        """Close the files, write manifest and card, and put the folder in its place.

        Args:
            facts: For the manifest.
            report: On the whole dataset, as Markdown from level 2 on; the end of the card.

        Returns:
            The manifest.
        """
        for writer in self._writers.values():
            writer.close()
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "content_hash": self.content_hash,
            **facts,
            "splits": {split: self._split(split) for split in SPLITS if split in self._writers},
        }
        _write(self.temporary / CARD, dataset_card(manifest, report))
        _write(self.temporary / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
        for path in self.temporary.iterdir():
            path.chmod(0o444)
        if self.folder.exists():
            raise Conflict(f"There is a snapshot '{self.folder.name}' already.")
        self.temporary.rename(self.folder)
        return manifest

    def discard(self) -> None:
        """Throw away what was written, if it was not finished."""
        for writer in self._writers.values():
            writer.close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _split(self, split: str) -> dict[str, Any]:
        path = self.temporary / f"{split}.parquet"
        return {
            "file": path.name,
            "rows": len(self._ids[split]),
            "size_bytes": path.stat().st_size,
            "sha256": _file_hash(path),
            "row_ids": self._ids[split],
        }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a snapshot's folder.

    Raises:
        NotFound: The folder or its manifest is gone.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise NotFound(f"The folder of the snapshot '{folder.name}' is gone.") from err
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def verify(folder: Path) -> None:
    """Compare the files with the manifest.

    Raises:
        Conflict: A file is missing or was changed; says which.
        NotFound: The snapshot is gone.
    """
    for split in read_manifest(folder)["splits"].values():
        path = folder / split["file"]
        if not path.is_file() or _file_hash(path) != split["sha256"]:
            raise Conflict(
                f"{split['file']} of the snapshot '{folder.name}' is not what was frozen.",
                "Somebody changed or removed the file. Freeze again.",
            )


def read_rows(folder: Path, split: str, offset: int, limit: int) -> list[dict[str, Any]]:
    """Some rows of a split, without reading the rest."""
    if split not in read_manifest(folder)["splits"]:
        return []
    rows: list[dict[str, Any]] = []
    with pq.ParquetFile(folder / f"{split}.parquet") as file:
        start = 0
        for number in range(file.num_row_groups):
            end = start + file.metadata.row_group(number).num_rows
            if start < offset + limit and end > offset:
                group = file.read_row_group(number)
                first = max(0, offset - start)
                rows += group.slice(first, limit - len(rows)).to_pylist()
            start = end
    return rows


def _row_hash(row: dict[str, Any]) -> bytes:
    return bytes.fromhex(content_hash({k: v for k, v in row.items() if k != "id"}))


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
