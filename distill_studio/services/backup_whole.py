"""A whole copy: a consistent copy of every workspace's store, its snapshots and finished models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio import __version__
from distill_studio.backup.files import sha256_of, sha256_of_file
from distill_studio.backup.records import (
    FileEntry,
    Named,
    WholeCopy,
    WorkspaceCopy,
    blob_path,
    parts_of,
    whole_path,
    wholes_of,
)
from distill_studio.backup.thinning import kept
from distill_studio.services.backup_restore import ACCOUNTS_COPY
from distill_studio.store import people_rows, runs, snapshots
from distill_studio.store.database import STORE_FILE, Database

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

# What was made longer before a copy than this is in it: times are taken some moments before a row
# is written, by an import of a big file some minutes.
SURELY_STORED = timedelta(hours=1)
_SMALL = 64 * 2**20
_MEMORY_MIB = 256
_ALL = 1_000_000


@dataclass
class Staged:
    """Files that wait to be written: blob path -> file here; and what each workspace's copy has."""

    files: list[FileEntry] = field(default_factory=list)
    blobs: dict[str, Path] = field(default_factory=dict)
    workspaces: dict[str, WorkspaceCopy] = field(default_factory=dict)
    spoken_of: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


class WholeCopies:
    """Makes them, and says which old ones may go.

    Args:
        home: The data folder.
        stage: A folder in it for copies on their way; emptied each time.
        model_mib: The largest model that is kept.
    """

    def __init__(self, home: Path, stage: Path, model_mib: int) -> None:
        self._home = home
        self._stage = stage
        self._most = model_mib * 2**20
        self._hashes: dict[tuple[str, int, int], str] = {}  # path, size, time of change -> hash

    def stage(
        self,
        workspaces: Mapping[str, Workspace],
        accounts: list[dict[str, object]],
        since: datetime,
    ) -> Staged:
        """Copy the stores, hash the files. Writers of a workspace wait while its store is copied.

        Raises:
            OSError: No room for the copies, or a file went meanwhile.
        """
        shutil.rmtree(self._stage, ignore_errors=True)
        self._stage.mkdir(parents=True)
        staged = Staged()
        people = self._stage / ACCOUNTS_COPY
        people.write_text(json.dumps(accounts, sort_keys=True), encoding="utf-8")
        self._add(staged, people, ACCOUNTS_COPY, is_fresh=True)
        for name, workspace in workspaces.items():
            copy = self._stage / f"{name}.duckdb"
            workspace.db.copy_to(copy)
            db = Database(copy, _MEMORY_MIB)  # opens it: it is whole
            try:
                staged.workspaces[name] = WorkspaceCopy(
                    counts=people_rows.counts(db), marks=people_rows.marks_of(db)
                )
                staged.spoken_of[name] = people_rows.made_since(db, since)
                done = [run.name for run in runs.page(db, limit=_ALL) if run.state == "done"]
                frozen = [one.name for one in snapshots.page(db, limit=_ALL)]  # wholly written
                db.checkpoint()
            finally:
                db.close()
            self._add(staged, copy, f"workspaces/{name}/{STORE_FILE}", is_fresh=True)
            for snapshot in frozen:
                for file in sorted((workspace.folder / "snapshots" / snapshot).rglob("*")):
                    self._keep(staged, file)
            for run in done:
                self._keep_run(staged, workspace.folder / "runs" / run)
        return staged

    def clear(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self._stage, ignore_errors=True)

    def _keep_run(self, staged: Staged, folder: Path) -> None:
        """A finished run: its small files, and its model within the limit; no checkpoints."""
        model = [f for f in (folder / "model").rglob("*") if f.is_file()]
        total = sum(f.stat().st_size for f in model)
        if total > self._most:
            staged.left_out.append(f"the model of {folder.name} ({total / 2**20:,.0f} MiB)")
            model = []
        small = [f for f in folder.glob("*") if f.is_file() and f.stat().st_size <= _SMALL]
        for file in sorted([*small, *model]):
            self._keep(staged, file)

    def _keep(self, staged: Staged, file: Path) -> None:
        if file.is_file() and not file.is_symlink():
            self._add(staged, file, file.relative_to(self._home).as_posix())

    def _add(self, staged: Staged, file: Path, path: str, *, is_fresh: bool = False) -> None:
        facts = file.stat()
        key = (path, facts.st_size, facts.st_mtime_ns)
        sha256 = None if is_fresh else self._hashes.get(key)
        if sha256 is None:
            sha256 = self._hashes[key] = sha256_of_file(file)
        staged.files.append(FileEntry(path=path, sha256=sha256, size=facts.st_size))
        staged.blobs[blob_path(sha256)] = file


def listed(
    staged: Staged, chain: str, epoch: int, number: int, after: int, now: datetime
) -> tuple[str, bytes, WholeCopy]:
    """The list of a whole copy: where it goes, its bytes, and what it says."""
    whole = WholeCopy(
        chain=chain,
        epoch=epoch,
        number=number,
        after=after,
        made_at=now,
        app_version=__version__,
        workspaces=staged.workspaces,
        files=tuple(staged.files),
        left_out=tuple(staged.left_out),
    )
    content = whole.model_dump_json(indent=1).encode()
    return whole_path(epoch, number, sha256_of(content)), content, whole


def superfluous(
    paths: Mapping[str, int], wholes: Mapping[str, WholeCopy], now: datetime
) -> list[str]:
    """What may go: old whole copies, their files, and the parts that every kept copy has.

    Args:
        paths: Everything in the backup.
        wholes: The lists of all its whole copies, by path. One that could not be read is not among
            them; then nothing goes, for it is not known what it needs.
        now: The time.
    """
    names = wholes_of(dict(paths))
    if not names or any(n.path not in wholes for n in names):
        return []
    stay = kept([wholes[n.path].made_at for n in names], now)
    keep: list[Named] = [n for i, n in enumerate(names) if i in stay]
    lists = [wholes[n.path] for n in keep]
    needed = {blob_path(f.sha256) for whole in lists for f in whole.files}
    oldest = min((whole.epoch, whole.after) for whole in lists)
    return [
        *(n.path for n in names if n not in keep),
        *(p for p in paths if p.startswith("blobs/") and p not in needed),
        *(p.path for p in parts_of(dict(paths)) if p.key <= oldest),
    ]
