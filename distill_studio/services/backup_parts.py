"""What people said, written part by part since the newest whole copy: `PartWriter`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.backup.files import sha256_of, to_parquet
from distill_studio.backup.records import WorkspaceCopy, part_path
from distill_studio.store import people_rows

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

Files = dict[str, bytes | Path]


class PartWriter:
    """Of one lease: its parts are numbered from 1. Its owner lets one thread at a time in.

    Args:
        write: Takes files away; called with them and why.
        epoch: Of the lease.
        known: Workspace -> what the backup has of it.
    """

    def __init__(
        self,
        write: Callable[[Files, str], None],
        epoch: int,
        known: dict[str, people_rows.Known],
    ) -> None:
        self._write = write
        self._epoch = epoch
        self._known = known
        self._number = 0  # the last tried
        self._seen: dict[str, int] = {}  # workspace -> version of its store when last gathered
        self.last = 0  # the number of the last one written

    def is_behind(self, versions: Mapping[str, int]) -> bool:
        """True when a store was written to since.

        Args:
            versions: Workspace -> version of its store.
        """
        return versions != self._seen

    def write(self, workspaces: Mapping[str, Workspace]) -> None:
        """One part for each workspace that has something new.

        Raises:
            BackupError: It was not written; what was gathered is gathered again.
        """
        files: Files = {}
        known, seen, last = dict(self._known), {}, self.last
        for name, workspace in workspaces.items():
            version = seen[name] = workspace.db.version
            if self._seen.get(name) == version:
                continue
            got = people_rows.gather(workspace.db, known.get(name, people_rows.Known()))
            known[name] = got.known
            if not got.is_empty:
                self._number += 1  # not used again when it fails: the part may be there already
                content = to_parquet(got.rows, last)
                path = part_path(name, self._epoch, self._number, sha256_of(content))
                files[path], last = content, self._number
        if files:
            self._write(files, f"What people said: {', '.join(sorted(seen))}")
        self._known, self._seen, self.last = known, seen, last

    def copied(
        self,
        name: str,
        copy: WorkspaceCopy,
        spoken_of: frozenset[tuple[str, str]],
        since: datetime,
    ) -> None:
        """A whole copy was written: what it and the parts so far have between them is known.

        Args:
            name: Of the workspace.
            copy: What the whole copy has of it.
            spoken_of: (table, id) that it has since then.
            since: What was made before is in it.
        """
        had = self._known.get(name, people_rows.Known())
        self._known[name] = people_rows.Known(
            marks={t: max(n, had.marks.get(t, 0)) for t, n in copy.marks.items()},
            states=had.states,
            spoken_of=spoken_of,
            since=since,
        )
