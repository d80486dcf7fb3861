"""What code in the sandbox may use, and what came of it."""

from enum import StrEnum

from pydantic import Field

from distill_studio.core.errors import Unavailable
from distill_studio.core.records import Record


class Limits(Record):
    """The most that one run may use."""

    wall_s: float = Field(default=10.0, gt=0, le=3600, description="Seconds by the clock.")
    cpu_s: float = Field(default=10.0, gt=0, le=3600, description="Seconds of one processor.")
    memory_mib: int = Field(default=512, ge=32, description="Memory of all processes together.")
    processes: int = Field(default=32, ge=2, le=512, description="Processes and threads at once.")
    scratch_mib: int = Field(default=32, ge=1, description="Size of the scratch folder.")
    file_mib: int = Field(default=16, ge=1, description="Size of one file.")
    open_files: int = Field(default=64, ge=16, description="Open files per process.")
    output_kib: int = Field(default=256, ge=1, description="Kept of each of stdout and stderr.")


class Reason(StrEnum):
    """How a run ended, in words that can be shown."""

    FINISHED = "finished"
    FAILED = "ended with an error"
    TIMED_OUT = "timed out"
    CPU = "used too much processor time"
    MEMORY = "used too much memory"
    OUTPUT = "wrote too much output"
    KILLED = "killed"


class SandboxResult(Record):
    """What a run printed and how it ended."""

    ok: bool = Field(description="True when the program ended by itself with exit code 0.")
    exit_code: int = Field(description="As a shell says it: 128 + n for signal n; -1 unknown.")
    stdout: str = Field(description="At most `output_kib`; undecodable bytes replaced.")
    stderr: str = Field(description="At most `output_kib`; undecodable bytes replaced.")
    reason: Reason = Field(description="How it ended.")
    wall_s: float = Field(description="Seconds it took, start of the sandbox included.")


class NoIsolation(Unavailable):
    """This machine cannot run foreign code safely, so it is not run."""

    code = "no_isolation"


class SandboxBroken(Unavailable):
    """The sandbox could not be set up this time; the code was not run."""

    code = "sandbox_broken"
