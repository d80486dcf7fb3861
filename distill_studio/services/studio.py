"""The whole app without its face: settings, accounts, workspaces, worker lanes, keys, uploads."""

from __future__ import annotations

import re
import shutil
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

from distill_studio.core.actor import Actor, Role
from distill_studio.core.allow_list import AllowList, outside_of
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records.base import utc_now
from distill_studio.core.settings import Settings
from distill_studio.core.space import Space
from distill_studio.services.accounts import ACCOUNTS_FILE, Accounts
from distill_studio.services.backup_restore import LOCK_FILE, accounts_of
from distill_studio.services.backups import Backups
from distill_studio.services.jobs import LANE_WORKERS
from distill_studio.services.lanes import Lanes
from distill_studio.services.uploads import Uploads
from distill_studio.services.workspace import Workspace
from distill_studio.store.database import STORE_FILE
from distill_studio.teachers.models import ModelHost
from distill_studio.verify import VerifyPool

DEMO_WORKSPACE = "demo"
_STOP_WITHIN_S = 30.0
_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")


class Studio:
    """Holds the data folder's lock and the open workspaces.

    Args:
        settings: From the environment.
        resume_jobs: True in the app (unfinished jobs go on), False in a single command.

    Raises:
        Conflict: Another process uses this data folder.
        InvalidInput: The settings say who may come in, and cannot be read.
    """

    def __init__(self, settings: Settings, *, resume_jobs: bool = True) -> None:
        space = Space.from_environment()
        listed, outside = AllowList.of(settings, space), outside_of(settings, space)
        self.settings = settings
        self.home = settings.home
        self.home.mkdir(parents=True, exist_ok=True)
        self._lock_file = FileLock(self.home / LOCK_FILE)
        try:
            self._lock_file.acquire(timeout=0)
        except Timeout as err:
            raise Conflict(
                f"The data folder {self.home} is in use by another Distill Studio.",
                "Use that one, close it, or choose another folder with --home.",
            ) from err
        self._open: dict[str, Workspace] = {}
        self._guard = threading.RLock()
        self.backups = Backups(self)
        try:
            if resume_jobs:  # the app, not a command
                self.backups.begin()
            else:
                self.backups.require_restored()
        except BaseException:
            self._lock_file.release()
            raise
        self.accounts = Accounts(self.home / ACCOUNTS_FILE, listed=listed, outside=outside)
        self.accounts.take_in(accounts_of(self.home))
        self.lanes = Lanes(LANE_WORKERS)
        self.models = ModelHost(settings)
        self.verifier = VerifyPool(hidden=[self.home])
        self.uploads = Uploads(self.home / "uploads")
        self.session_keys: dict[str, str] = {}  # teacher name -> key; in memory only
        self._resume_jobs = resume_jobs

    # -- workspaces -----------------------------------------------------------------------

    def workspace_names(self) -> list[str]:
        """Names of the workspaces that exist, the configured one first, the demo last."""
        found = {p.parent.name for p in (self.home / "workspaces").glob(f"*/{STORE_FILE}")}
        found.add(self.settings.workspace)
        return sorted(found, key=lambda n: (n == DEMO_WORKSPACE, n != self.settings.workspace, n))

    def workspace(self, name: str, *, create: bool = False) -> Workspace:
        """The open workspace of that name; the configured one is made when missing."""
        with self._guard:
            if name not in self._open:
                if not _NAME.fullmatch(name or ""):  # a call from outside may send none
                    raise InvalidInput(
                        f"'{name}' cannot name a workspace.",
                        "Use up to 63 small letters, digits, - and _, beginning with no sign.",
                    )
                folder = self.home / "workspaces" / name
                is_there = (folder / STORE_FILE).exists()
                if not (is_there or create or name == self.settings.workspace):
                    raise NotFound(f"There is no workspace '{name}'.", "Create it first.")
                workspace = Workspace(self, name, folder)
                self._open[name] = workspace
                if self._resume_jobs:
                    workspace.jobs.resume_all()
                    workspace.remote.watch_again()
            return self._open[name]

    def create_workspace(self, actor: Actor, name: str) -> str:
        """Make a workspace; returns its name."""
        actor.require(Role.OWNER)
        if name in self.workspace_names() and (self.home / "workspaces" / name).exists():
            raise Conflict(f"There is a workspace '{name}' already.")
        return self.workspace(name, create=True).name

    def delete_workspace(self, actor: Actor, name: str) -> Path:
        """Close a workspace and move its folder to `<home>/trash/`; returns where it went."""
        actor.require(Role.OWNER)
        workspace = self.workspace(name)
        self._stop_jobs(actor, workspace)  # outside the guard: others go on meanwhile
        with self._guard:
            if workspace.jobs.page(actor, active=True, limit=1):
                raise Conflict(
                    f"A job in '{name}' is still stopping.", "Wait a moment and delete it again."
                )
            workspace.remote.refuse_paid()
            workspace.close()
            self._open.pop(name, None)
            self.models.forget(workspace.folder)
            target = self.home / "trash" / f"{name}-{utc_now():%Y%m%d-%H%M%S}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(workspace.folder, target)
            return target

    def _stop_jobs(self, actor: Actor, workspace: Workspace) -> None:
        """Ask all jobs to stop and wait for them, half a minute in all."""
        active = workspace.jobs.page(actor, active=True, limit=10_000)
        for job in active:
            workspace.jobs.cancel(actor, job.id)
        deadline = time.monotonic() + _STOP_WITHIN_S
        for job in active:
            workspace.jobs.wait(actor, job.id, timeout_s=max(0.0, deadline - time.monotonic()))

    def demo_workspace(self, *, create: bool = False) -> Workspace | None:
        """The demo's workspace; None when it is not there and not to be made."""
        if create or DEMO_WORKSPACE in self.workspace_names():
            return self.workspace(DEMO_WORKSPACE, create=create)
        return None

    def release_leases(self, user: str) -> None:
        """Give back what the benches handed to a person who leaves, in all open workspaces."""
        with self._guard:
            opened = list(self._open.values())
        for workspace in opened:
            workspace.labelling.release_all(user)

    def open_all(self) -> None:
        """Open every workspace, so that unfinished jobs go on. Called at the app's start."""
        for name in self.workspace_names():
            self.workspace(name)
        self.backups.start()

    def opened(self) -> dict[str, Workspace]:
        """The open workspaces by name."""
        with self._guard:
            return dict(self._open)

    def close(self) -> None:
        """Close everything and give the data folder back."""
        self.backups.close()
        with self._guard:
            for workspace in self._open.values():
                workspace.close()
            self._open.clear()
            self.lanes.close()
            self.models.close()
            self.verifier.close()
            self.accounts.close()
            self._lock_file.release()
