"""The backup as operations: how it stands, make one now, and try a restore."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Job, JobState, Record
from distill_studio.core.records.backup import BackupPoint, BackupState
from distill_studio.services.backup_restore import restore
from distill_studio.services.base import Service
from distill_studio.services.jobs import JobContext
from distill_studio.store import people_rows

if TYPE_CHECKING:
    from distill_studio.backup import Place
    from distill_studio.services.workspace import Workspace

DRILL_KIND = "backup_drill"
_SHOWN = ("seeds", "pairs", "decisions", "votes")


class DrillRow(Record):
    """One table of one workspace: in the app, and as it came back."""

    workspace: str = Field(description="Name.")
    table: str = Field(description="Which rows.")
    here: int = Field(description="In the app when the drill began.")
    back: int = Field(description="That came back.")


class Drill(Record):
    """What a restore drill found."""

    place: str = Field(description="The backup.")
    made_at: str = Field(description="When it began, ISO, UTC.")
    whole_made_at: str = Field(description="The whole copy's time; '' for none.")
    files: int = Field(description="Files of it, each checked by its hash.")
    size: int = Field(description="Their bytes.")
    parts: int = Field(description="Newer parts, each checked by its hash.")
    seconds: float = Field(description="From the first byte to the last count.")
    rows: tuple[DrillRow, ...] = Field(description="Counts.")
    missing: int = Field(description="Decisions and votes that are here and did not come back.")
    problems: tuple[str, ...] = Field(default=(), description="What could not be used.")

    @property
    def is_well(self) -> bool:
        """True when nothing was broken and nothing that people said is missing."""
        return not self.problems and not self.missing


class BackupService(Service):
    """The studio's backup. It is one for all workspaces."""

    word = "backup"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        workspace.jobs.register(DRILL_KIND, self._run_drill, "io")

    def state(self, actor: Actor) -> BackupState:
        """Where backups go, how they stand, and what is wrong when something is."""
        actor.require(Role.VIEWER)
        return self.workspace.studio.backups.state()

    def point(self, actor: Actor) -> BackupPoint | None:
        """Up to which moment the backup has everything; browsers ask before they forget."""
        actor.require(Role.VIEWER)
        return self.workspace.studio.backups.point()

    def now(self, actor: Actor) -> BackupState:
        """Begin a whole copy now, and try again at once what failed.

        Raises:
            InvalidInput: No place for backups is configured.
        """
        actor.require(Role.OWNER)
        self._place()
        self.workspace.studio.backups.soon()
        return self.state(actor)

    def drill(self, actor: Actor) -> Job:
        """Restore the backup into a temporary folder, check every hash and compare the counts.

        Raises:
            InvalidInput: No place for backups is configured.
        """
        actor.require(Role.OWNER)
        self._place()
        return self.workspace.jobs.submit_once(actor, DRILL_KIND, "Try a restore", {})

    def last_drill(self, actor: Actor) -> Drill | None:
        """What the newest restore drill of this workspace's jobs found; None without one."""
        actor.require(Role.OWNER)
        jobs = self.workspace.jobs.page(actor, kinds=[DRILL_KIND], limit=20)
        done = next((job for job in jobs if job.state is JobState.DONE), None)
        return Drill(**done.result) if done else None

    def _place(self) -> Place:
        place = self.workspace.studio.backups.place
        if place is None:
            raise InvalidInput(
                "No backup is configured.",
                "Set DISTILL_STUDIO_BACKUP to hf://datasets/user/name or to a folder.",
            )
        return place

    def _run_drill(self, context: JobContext) -> dict[str, Any]:
        studio = self.workspace.studio
        place = self._place()

        def tell(done: int, total: int, note: str) -> None:
            context.cancel.raise_if_cancelled()
            context.progress(done, total, note)

        here = {n: people_rows.counts(w.db) for n, w in studio.opened().items()}
        begun, made_at = time.monotonic(), context.job.created_at.isoformat()
        studio.backups.work_folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="drill-", dir=studio.backups.work_folder))
        try:
            with studio.backups.whole_guard:  # nothing is thinned away meanwhile
                found = restore(place, folder, studio.settings.store_memory_mib, tell)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        rows = tuple(
            DrillRow(workspace=name, table=table, here=here.get(name, {}).get(table, 0), back=back)
            for name, counts in found.counts.items()
            for table, back in counts.items()
            if back or here.get(name, {}).get(table) or table in _SHOWN
        )
        lost = sum(max(0, r.here - r.back) for r in rows if r.table in people_rows.APPENDED)
        gone = [name for name in here if name not in found.counts]
        return Drill(
            place=place.label,
            made_at=made_at,
            whole_made_at=found.whole_made_at,
            files=found.files,
            size=found.size,
            parts=found.parts,
            seconds=round(time.monotonic() - begun, 2),
            rows=rows,
            missing=lost,
            problems=(
                *found.problems,
                *(f"The workspace {name} is not in the backup yet." for name in gone),
            ),
        ).model_dump(mode="json")
