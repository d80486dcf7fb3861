"""Checkpoints of a run that can be asked, as its student is once it has finished.

A run that has not finished keeps its newest checkpoints in `checkpoints/`, and a finished one those
that it was told to keep (`keep_checkpoints`): the whole weights, or a LoRA adapter, whose settings
name the folder of its base (the pruned copy, where layers were dropped). Start at
`checkpoint_steps`; `answering_folder` is what loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.core.errors import NotFound
from distill_studio.distill.failures import is_whole
from distill_studio.store import runs

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_SIGN = "@"  # no name of a run has one
_PREFIX = "checkpoint-"


def checkpoint_name(run: str, step: int) -> str:
    """`first-run@40`."""
    return f"{run}{_SIGN}{step}"


def parse_name(name: str) -> tuple[str, int | None]:
    """The run, and the step of its checkpoint; None where the finished student is meant."""
    run, _, step = name.partition(_SIGN)
    return run, int(step) if step.isdecimal() else None


def checkpoint_steps(run_folder: Path) -> list[int]:
    """After which updates a checkpoint was written that can be asked; the earliest first.

    Left out are those cut short, and those of a sharded training, whose parts only it can read.
    """
    found = [
        int(step)
        for path in run_folder.glob(f"checkpoints/{_PREFIX}*")
        if (step := path.name.removeprefix(_PREFIX)).isdecimal() and _is_usable(path)
    ]
    return sorted(found)


def answering_folder(workspace: Workspace, name: str) -> Path:
    """The folder of a student, or of a checkpoint (`first-run@40`), that a model is loaded from.

    Raises:
        NotFound: No such run, it has not finished, or the checkpoint is gone.
    """
    run, step = parse_name(name)
    if step is None:
        return workspace.distill.student_folder(run)
    if runs.get(workspace.db, run) is None:
        raise NotFound(f"There is no run '{run}' in this workspace.")
    folder = workspace.folder / "runs" / run / "checkpoints" / f"{_PREFIX}{step}"
    if not _is_usable(folder):
        raise NotFound(
            f"The run '{run}' has no checkpoint of step {step} any more.",
            "A run keeps its two newest while it trains, and once it has finished as many as it was"
            " told to keep (Checkpoints kept): else choose its student.",
        )
    return folder


def _is_usable(checkpoint: Path) -> bool:
    """Whole, with its tokenizer, and weights in one of the two forms that load."""
    is_adapter = (checkpoint / "adapter_model.safetensors").is_file()
    is_model = (checkpoint / "config.json").is_file() and any(checkpoint.glob("model*.safetensors"))
    has_tokenizer = (checkpoint / "tokenizer_config.json").is_file()
    return (is_adapter or is_model) and has_tokenizer and is_whole(checkpoint)
