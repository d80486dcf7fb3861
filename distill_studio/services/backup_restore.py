"""A backup becomes a data folder again: the newest whole copy, then the parts that are newer.

Everything is checked by its hash. Where a file of the newest whole copy is broken, the one before
is taken, and the parts since that one: parts are kept as long as any whole copy that lacks them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from distill_studio.backup import place_of
from distill_studio.backup.files import (
    broken,
    from_parquet,
    previous_of,
    sha256_of,
    sha256_of_file,
)
from distill_studio.backup.holder import Attachment
from distill_studio.backup.place import BackupError, Place
from distill_studio.backup.records import Named, WholeCopy, blob_path, parts_of, wholes_of
from distill_studio.core.errors import Conflict, InvalidInput
from distill_studio.core.records import Record
from distill_studio.core.records.base import utc_now
from distill_studio.core.settings import Settings
from distill_studio.store import people_rows
from distill_studio.store.database import STORE_FILE, Database

ACCOUNTS_COPY = "accounts.json"
WORK_FOLDER = "backup-work"  # in the data folder: copies on their way
LOCK_FILE = "studio.lock"
Progress = Callable[[int, int, str], None]


class Restored(Record):
    """What came back."""

    whole: str = Field(default="", description="The whole copy that was taken; '' for none.")
    whole_made_at: str = Field(default="", description="When it was made, ISO, UTC.")
    files: int = Field(default=0, description="Files of it.")
    size: int = Field(default=0, description="Their bytes.")
    parts: int = Field(default=0, description="Parts put back on top.")
    counts: dict[str, dict[str, int]] = Field(default={}, description="Workspace, table -> rows.")
    problems: tuple[str, ...] = Field(default=(), description="What could not be used, in words.")


def holds_anything(paths: dict[str, int]) -> bool:
    """True when there is something to put back."""
    return bool(parts_of(paths) or wholes_of(paths))


def restore(
    place: Place, home: Path, memory_mib: int | None = None, progress: Progress | None = None
) -> Restored:
    """Put a backup into an empty folder `home`, which need not be there.

    Raises:
        BackupError: Nothing in the backup could be used, or it cannot be read.
    """
    tell = progress or (lambda _done, _total, _note: None)
    paths = place.paths()
    problems: list[str] = []
    whole = _take_whole(place, paths, home, problems, tell)
    parts = parts_of(paths)
    if whole is not None:
        parts = [p for p in parts if p.key > (whole.epoch, whole.after)]
    done = _replay(place, parts, whole, home, memory_mib, problems, tell)
    counts = {}
    for file in sorted((home / "workspaces").glob(f"*/{STORE_FILE}")):
        counts[file.parent.name] = _counts(file, memory_mib)
    if not counts and problems:
        raise BackupError("Nothing in the backup could be used. " + problems[0], code="broken")
    return Restored(
        whole=f"{whole.epoch}-{whole.number}" if whole else "",
        whole_made_at=whole.made_at.isoformat() if whole else "",
        files=len(whole.files) if whole else 0,
        size=sum(f.size for f in whole.files) if whole else 0,
        parts=done,
        counts=counts,
        problems=tuple(problems),
    )


def read_whole(place: Place, name: Named) -> WholeCopy:
    """The list of a whole copy, once its hash is right.

    Raises:
        BackupError: It is broken, or of a newer version of the app.
    """
    content = place.read(name.path)
    if sha256_of(content) != name.sha256:
        raise broken(name.path)
    try:
        return WholeCopy.model_validate_json(content)
    except ValidationError as err:
        raise BackupError(
            f"{name.path} in the backup cannot be read by this version of the app.",
            "It was made by a newer one: update this one.",
            code="broken",
        ) from err


def accounts_of(home: Path) -> list[dict[str, Any]]:
    """The accounts that came back with a restore into `home`; their file goes."""
    file = home / ACCOUNTS_COPY
    if not file.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return rows


# -- inside ---------------------------------------------------------------------------------


def _take_whole(
    place: Place, paths: dict[str, int], home: Path, problems: list[str], tell: Progress
) -> WholeCopy | None:
    for name in reversed(wholes_of(paths)):
        try:
            whole = read_whole(place, name)
            _fetch(place, whole, home, tell)
        except BackupError as err:
            if err.code not in {"broken", "missing", "other"}:
                raise  # offline and the like: an older copy is no better
            problems.append(err.user_message)
            shutil.rmtree(home, ignore_errors=True)
        else:
            return whole
    return None


def _fetch(place: Place, whole: WholeCopy, home: Path, tell: Progress) -> None:
    total = sum(f.size for f in whole.files)
    done = 0
    for file in whole.files:
        target = (home / file.path).resolve()
        if home.resolve() not in target.parents:
            raise BackupError(f"{file.path} would lie outside the data folder.", code="broken")
        target.parent.mkdir(parents=True, exist_ok=True)
        place.fetch(blob_path(file.sha256), target)
        if sha256_of_file(target) != file.sha256:
            raise broken(f"{file.path} ({blob_path(file.sha256)})")
        done += file.size
        tell(done, total, f"Fetched {file.path}")


def _replay(
    place: Place,
    parts: list[Named],
    whole: WholeCopy | None,
    home: Path,
    memory_mib: int | None,
    problems: list[str],
    tell: Progress,
) -> int:
    done = 0
    before = {(whole.epoch, whole.after)} if whole else set()
    seen = {p.key for p in parts} | before
    for workspace in dict.fromkeys(p.workspace for p in parts):
        file = home / "workspaces" / workspace / STORE_FILE
        db = Database(file, memory_mib)
        try:
            for part in (p for p in parts if p.workspace == workspace):
                try:
                    rows = from_parquet(place.read(part.path), part.path, part.sha256)
                except BackupError as err:
                    if err.code not in {"broken", "missing"}:
                        raise
                    problems.append(err.user_message)
                    continue
                previous = previous_of(rows)
                if previous and (part.epoch, previous) not in seen:
                    problems.append(f"The part before {part.path} is missing in the backup.")
                people_rows.replay(db, rows)
                done += 1
                tell(done, len(parts), f"Decisions of {workspace}")
            db.checkpoint()
        finally:
            db.close()
    return done


def _counts(file: Path, memory_mib: int | None) -> dict[str, int]:
    db = Database(file, memory_mib)
    try:
        return people_rows.counts(db)
    finally:
        db.close()


def is_empty(home: Path) -> bool:
    """True when a data folder holds no workspace."""
    return not any((home / "workspaces").glob(f"*/{STORE_FILE}"))


def put_in_place(restored: Path, home: Path) -> None:
    """Move what was restored into an empty data folder: the workspaces last, in one step."""
    accounts = restored / ACCOUNTS_COPY
    if accounts.exists():
        os.replace(accounts, home / ACCOUNTS_COPY)
    old = home / "workspaces"
    if old.exists():  # folders without a store
        aside = home / "trash" / f"workspaces-{utc_now():%Y%m%d-%H%M%S}"
        aside.parent.mkdir(exist_ok=True)
        shutil.move(old, aside)
    restored.joinpath("workspaces").mkdir(exist_ok=True)
    os.replace(restored / "workspaces", old)
    shutil.rmtree(restored, ignore_errors=True)


def clear(folder: Path) -> None:
    """An empty folder, made when missing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def in_words(restored: Restored) -> str:
    """What was put back, in a sentence."""
    rows = sum(c["decisions"] + c["votes"] for c in restored.counts.values())
    age = ""
    if restored.whole_made_at:
        made = datetime.fromisoformat(restored.whole_made_at)
        age = f"the whole copy of {made:%Y-%m-%d %H:%M:%S} UTC and "
    return (
        f"Put back at the start from {age}{restored.parts} newer parts:"
        f" {rows:,} decisions and votes in {len(restored.counts)} workspaces."
    )


def restore_by_command(settings: Settings) -> Restored:
    """Put the configured backup into the configured data folder, which must be empty.

    Raises:
        InvalidInput: No backup is configured.
        Conflict: The folder is in use, or holds something.
        BackupError: The backup cannot be read.
    """
    if not settings.backup.strip():
        raise InvalidInput(
            "No backup is configured.",
            "Set DISTILL_STUDIO_BACKUP to hf://datasets/user/name or to a folder.",
        )
    place, home = place_of(settings.backup), settings.home
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as err:
        raise Conflict(f"The data folder {home} is in use.", "Stop the app first.") from err
    try:
        if not is_empty(home):
            raise Conflict(
                f"The data folder {home} holds workspaces already.",
                "Give an empty one with --home.",
            )
        lease = place.lease()
        target = home / WORK_FOLDER / "restored"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        found = restore(place, target, settings.store_memory_mib)
        if lease is not None:
            Attachment(home).write(lease, place.label)
        put_in_place(target, home)
        return found
    finally:
        lock.release()
