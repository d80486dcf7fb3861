"""A backup in a folder: another disk, a network share, a mounted bucket.

Files appear whole (written beside, then renamed). The lease is a file made exclusively; to take one
that lapsed, a second such file makes takers wait for each other. Storage that cannot make a file
exclusively (some mounted buckets) may let two takers through: each reads the lease back before it
writes, so one of them stops, and parts of both have names of their own.
"""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from distill_studio.backup.place import LEASE_FILE, BackupError, LeaseLost
from distill_studio.backup.records import Lease

_TAKING = "lease.taking"
_TAKING_HOLDS_S = 60.0
_BESIDE = ".tmp-"


class FolderPlace:
    """A folder. See `Place`."""

    part_every_s = 3.0
    beat_every_s = 20.0
    lease_s = 90.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.label = str(folder)

    def make(self) -> None:
        """Make the folder, for this user alone."""
        with self._told("written"):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def check_private(self) -> None:
        """Whoever may read the disk may: nothing to check."""

    def paths(self) -> dict[str, int]:
        """Every file with its size."""
        found: dict[str, int] = {}
        with self._told("read"):
            self._require()
            for folder, _, names in os.walk(self.folder, onerror=_raise):
                for name in names:
                    path = Path(folder) / name
                    if not name.startswith(_BESIDE):
                        found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
        return found

    def read(self, path: str) -> bytes:
        """A small file's bytes."""
        with self._told("read"):
            return (self.folder / path).read_bytes()

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file of the backup."""
        with self._told("read"):
            shutil.copyfile(self.folder / path, target)

    def lease(self) -> Lease | None:
        """Who holds the backup, or held it last."""
        with self._told("read"):
            self._require()
            path = self.folder / LEASE_FILE
            if not path.exists():
                return None
            return Lease.model_validate_json(path.read_bytes())

    def take(self, lease: Lease, instead_of: Lease | None) -> None:
        """Put a lease where `instead_of` stood."""
        with self._told("written"), self._taking():
            now = self.lease()
            if (now and (now.token, now.beat)) != (
                instead_of and (instead_of.token, instead_of.beat)
            ):
                raise _lost(now)
            self._put(LEASE_FILE, lease.model_dump_json(indent=1).encode())
        if (found := self.lease()) is None or found.token != lease.token:
            raise _lost(found)

    def bring(self, files: Mapping[str, Path]) -> None:
        """Copy files whose names are hashes; one that is there with the same size stays."""
        with self._told("written"):
            self._require()
            for path, source in files.items():
                there = self.folder / path
                if not there.exists() or there.stat().st_size != source.stat().st_size:
                    self._put(path, source)

    def write(
        self, files: Mapping[str, bytes | Path], gone: Sequence[str], lease: Lease, why: str
    ) -> None:
        """Add files, the big ones first, remove some, renew the lease."""
        del why  # a repository says it in its history
        with self._told("written"):
            found = self.lease()
            if found is None or found.token != lease.token:
                raise _lost(found)
            self.bring({path: c for path, c in files.items() if isinstance(c, Path)})
            for path, content in files.items():
                if isinstance(content, bytes):
                    self._put(path, content)
            for path in gone:
                (self.folder / path).unlink(missing_ok=True)
            self._put(LEASE_FILE, lease.model_dump_json(indent=1).encode())

    def tidy(self) -> None:
        """A folder keeps no history."""

    # -- inside ---------------------------------------------------------------------------

    def _require(self) -> None:
        if not self.folder.is_dir():
            raise BackupError(
                f"The backup folder {self.folder} is not there.",
                "Mount the disk again, or make the folder.",
                code="gone",
            )

    def _put(self, path: str, content: bytes | Path) -> None:
        """Write a file beside its place, then move it there."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f"{_BESIDE}{secrets.token_hex(6)}")
        try:
            with beside.open("wb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    @contextmanager
    def _taking(self) -> Iterator[None]:
        """One taker at a time; what a dead one left is cleared away after a minute."""
        path = self.folder / _TAKING
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _TAKING_HOLDS_S:
                path.unlink()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError as err:
            raise LeaseLost("Another app is taking this backup just now.", code="held") from err
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """Errors of the operating system, in words."""
        try:
            yield
        except BackupError:
            raise
        except ValueError as err:
            raise BackupError(
                f"{LEASE_FILE} in {self.folder} cannot be read: {err}", code="broken"
            ) from err
        except OSError as err:
            raise _in_words(err, self.folder, done) from err


def _raise(error: OSError) -> None:
    raise error


def _in_words(err: OSError, folder: Path, done: str) -> BackupError:
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return BackupError(
            f"The disk of the backup folder {folder} is full.", "Make room on it.", code="full"
        )
    if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return BackupError(
            f"No rights: the backup folder {folder} may not be {done}.",
            "Let the user who runs the app read and write it.",
            code="no_rights",
        )
    return BackupError(
        f"The backup folder {folder} could not be {done}: {err.strerror or err}.",
        "Is the disk mounted?",
        code="other",
    )


def _lost(found: Lease | None) -> LeaseLost:
    who = found.owner if found and found.token else "Somebody"
    return LeaseLost(
        f"{who} has taken this backup since.",
        "Only one app may write to a backup: stop one of them, or give one another place.",
        code="held",
    )
