"""Files that users gave us, under names of our own, until they are imported or a day old.

Operations name an upload by its id, never by a path: nobody can make the server read a file of
its own that way.
"""

import contextlib
import re
import shutil
import time
from pathlib import Path

from distill_studio.core.errors import NotFound
from distill_studio.core.ids import new_id

_KEEP_S = 24 * 3600
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Uploads:
    """A folder `<home>/uploads/<id>/<file name>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new_path(self, file_name: str) -> tuple[str, Path]:
        """(upload id, path to write to) for a file called `file_name`."""
        self._forget_old()
        upload_id = new_id()
        name = _SAFE.sub("_", Path(file_name).name).lstrip(".") or "upload"
        path = self.folder / upload_id / name[-120:]
        path.parent.mkdir(parents=True)
        return upload_id, path

    def add(self, source: Path, file_name: str = "") -> str:
        """Copy a file in; returns its upload id."""
        upload_id, path = self.new_path(file_name or source.name)
        shutil.copyfile(source, path)
        return upload_id

    def path(self, upload_id: str) -> Path:
        """Where an upload lies.

        Raises:
            NotFound: Unknown or already gone.
        """
        if re.fullmatch(r"[0-9a-f-]{36}", upload_id):
            for path in (self.folder / upload_id).glob("*"):
                return path
        raise NotFound("That upload is no longer here.", "Upload the file again.")

    def _forget_old(self) -> None:
        for path in self.folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):  # another upload was quicker
                if time.time() - path.stat().st_mtime > _KEEP_S:
                    shutil.rmtree(path, ignore_errors=True)
