"""Which trainings still read a folder: it must not go while one of them is to train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict
from distill_studio.core.records import RunState
from distill_studio.distill.spec import TrainSpec, parse_teachers
from distill_studio.distill.students import RUN_PREFIX
from distill_studio.store import plans, runs

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_MOST_PLANS = 10_000


def refuse_needed(workspace: Workspace, folder: Path, what: str, but: str = "") -> None:
    """Refuse to take away the folder of a run or snapshot that another training reads.

    Needed is what a run that is not done, or one to come of an active plan, has as its student, as
    a teacher or as its data.

    Args:
        workspace: Its runs and plans are looked at.
        folder: What is to go.
        what: The same in words.
        but: A run that does not count: the one to be deleted.

    Raises:
        Conflict: Names who needs it.
    """
    whole = folder.resolve()
    for run in runs.unfinished(workspace.db):
        needed = [place for _, place in folders_of(run.config)]
        if run.name != but and any(Path(place).is_relative_to(whole) for place in needed):
            raise Conflict(
                f"The run '{run.name}' ({run.state.value}) needs {what}.",
                f"Let '{run.name}' end, or delete it first.",
            )
    for name, spec in _to_come(workspace):
        if any(place.resolve().is_relative_to(whole) for place in _places(workspace, spec)):
            raise Conflict(
                f"The plan '{name}' needs {what}.", f"Let the plan '{name}' end, or stop it first."
            )


def require_folders(config: dict[str, Any]) -> None:
    """Check that all a run reads is still there.

    Raises:
        Conflict: Says what is gone.
    """
    for what, place in folders_of(config, with_served=False):
        if not Path(place).is_dir():
            raise Conflict(f"{what} is no longer there.", "Start a new run with what is there now.")


def folders_of(config: dict[str, Any], with_served: bool = True) -> list[tuple[str, str]]:
    """(what it is, folder) of all that a run reads, from its config as stored.

    Without `with_served` teachers behind servers are left out: their folder is a help, no need.
    """
    student, data = config.get("student", {}), config.get("data", {})
    found = [
        (f"The student '{student.get('base_id')}'", student.get("base_folder")),
        (f"The snapshot '{data.get('name')}'", data.get("folder")),
    ]
    teachers = [config.get("teacher") or {}, *config.get("more_teachers", [])]
    found += [
        (f"The teacher '{teacher.get('id')}'", teacher.get("folder"))
        for teacher in teachers
        if with_served or not teacher.get("server")
    ]
    return [(what, str(place)) for what, place in found if place]


def _to_come(workspace: Workspace) -> Iterator[tuple[str, TrainSpec]]:
    """(plan, spec) of the trainings of active plans that are not done."""
    viewer = Actor(user="app", role=Role.VIEWER)
    for job in workspace.jobs.page(viewer, kinds=["plan"], limit=_MOST_PLANS, active=True):
        plan = plans.get(workspace.db, str(job.params.get("plan", "")))
        if plan is None:
            continue
        for index, values in enumerate(plan.specs):
            run = runs.get(workspace.db, plan.run_name(index))
            if run is None or run.state is not RunState.DONE:
                yield plan.name, TrainSpec(**values)


def _places(workspace: Workspace, spec: TrainSpec) -> Iterator[Path]:
    yield workspace.folder / "snapshots" / spec.snapshot
    teachers = [name for name, _ in parse_teachers(spec.more_teachers or "")]
    for name in [spec.student, spec.teacher or "", *teachers]:
        if name.startswith(RUN_PREFIX):
            yield workspace.folder / "runs" / name.removeprefix(RUN_PREFIX)
        elif name.startswith(("/", "~")):
            yield Path(name).expanduser()
