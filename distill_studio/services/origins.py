"""What a student comes from: the trainings behind a run, and the model that it grew from.

Start at `way` and `root`. The student that a run started from is known by its id (`run:<name>`) and
by its folder below `runs/` alike. Of a deleted run the name alone is left; a newer run of that name
is another model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill_studio.core.records import Run
from distill_studio.distill.model_names import short_id
from distill_studio.distill.pruning import pruning_text
from distill_studio.distill.students import RUN_PREFIX, run_behind
from distill_studio.services.checkpoints import parse_name
from distill_studio.store import runs

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace


def way(workspace: Workspace, run_name: str) -> list[Run]:
    """The trainings that made a student, the first one first; [] where there is no such run."""
    found: list[Run] = []
    run = runs.get(workspace.db, run_name)
    while run is not None:  # it ends: each is older than the one before
        found.append(run)
        earlier = runs.get(workspace.db, origin(workspace, run))
        run = earlier if earlier is not None and goes_on_from(workspace, run, earlier) else None
    return found[::-1]


def root(workspace: Workspace, run_name: str) -> str:
    """The model that a student grew from, before its first training.

    It is `run:<name>` where that run was deleted, '' where there is no such student.
    """
    found = way(workspace, run_name)
    return base(workspace, found[0]) if found else ""


def base(workspace: Workspace, run: Run) -> str:
    """What a run started from: `run:<name>` for a student, else the model as a person called it."""
    return named(workspace, *_start(run))


def origin(workspace: Workspace, run: Run) -> str:
    """The name of the run whose student this one started from; '' for another model."""
    return behind(workspace, *_start(run))


def behind(workspace: Workspace, model_id: str, folder: str) -> str:
    """The name of this workspace's run that made a model; '' where none did."""
    return run_behind(model_id, folder, workspace.folder / "runs")


def named(workspace: Workspace, model_id: str, folder: str) -> str:
    """A model by one name: `run:<name>` for a student of this workspace, else its id."""
    name = behind(workspace, model_id, folder)
    return f"{RUN_PREFIX}{name}" if name else model_id


def goes_on_from(workspace: Workspace, run: Run, earlier: Run) -> bool:
    """Whether a run started from the student of that one, not of a deleted one of its name."""
    return origin(workspace, run) == earlier.name and earlier.created_at < run.created_at


def has_own_base(workspace: Workspace, run: Run) -> bool:
    """Whether an adapter of the run fits no published model: its base was pruned, or trained here.

    On the model that this base comes from it would load as well, and answer wrongly.
    """
    return bool(pruning_text(run.config.get("student", {}))) or bool(origin(workspace, run))


def named_with_root(workspace: Workspace, student: str, label: str) -> str:
    """A student with what it grew from, to tell relatives by: `second (from org/Qwen3-0.6B)`.

    Args:
        workspace: Where it was trained.
        student: Its name, or that of one of its checkpoints.
        label: What people call it.
    """
    found = short_id(root(workspace, parse_name(student)[0]))
    return f"{label} (from {found})" if found else label


def _start(run: Run) -> tuple[str, str]:
    """(id, folder) of the model that a run started from, as its settings say."""
    student = run.config.get("student", {})
    return str(student.get("base_id", "")), str(student.get("base_folder", ""))
