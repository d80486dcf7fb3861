"""What a run package and its result say of themselves, and where things lie in the repository."""

import re
from pathlib import PurePosixPath

from pydantic import Field

from distill_studio.core.records.base import Record

PACKAGE = "package"  # folder in the repository
MANIFEST = "package.json"
CODE = "code.zip"
REQUIREMENTS = "requirements.txt"
START = "start.py"
RUN = "run.json"
RESULT = "result.json"
LOG = "log.txt"
HUB_PREFIX = "hub:"  # of a model's folder in the packed run.json: hub:owner/name@commit
MADE = ("model", "adapter")  # folders that a training leaves
SKIP_INSTALL = "DISTILL_STUDIO_REMOTE_INSTALL"  # "skip": the requirements are there already
LIMIT_VARIABLE = "DISTILL_STUDIO_REMOTE_LIMIT_S"  # after which the Hub ends the Job
DEVICE_VARIABLE = "DISTILL_STUDIO_REMOTE_DEVICE"  # what must be there; '' = what is found
MOST_FILES = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_ENDINGS = (".safetensors", ".json", ".jinja", ".txt", ".model", ".md")


class FileMark(Record):
    """A file, as it must arrive."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of its bytes.")
    size_bytes: int = Field(ge=0, description="Length.")


class Manifest(Record):
    """`package/package.json`: what was packed, for which attempt."""

    schema_version: int = Field(default=1, description="Of this file.")
    name: str = Field(min_length=1, max_length=100, description="Of the run.")
    repo: str = Field(description="The repository that the result goes to.")
    attempt: int = Field(ge=1, description="Each start counts.")
    files: dict[str, FileMark] = Field(description="By path below package/, all but this one.")


class Result(Record):
    """`attempts/<number>/result.json`: what a training made."""

    schema_version: int = Field(default=1, description="Of this file.")
    files: dict[str, FileMark] = Field(
        max_length=MOST_FILES, description="By path in the repository: model/..., adapter/..."
    )

    def unfit(self) -> str:
        """The first path that no training leaves, else ''.

        Only what transformers and peft save is taken: never a pickle, never a path out of the run.
        """
        return next((path[:200] for path in self.files if not is_made(path)), "")


def is_made(path: str) -> bool:
    """Whether a training leaves a file of that path: what is sent, and what is taken."""
    parts = PurePosixPath(path).parts
    return (
        len(parts) in (2, 3)
        and parts[0] in MADE
        and "/".join(parts) == path
        and all(_NAME.fullmatch(part) for part in parts)
        and path.endswith(_ENDINGS)
    )


def attempt_folder(attempt: int) -> str:
    """Where what an attempt says lies in the repository."""
    return f"attempts/{attempt}"


def events_folder(attempt: int) -> str:
    """Where its events lie, in parts."""
    return f"{attempt_folder(attempt)}/events"


def part_path(attempt: int, part: int) -> str:
    """The path of a part of the events; the first is number 1."""
    return f"{events_folder(attempt)}/{part:06d}.jsonl"
