"""How the backup stands."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from distill_studio.core.records.base import Record

BackupStatus = Literal["off", "starting", "ok", "behind", "refused"]


class BackupPoint(Record):
    """Up to which moment the backup has everything that people said.

    What the answer that carries this confirms is in the backup once a later point of the same
    `life` has `covered` at or above this one's `now`.
    """

    life: str = Field(description="Of the app; another one may know less than this one did.")
    now: int = Field(description="The moment of this answer, on a clock of this life.")
    covered: int = Field(description="Everything until this moment is in the backup.")


class BackupState(Record):
    """What Home says of the backup."""

    is_on: bool = Field(description="True where a place is configured.")
    place: str = Field(default="", description="The folder or repository.")
    status: BackupStatus = Field(
        description="off; starting; ok; behind: it failed and is tried again; refused: another app"
        " or another data folder has this backup, or anybody could read it."
    )
    code: str = Field(default="", description="What failed, for programs; '' when nothing did.")
    message: str = Field(default="", description="What failed, in words.")
    hint: str = Field(default="", description="What to do.")
    since: datetime | None = Field(default=None, description="Since when it fails, UTC.")
    backed_up_at: datetime | None = Field(
        default=None, description="When everything that people said was last in the backup, UTC."
    )
    whole_at: datetime | None = Field(default=None, description="The newest whole copy's time.")
    is_waiting: bool = Field(default=False, description="True when something is not there yet.")
    is_held: bool = Field(default=False, description="True while this app has the lease.")
    restored: str = Field(default="", description="What the start put back, in words.")
    problems: tuple[str, ...] = Field(default=(), description="What could not be used.")
    left_out: tuple[str, ...] = Field(default=(), description="Too big for the whole copy.")
    disk: str = Field(default="mount", description="Where the data folder lies (backup/disk.py).")
    is_space: bool = Field(default=False, description="True on a Hugging Face Space.")

    @property
    def is_at_risk(self) -> bool:
        """True when a restart of the Space would lose everything."""
        return self.is_space and self.disk == "container" and not self.is_on
