"""`<home>/server.json`: where the running app listens, and the token that lets commands in.

Only the user who started the app can read it (mode 0600).
"""

import json
import os
from pathlib import Path

import psutil
from pydantic import Field

from distill_studio.core.process_mark import is_running, start_mark
from distill_studio.core.records import Record

NAME = "server.json"


class ServerInfo(Record):
    """The running app."""

    url: str = Field(description="Base URL, without a slash at the end.")
    pid: int = Field(description="Process id.")
    started: float = Field(description="Start time of that process, epoch seconds.")
    mark: str = Field(default="", description="That start by the boot, see `start_mark`.")
    token: str = Field(description="For `Authorization: Bearer`.")

    @property
    def is_alive(self) -> bool:
        """True while that very process (not a later one of the same id) runs."""
        return is_running(self.pid, self.started, self.mark)


def write(home: Path, url: str, token: str) -> ServerInfo:
    """Write the file for this process."""
    process = psutil.Process()
    info = ServerInfo(
        url=url,
        pid=process.pid,
        started=process.create_time(),
        mark=start_mark(process.pid),
        token=token,
    )
    path = home / NAME
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(info.model_dump_json(indent=1))
    return info


def read(home: Path) -> ServerInfo | None:
    """The live app of this data folder; None when there is none."""
    path = home / NAME
    if not path.exists():
        return None
    try:
        info = ServerInfo(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError):
        return None
    return info if info.is_alive else None


def remove(home: Path) -> None:
    """Remove this process's file at a clean exit; another app's stays."""
    info = read(home)
    if info is not None and info.pid == os.getpid():
        (home / NAME).unlink(missing_ok=True)
