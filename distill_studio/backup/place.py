"""The interface of a place for backups, and how it can fail."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from distill_studio.backup.records import Lease
from distill_studio.core.errors import StudioError

LEASE_FILE = "lease.json"


class BackupError(StudioError, RuntimeError):
    """A place could not be read or written.

    Args:
        user_message: What happened.
        hint: What to do.
        code: For programs: offline, busy, no_rights, gone, full, held, public, other_chain, broken,
            missing, other.
        retry_after_s: The place's wish, when it said one.
    """

    code = "backup"
    http_status = 503

    def __init__(
        self,
        user_message: str,
        hint: str = "",
        code: str = "other",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(user_message, hint)
        self.code = code
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Pickle with all four."""
        return type(self), (self.user_message, self.hint, self.code, self.retry_after_s)


class LeaseLost(BackupError):
    """Another app writes to this backup now: this one must not write any more."""


class Place(Protocol):
    """A folder or a repository. Paths are relative, with `/`; no method keeps partial files."""

    label: str  # as people know it
    part_every_s: float  # least time between two writes of parts
    beat_every_s: float  # how often a lease is renewed when nothing is written
    lease_s: float  # how long a lease holds without

    def make(self) -> None:
        """Make the place, private, when it is not there.

        Raises:
            BackupError: It cannot be made.
        """

    def paths(self) -> dict[str, int]:
        """Every file of the backup with its size in bytes.

        Raises:
            BackupError: It cannot be read.
        """

    def read(self, path: str) -> bytes:
        """A small file.

        Raises:
            BackupError: It cannot be read, or is not there.
        """

    def fetch(self, path: str, target: Path) -> None:
        """Write a file of the backup to `target`."""

    def lease(self) -> Lease | None:
        """Who holds the backup, or held it last; None when nobody ever did.

        Raises:
            BackupError: With the code `gone` when the place itself is not there.
        """

    def take(self, lease: Lease, instead_of: Lease | None) -> None:
        """Put a lease where `instead_of` (as it was read) stood.

        Raises:
            LeaseLost: Another app was quicker.
        """

    def bring(self, files: Mapping[str, Path]) -> None:
        """Carry big files over ahead of `write`, which then is short. Their names are hashes.

        Raises:
            BackupError: It failed; what came over is there when it is tried again.
        """

    def write(
        self, files: Mapping[str, bytes | Path], gone: Sequence[str], lease: Lease, why: str
    ) -> None:
        """Add files in their order, then remove some, and renew the lease (same token).

        Raises:
            LeaseLost: The lease is another app's; nothing was written.
            BackupError: It failed; files may be there, whole, but not the later ones.
        """

    def tidy(self) -> None:
        """Free what removed files still take, where the place keeps a history. Now and then.

        Raises:
            BackupError: It failed; nothing is lost by that.
        """

    def check_private(self) -> None:
        """Refuse a place that strangers can read.

        Raises:
            BackupError: With the code `public`.
        """
