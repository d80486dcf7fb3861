"""What can be trained: base models on this machine and the results of earlier runs. Torch-free."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from distill_studio.core.errors import NotFound
from distill_studio.core.records.base import Record
from distill_studio.distill.estimate import model_facts

RUN_PREFIX = "run:"
SERVER_PREFIX = "server:"  # before the name of a teacher that a vLLM server is
_STARTER_LAYERS = {"smollm2-135m-instruct": 30}  # known before its folder is made


class StudentChoice(Record):
    """A model that can learn."""

    id: str = Field(description="For `TrainSpec.student`; a server's for `teacher` alone.")
    label: str = Field(description="For the list.")
    kind: str = Field(description="base, run or server.")
    layers: int = Field(description="Decoder layers; 0 = not known yet.")
    pruned_layers: int | None = Field(
        default=None, description="Suggested number of layers to keep: four fifths."
    )


def student_choices(
    models: Sequence[dict[str, Any]], runs: Sequence[tuple[str, Path]]
) -> list[StudentChoice]:
    """Base models as listed by the model host, then finished runs (name, folder)."""
    found = [_choice(str(m["id"]), str(m["id"]), "base", None) for m in models]
    for name, folder in runs:
        if (folder / "model" / "config.json").exists():
            found.append(_choice(f"{RUN_PREFIX}{name}", f"run {name}", "run", folder / "model"))
    return found


def server_choices(servers: Sequence[str]) -> list[StudentChoice]:
    """Teachers behind servers, by name; they are followed, not trained."""
    return [
        StudentChoice(
            id=f"{SERVER_PREFIX}{name}", label=f"{name}, by its server", kind="server", layers=0
        )
        for name in servers
    ]


def run_behind(model_id: str, folder: str, runs_folder: Path | None) -> str:
    """The name of the run that made a model, by its id or by where its files lie; '' for no run's.

    Args:
        model_id: What a person called the model.
        folder: Of its files, resolved; a student's, or a checkpoint's, lies in its run's folder.
        runs_folder: Where the runs of the workspace lie; None: the id alone tells.
    """
    if model_id.startswith(RUN_PREFIX):
        return model_id.removeprefix(RUN_PREFIX)
    if runs_folder is None:
        return ""
    home, place = runs_folder.resolve(), Path(folder)
    inside = place.relative_to(home).parts if place.is_relative_to(home) else ()
    return inside[0] if inside else ""


def _choice(student_id: str, label: str, kind: str, folder: Path | None) -> StudentChoice:
    layers = _layers(student_id, folder)
    return StudentChoice(
        id=student_id,
        label=label,
        kind=kind,
        layers=layers,
        pruned_layers=layers * 4 // 5 if layers >= 5 else None,
    )


def _layers(student_id: str, folder: Path | None) -> int:
    known = _STARTER_LAYERS.get(student_id)
    if known is not None:
        return known
    try:
        return model_facts(folder or Path(student_id)).layers
    except NotFound:
        return 0  # a Hub id: known once it is resolved
