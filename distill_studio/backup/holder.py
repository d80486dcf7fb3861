"""Whose backup it is: this app's lease, and the note in the data folder that says which backup it
belongs to.
"""

import hashlib
import os
import platform
import secrets
from datetime import datetime, timedelta
from pathlib import Path

import psutil
from pydantic import Field, ValidationError

from distill_studio.backup.place import BackupError
from distill_studio.backup.records import Lease
from distill_studio.core.ids import new_id
from distill_studio.core.process_mark import is_running, start_mark
from distill_studio.core.records.base import Record, utc_now

NOTE = "backup.json"
_SLACK = timedelta(seconds=5)


class Note(Record):
    """`backup.json` of a data folder."""

    place: str = Field(description="Where its backup lies.")
    chain: str = Field(description="Id of the backup.")
    epoch: int = Field(description="Of the lease that this folder's app took last.")
    token: str = Field(description="Of that lease.")


class Attachment:
    """The note in a data folder."""

    def __init__(self, home: Path) -> None:
        self._path = home / NOTE

    def read(self) -> Note | None:
        """The note; None when the folder was never backed up."""
        try:
            return Note.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, lease: Lease, place: str) -> Note | None:
        """Note a lease that is about to be taken; returns the note before."""
        before = self.read()
        note = Note(place=place, chain=lease.chain, epoch=lease.epoch, token=lease.token)
        self._put(note)
        return before

    def undo(self, before: Note | None) -> None:
        """Back to an earlier note."""
        if before is None:
            self._path.unlink(missing_ok=True)
        else:
            self._put(before)

    def require_same(self, mine: Note | None, lease: Lease) -> None:
        """Refuse to back a folder up over the backup of another one.

        Raises:
            BackupError: The backup is of another folder, or another folder has gone on with it.
        """
        if mine is None or mine.chain != lease.chain:
            raise BackupError(
                "This backup is of another data folder.",
                "Give this one another place; or start with an empty data folder, into which the"
                " backup is put back.",
                code="other_chain",
            )
        if lease.token != mine.token and lease.epoch >= mine.epoch:
            raise BackupError(
                f"{lease.owner} has gone on with this backup from another data folder.",
                "Start with an empty data folder, into which it is put back; what was done here"
                " since stays in this folder.",
                code="other_chain",
            )

    def _put(self, note: Note) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(note.model_dump_json(indent=1), encoding="utf-8")
        os.replace(beside, self._path)


def new_lease(before: Lease | None, holds_s: float) -> Lease:
    """This process's lease, the next after another."""
    process = psutil.Process()
    space = os.environ.get("SPACE_ID", "")
    return Lease(
        chain=before.chain if before else new_id(),
        epoch=before.epoch + 1 if before else 1,
        token=secrets.token_hex(12),
        owner=f"The Space {space}" if space else f"The app on {platform.node() or 'a machine'}",
        space=space,
        host=_host(),
        pid=process.pid,
        pid_started=process.create_time(),
        pid_mark=start_mark(process.pid),
        until=utc_now() + timedelta(seconds=holds_s),
    )


def renewed(lease: Lease, holds_s: float) -> Lease:
    """The same lease, for longer."""
    until = utc_now() + timedelta(seconds=holds_s)
    return lease.model_copy(update={"beat": lease.beat + 1, "until": until})


def is_live(lease: Lease, now: datetime, mine: Note | None = None) -> bool:
    """True while the app that holds a lease must be taken to run.

    Not when it lapsed or was given back; when it ran on this machine and its process is gone; or
    when it is this very Space, of which only one container runs for long: the newer one goes on,
    and the older one's next write is refused. Nor is it when this very process took it, as the
    note `mine` says, and did not come to know.
    """
    if mine is not None and (lease.token, lease.pid, lease.host) == (
        mine.token,
        os.getpid(),
        _host(),
    ):
        return False
    if lease.pid == 0 or lease.until + _SLACK < now:
        return False
    if lease.space:
        return lease.space != os.environ.get("SPACE_ID", "")
    if lease.host == _host():
        return is_running(lease.pid, lease.pid_started, lease.pid_mark)
    return True


def _host() -> str:
    """This machine (and set of process ids, in a container), by a hash."""
    facts = [platform.node()]
    for file in ("/proc/sys/kernel/random/boot_id", "/etc/machine-id"):
        try:
            facts.append(Path(file).read_text(encoding="utf-8").strip())
        except OSError:
            facts.append("")
    try:
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        facts.append("")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
