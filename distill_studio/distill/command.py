"""The worker's argument list, as started and as shown. Torch-free."""

import shlex
import sys
from pathlib import Path

import distill_studio

CONFIG_FILE = "run.json"
LOG_FILE = "stdout.log"
PROCESS_FILE = "process.json"


def worker_argv(run_folder: Path) -> list[str]:
    """The argument list that trains the run in `run_folder`. Holds no secrets."""
    return [
        sys.executable,
        "-m",
        "distill_studio.distill.worker",
        str((run_folder / CONFIG_FILE).resolve()),
    ]


def working_folder() -> Path:
    """Where the worker starts, so that `-m distill_studio...` is found without installing."""
    return Path(distill_studio.__file__).resolve().parents[1]


def shell_command(run_folder: Path) -> str:
    """The same as a line for a POSIX shell."""
    return f"cd {shlex.quote(str(working_folder()))} && {shlex.join(worker_argv(run_folder))}"
