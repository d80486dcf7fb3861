"""Files that users gave us, under names of our own, until they are imported or a day old.

Operations name an upload by its id, never by a path: nobody can make the server read a file of
its own that way.
"""

import contextlib
import re
import shutil
import time
import zipfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.ids import new_id
from distill_studio.seeds.documents import TEXT_ENDINGS

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

    def add_files(self, sources: Sequence[Path]) -> str:
        """Copy one file in, or several texts as one archive; returns the upload id.

        Raises:
            InvalidInput: One of several is no text or Markdown file.
        """
        if len(sources) == 1:
            return self.add(sources[0])
        for source in sources:
            if source.suffix.lower() not in TEXT_ENDINGS:
                raise InvalidInput(
                    f"Several files at once must be text or Markdown; {source.name} is not.",
                    "Bring other files in one by one.",
                )
        more = f" and {len(sources) - 1} more"
        upload_id, path = self.new_path(f"{sources[0].stem[:80]}{more}.zip")
        taken: set[str] = set()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for source in sources:
                archive.write(source, _free_name(source, taken))
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


def _free_name(source: Path, taken: set[str]) -> str:
    """The file's own name, or one with a number where another file has it."""
    names = (f"{source.stem}_{n}{source.suffix}" for n in count(2))
    name = source.name
    while name in taken:
        name = next(names)
    taken.add(name)
    return name
