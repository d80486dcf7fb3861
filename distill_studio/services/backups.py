"""The backup of the whole studio: a thread that takes what people said away within seconds, another
that takes whole copies every few minutes, and a restore at the start of an empty data folder.

Nothing here stands in the way of labelling: what fails is told (`state`) and tried again. Start
from `Backups.begin` (at the start, before anything is opened) and `Backups.start`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.backup import BackupError, LeaseLost, Place, place_of
from distill_studio.backup.disk import disk_here
from distill_studio.backup.holder import renewed
from distill_studio.backup.records import Lease, WholeCopy, wholes_of
from distill_studio.core.errors import Conflict, StudioError
from distill_studio.core.records.backup import BackupPoint, BackupState
from distill_studio.core.records.base import utc_now
from distill_studio.services.backup_lease import beating, take_lease
from distill_studio.services.backup_parts import Files, PartWriter
from distill_studio.services.backup_restore import (
    WORK_FOLDER,
    Restored,
    clear,
    holds_anything,
    in_words,
    is_empty,
    put_in_place,
    read_whole,
    restore,
)
from distill_studio.services.backup_standing import Standing, Work
from distill_studio.services.backup_whole import SURELY_STORED, WholeCopies, listed, superfluous
from distill_studio.store import people_rows

if TYPE_CHECKING:
    from distill_studio.services.studio import Studio
    from distill_studio.services.workspace import Workspace

logger = logging.getLogger(__name__)

_TICK_S = 0.5
_CLOSE_WITHIN_S = 20.0
_TIDY_EVERY_S = 24 * 3600.0
# A backup begins with a whole copy, or the first part would hold all that was ever said; parts go
# alone when the copy takes longer or fails.
_WHOLE_FIRST_S = 120.0


class Backups:
    """Where the studio's data goes, and how that stands.

    Args:
        studio: Over its locked data folder; its workspaces need not be open yet.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._settings = studio.settings
        self._work = studio.home / WORK_FOLDER
        self._place: Place | None = (
            place_of(self._settings.backup) if self._settings.backup.strip() else None
        )
        self._guard = threading.RLock()  # of writing to the place
        self.whole_guard = threading.Lock()  # of whole copies: none is made or thinned within
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lease: Lease | None = None
        self._parts: PartWriter | None = None  # of the lease that was taken last
        self._copy_number = 0  # of whole copies
        self._whole_first_until = 0.0
        self._wholes: dict[str, WholeCopy] = {}
        self._copied: dict[str, int] = {}  # workspace -> version of its store, of the last of them
        self._copied_accounts: list[dict[str, object]] = []
        self._last_write = self._last_whole = float("-inf")
        self._is_asked = False
        self._last_tidy = time.monotonic()
        self._life = secrets.token_hex(8)
        self._covered = 0
        self._chain = ""
        self._next_try: dict[Work, float] = {}
        self._copies = WholeCopies(
            studio.home, self._work / "stage", self._settings.backup_model_mib
        )
        self.restored: Restored | None = None
        self._standing = Standing(
            BackupState(
                is_on=self._place is not None,
                place=self._place.label if self._place else "",
                status="starting" if self._place else "off",
                disk=disk_here(studio.home),
                is_space=self._settings.is_space,
            )
        )

    # -- what others ask --------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """True when a place for backups is configured."""
        return self._place is not None

    @property
    def place(self) -> Place | None:
        """Where backups go."""
        return self._place

    @property
    def work_folder(self) -> Path:
        """Where copies lie on their way."""
        return self._work

    def state(self) -> BackupState:
        """How it stands, now."""
        is_held = self._lease is not None
        is_waiting = self.is_on and not is_held and self._is_behind()
        return self._standing.shown().model_copy(
            update={"is_held": is_held, "is_waiting": is_waiting}
        )

    def point(self) -> BackupPoint | None:
        """Up to which moment the backup has everything; None where there is no backup.

        What was committed before this call is in the backup once a later point of the same `life`
        has `covered` at or above this one's `now`.
        """
        if not self.is_on:
            return None
        return BackupPoint(life=self._life, now=_moment() + 1, covered=self._covered)

    def seal_key(self) -> str:
        """What seals the receipts of this backup's votes; '' until it is known (or without one)."""
        return self._chain

    # -- life -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take the backup and, where the data folder is empty, put it back. Before anything opens.

        Raises:
            BackupError: The folder is empty and the backup cannot be read, or another app holds it:
                starting empty would hide what is there. With data in the folder it is told in
                `state` instead, and tried again.
        """
        if self._place is None:
            return
        try:
            self._attach()
        except StudioError as err:
            if is_empty(self._studio.home):
                raise BackupError(
                    f"The data folder is empty and its backup {self._place.label} cannot be put"
                    f" back. {err.user_message}",
                    f"{err.hint} To start without it, unset DISTILL_STUDIO_BACKUP.".strip(),
                    code=getattr(err, "code", "other"),
                ) from err
            self._standing.failed("parts", err)

    def require_restored(self) -> None:
        """For a command: refuse an empty data folder whose backup holds something.

        Raises:
            Conflict: What the command made would stand in the way of a restore.
        """
        if self._place is None or not is_empty(self._studio.home):
            return
        try:
            paths = self._place.paths()
        except BackupError as err:
            if err.code != "gone":
                raise
            return
        if holds_anything(paths):
            raise Conflict(
                f"The data folder is empty, and {self._place.label} holds its backup.",
                "Run `backup restore`, or start the app, which puts it back.",
            )

    def start(self) -> None:
        """Begin to watch the open workspaces."""
        if self._place is None or self._threads:
            return
        ticks: dict[Work, Callable[[], None]] = {
            "parts": self._tick_parts,
            "whole": self._tick_whole,
        }
        for work, tick in ticks.items():
            thread = threading.Thread(
                target=self._run, args=(work, tick), name=f"backup-{work}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def soon(self) -> None:
        """Make a whole copy now instead of in some minutes."""
        self._is_asked = True
        self._next_try.clear()
        self._wake.set()

    def close(self) -> None:
        """Take what is left away, and let the backup go. Before the workspaces close."""
        self._stop.set()
        self._wake.set()
        for thread in self._threads[:1]:  # a whole copy on its way is given up
            thread.join(_CLOSE_WITHIN_S)
        if not self._guard.acquire(timeout=_CLOSE_WITHIN_S):
            return
        try:
            if self._lease is not None and self._place is not None:
                if self._parts is not None:
                    self._write_parts()
                left = self._lease.model_copy(update={"until": utc_now(), "pid": 0})
                self._place.write({}, [], left, "The app left")
        except (StudioError, OSError) as err:
            logger.warning("the last backup failed: %s", err)
        finally:
            self._lease = None
            self._guard.release()

    # -- taking the backup --------------------------------------------------------------------

    def _attach(self) -> None:
        """Take the lease, restore where there is nothing here, and learn what the backup has.

        Raises:
            BackupError: It cannot be read or is not ours to take.
        """
        place = self._place
        assert place is not None
        empty = is_empty(self._studio.home)
        taken = take_lease(place, self._studio.home, is_empty=empty)
        if empty:
            self._lease = taken
            self._restore(place)
        with self._guard:
            self._copy_number = 0
            known = self._learn(place)
            self._parts = PartWriter(lambda f, why: self._write(f, [], why), taken.epoch, known)
            self._lease, self._chain = taken, taken.chain
        self._standing.ok("parts")

    def _restore(self, place: Place) -> None:
        if not holds_anything(place.paths()):
            return
        target = self._work / "restored"
        clear(target)
        with beating(place, lambda: self._write({}, [], "Restoring")):
            self.restored = restore(place, target, self._settings.store_memory_mib)
        put_in_place(target, self._studio.home)
        self._standing.told(restored=in_words(self.restored), problems=self.restored.problems)

    def _learn(self, place: Place) -> dict[str, people_rows.Known]:
        """What is in the backup: whole copies; returns, of the newest, how far it goes."""
        self._wholes, known = {}, {}
        problems = list(self._standing.shown().problems)
        for name in wholes_of(place.paths()):
            try:
                self._wholes[name.path] = read_whole(place, name)
            except BackupError as err:
                if err.code != "broken":
                    raise
                problems.append(err.user_message)
        self._standing.told(problems=tuple(dict.fromkeys(problems)))
        newest = max(self._wholes.values(), key=lambda w: (w.epoch, w.number), default=None)
        if newest is not None:
            for workspace, copy in newest.workspaces.items():
                since = newest.made_at - SURELY_STORED
                known[workspace] = people_rows.Known(marks=copy.marks, since=since)
            self._standing.told(whole_at=newest.made_at)
        else:
            self._is_asked = True  # a backup begins with a whole copy
        self._copied = {}
        self._whole_first_until = time.monotonic() + _WHOLE_FIRST_S
        return known

    # -- the two threads ----------------------------------------------------------------------

    def _run(self, work: Work, tick: Callable[[], None]) -> None:
        while not self._stop.is_set():
            self._wake.wait(_TICK_S)
            self._wake.clear()
            if self._stop.is_set() or time.monotonic() < self._next_try.get(work, 0.0):
                continue
            try:
                tick()
            except (StudioError, OSError) as err:
                self._next_try[work] = time.monotonic() + self._standing.failed(work, err)
            except Exception as err:
                if self._stop.is_set():  # the stores were closed under it
                    return
                logger.exception("the backup thread %s failed", work)
                self._next_try[work] = time.monotonic() + self._standing.failed(work, err)

    def _tick_parts(self) -> None:
        if self._lease is None or self._parts is None:
            self._attach()
        assert self._place is not None
        every = self._settings.backup_every_s or self._place.part_every_s
        if not (self._wholes or self._standing.is_failing("whole")) and (
            time.monotonic() < self._whole_first_until
        ):
            return
        moment = _moment()
        if not self._is_behind():
            is_silent = time.monotonic() - self._last_write >= self._place.beat_every_s
            if is_silent:
                self._write({}, [], "Still here")
            if is_silent or not self._standing.is_failing("parts"):
                self._cover(moment)
        elif time.monotonic() - self._last_write >= every:
            with self._guard:
                self._write_parts()

    def _tick_whole(self) -> None:
        is_due = time.monotonic() - self._last_whole >= self._settings.backup_whole_every_s
        if self._lease is None or self._parts is None:
            return
        if not (self._is_asked or (is_due and self._differs())):
            return
        with self.whole_guard:
            was_asked, self._is_asked = self._is_asked, False
            try:
                self._write_whole()
            except BaseException:
                self._is_asked |= was_asked
                raise
            finally:
                self._copies.clear()

    def _write_parts(self) -> None:
        assert self._parts is not None
        moment = _moment()
        self._parts.write(self._studio.opened())
        self._cover(moment)

    def _write_whole(self) -> None:
        assert self._place is not None
        workspaces = self._studio.opened()
        versions = _versions(workspaces)
        now, begun = utc_now(), time.monotonic()
        with self._guard:
            parts = self._parts
            assert parts is not None
            after = parts.last
        since = now - SURELY_STORED
        accounts = self._studio.accounts.exported()
        staged = self._copies.stage(workspaces, accounts, since)
        there = self._place.paths()
        new = {path: file for path, file in staged.blobs.items() if path not in there}
        self._place.bring(new)
        with self._guard:
            if self._lease is None or self._parts is not parts:
                self._is_asked = True  # parts are numbered anew: `after` would skip some of them
                return
            self._copy_number += 1
            path, content, whole = listed(
                staged, self._lease.chain, self._lease.epoch, self._copy_number, after, now
            )
            wholes = {**self._wholes, path: whole}
            sizes = {p: f.stat().st_size for p, f in new.items()} | {path: len(content)}
            gone = superfluous(self._place.paths() | sizes, wholes, now)
            self._write({**new, path: content}, gone, "A whole copy")
            self._wholes = {p: w for p, w in wholes.items() if p not in set(gone)}
            for name, copy in staged.workspaces.items():
                parts.copied(name, copy, staged.spoken_of[name], since)
            self._copied, self._copied_accounts = versions, accounts
            self._last_whole = begun
            if gone and begun - self._last_tidy > _TIDY_EVERY_S:
                self._last_tidy = begun
                try:
                    self._place.tidy()
                except BackupError as err:
                    logger.warning("the backup's history could not be cleared: %s", err)
            self._standing.ok("whole", whole_at=now, left_out=tuple(staged.left_out))

    # -- inside -------------------------------------------------------------------------------

    def _write(self, files: Files, gone: list[str], why: str) -> None:
        with self._guard:
            assert self._place is not None
            if self._lease is None:
                raise BackupError("Another app has this backup.", code="held")
            lease = renewed(self._lease, self._place.lease_s)
            try:
                self._place.write(files, gone, lease, why)
            except LeaseLost:
                self._lease = None
                raise
            self._lease = lease
            self._last_write = time.monotonic()

    def _is_behind(self) -> bool:
        """True when something was written to a store that the parts may lack."""
        return self._parts is None or self._parts.is_behind(_versions(self._studio.opened()))

    def _differs(self) -> bool:
        """True when the newest whole copy lacks something."""
        return (
            _versions(self._studio.opened()) != self._copied
            or self._studio.accounts.exported() != self._copied_accounts
        )

    def _cover(self, moment: int) -> None:
        self._covered = moment
        self._standing.ok("parts", backed_up_at=utc_now())


def _versions(workspaces: Mapping[str, Workspace]) -> dict[str, int]:
    return {name: workspace.db.version for name, workspace in workspaces.items()}


def _moment() -> int:
    """Microseconds of a clock that only this process has, and that never goes back."""
    return time.monotonic_ns() // 1_000
