"""Taking back a step of the way back, so that the practice half counts again. Start at `undo`.

It goes as long as nobody and nothing has made use of what was sent: no vote, no answer, no
snapshot, no training. What was sent is deleted, so that nothing can learn from it afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill_studio.core.errors import Conflict
from distill_studio.core.records.feedback import Feedback
from distill_studio.freeze.finder import RowFinder
from distill_studio.freeze.folder import SPLITS
from distill_studio.store import feedback as table
from distill_studio.store import jobs, runs, snapshots

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_MOST = 10_000


def undo(workspace: Workspace, step: Feedback, user: str) -> None:
    """Delete what a step sent back, and its mark.

    Raises:
        Conflict: It was used by now, is still being made, or was undone before; says which.
    """
    if step.undone_at is not None:
        raise Conflict(f"That was undone on {step.undone_at:%d %b %Y %H:%M} by {step.undone_by}.")
    if step.sent_at is None:
        raise Conflict("Nothing was sent back by it, so there is nothing to undo.")
    db = workspace.db
    job = jobs.get(db, step.job_id) if step.job_id else None
    if job is not None and job.state.is_active:
        raise Conflict("The teacher is still writing these prompts.", "Stop that job first.")
    with db.write():
        made = table.rows_of(db, step.id)
        if why := _used(made) or _frozen(workspace, made) or _trained(workspace, step):
            raise Conflict(why)
        table.forget(db, step.id)
        table.mark_undone(db, step.id, user)


def _used(made: dict[str, Any]) -> str:
    if made["votes"]:
        return (
            f"People have voted on what was sent ({made['votes']} votes), and votes are kept, so"
            " this cannot be undone any more."
        )
    if made["answers"]:
        return (
            f"Prompts that were sent have {made['answers']} answers by now, which are part of your"
            " data, so this cannot be undone any more."
        )
    return ""


def _frozen(workspace: Workspace, made: dict[str, Any]) -> str:
    """Which snapshot holds what was sent."""
    finder, wanted = RowFinder(), {*made["preferences"], *made["pairs"]}
    for snapshot in snapshots.page(workspace.db, limit=_MOST) if wanted else ():
        folder = workspace.folder / "snapshots" / snapshot.name
        files = [file for split in SPLITS if (file := folder / f"{split}.parquet").exists()]
        if any(finder.find(file, wanted) for file in files):
            return (
                f"The snapshot '{snapshot.name}' holds what was sent, so models may learn from it."
                " Delete that snapshot first if nothing was trained on it."
            )
    return ""


def _trained(workspace: Workspace, step: Feedback) -> str:
    """A training since then whose snapshot is gone: what it learnt from cannot be told."""
    known = {snapshot.id for snapshot in snapshots.page(workspace.db, limit=_MOST)}
    for run in runs.page(workspace.db, limit=_MOST):
        if run.snapshot_id not in known and step.sent_at and run.created_at > step.sent_at:
            return (
                f"'{run.name}' was trained after it on a snapshot that is gone, so nothing says"
                " that it did not learn from what was sent."
            )
    return ""
