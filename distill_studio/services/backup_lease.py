"""Whose the backup is: taking its lease, and keeping it while a long restore goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distill_studio.backup import BackupError, LeaseLost, Place
from distill_studio.backup.holder import Attachment, is_live, new_lease
from distill_studio.backup.records import Lease
from distill_studio.core.errors import StudioError
from distill_studio.core.records.base import utc_now

logger = logging.getLogger(__name__)


def take_lease(place: Place, home: Path, *, is_empty: bool) -> Lease:
    """Take the backup for the app over `home`; the place is made where it is not there yet.

    Args:
        place: Where the backup lies.
        home: The data folder; notes which backup it belongs to.
        is_empty: Whether the folder holds nothing that could belong to another backup.

    Raises:
        BackupError: It cannot be read or is not ours to take.
    """
    attachment = Attachment(home)
    mine = attachment.read()
    try:
        lease = place.lease()
    except BackupError as err:
        if err.code != "gone" or (mine is not None and mine.place == place.label):
            raise
        place.make()
        lease = place.lease()
    place.check_private()
    if lease is not None:
        if not is_empty:
            attachment.require_same(mine, lease)
        if is_live(lease, utc_now(), mine):
            raise BackupError(
                f"{lease.owner} backs up to {place.label} and was seen there lately.",
                "Stop that app, or give this one another place. A lease that nobody renews"
                f" lapses at {lease.until:%H:%M:%S} UTC.",
                code="held",
            )
    taken = new_lease(lease, place.lease_s)
    before = attachment.write(taken, place.label)
    try:
        place.take(taken, lease)
    except LeaseLost:  # of any other failure it is not known whether the lease is there
        attachment.undo(before)
        raise
    return taken


@contextmanager
def beating(place: Place, renew: Callable[[], None]) -> Iterator[None]:
    """Keep the lease while a long restore goes on."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(place.beat_every_s):
            try:
                renew()
            except StudioError as err:
                logger.warning("the lease could not be renewed: %s", err)

    thread = threading.Thread(target=beat, name="backup-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
