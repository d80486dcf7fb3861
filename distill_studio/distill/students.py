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
