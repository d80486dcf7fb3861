"""What stands in a backup: the lease, names of parts and whole copies, the list of a whole copy."""

import re
from datetime import datetime

from pydantic import Field

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.base import Record

_NAME = re.compile(r"^(\d{8})-(\d{8})-([0-9a-f]{64})$")


class Lease(Record):
    """Which app writes to a backup."""

    chain: str = Field(description="Id of the backup: of one data folder through its lives.")
    epoch: int = Field(ge=1, description="Grows by one with every app that takes the backup.")
    token: str = Field(description="Of one app's life; '' when it left.")
    owner: str = Field(description="Who, in words.")
    space: str = Field(default="", description="SPACE_ID, where it is one.")
    host: str = Field(default="", description="The machine, by a hash.")
    pid: int = Field(default=0, description="Process id there.")
    pid_started: float = Field(default=0.0, description="Its start, epoch seconds.")
    pid_mark: str = Field(default="", description="That start by the boot, see `start_mark`.")
    beat: int = Field(default=0, description="Grows with every renewal.")
    until: datetime = Field(description="Holds so long unless renewed, UTC.")


class Named(Record):
    """A part or a whole copy, by its name."""

    path: str = Field(description="In the backup.")
    workspace: str = Field(default="", description="Of a part.")
    epoch: int = Field(description="Which app's writing.")
    number: int = Field(description="Which of its files, from 1.")
    sha256: str = Field(description="Of its content.")

    @property
    def key(self) -> tuple[int, int]:
        """To sort by: what is newer is greater."""
        return self.epoch, self.number


class FileEntry(Record):
    """A file of a whole copy."""

    path: str = Field(description="In the data folder, with /.")
    sha256: str = Field(description="Of its content; names the blob.")
    size: int = Field(ge=0, description="Bytes.")


class WorkspaceCopy(Record):
    """What a whole copy says of a workspace."""

    counts: dict[str, int] = Field(description="Rows by table, in the copy.")
    marks: dict[str, int] = Field(description="Appended table -> greatest number in the copy.")


class WholeCopy(Record):
    """The list of a whole copy."""

    format: int = Field(default=1, description="Of this list.")
    chain: str = Field(description="Id of the backup.")
    epoch: int = Field(description="Which app's writing.")
    number: int = Field(description="Which of its files.")
    after: int = Field(description="The app's parts up to this number are in the copy.")
    made_at: datetime = Field(description="When, UTC.")
    app_version: str = Field(description="Which version made it.")
    workspaces: dict[str, WorkspaceCopy] = Field(description="By name.")
    files: tuple[FileEntry, ...] = Field(description="All files.")
    left_out: tuple[str, ...] = Field(default=(), description="What was too big, in words.")


def part_path(workspace: str, epoch: int, number: int, sha256: str) -> str:
    """Where a part lies."""
    return f"parts/{workspace}/{epoch:08d}-{number:08d}-{sha256}.parquet"


def whole_path(epoch: int, number: int, sha256: str) -> str:
    """Where the list of a whole copy lies."""
    return f"whole/{epoch:08d}-{number:08d}-{sha256}.json"


def blob_path(sha256: str) -> str:
    """Where a file of a whole copy lies."""
    return f"blobs/{sha256}"


def named(path: str) -> Named:
    """What the name of a part or whole copy says.

    Raises:
        InvalidInput: It is no such name.
    """
    folder, _, name = path.rpartition("/")
    found = _NAME.match(name.rpartition(".")[0])
    if found is None:
        raise InvalidInput(f"{path} is no part of a backup.")
    return Named(
        path=path,
        workspace=folder.partition("/")[2],
        epoch=int(found[1]),
        number=int(found[2]),
        sha256=found[3],
    )


def parts_of(paths: dict[str, int] | list[str]) -> list[Named]:
    """All parts among paths, oldest first."""
    return _all(paths, "parts/", ".parquet")


def wholes_of(paths: dict[str, int] | list[str]) -> list[Named]:
    """All whole copies among paths, oldest first."""
    return _all(paths, "whole/", ".json")


def _all(paths: dict[str, int] | list[str], under: str, ending: str) -> list[Named]:
    found = [p for p in paths if p.startswith(under) and p.endswith(ending)]
    good = [p for p in found if _NAME.match(p.rpartition("/")[2].removesuffix(ending))]
    return sorted((named(p) for p in good), key=lambda n: (n.key, n.workspace))
