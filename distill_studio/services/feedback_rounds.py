"""Which round of the way back a student is of: a training after feedback begins one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from distill_studio.core.records import Run
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.comparison import ModelRole
from distill_studio.core.records.feedback import Feedback
from distill_studio.services import origins
from distill_studio.store import feedback as table

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace


def round_of(workspace: Workspace, run_name: str) -> int:
    """1 for a student whose data saw no feedback, and one more for each training after some.

    A training begins a round where something was sent back, of what its origin or an earlier
    student on its way had lost, between that origin's training and its own: the stages of one plan
    are one round.
    """
    way = origins.way(workspace, run_name)
    return _round_of(way, _sent(workspace, way))


def next_round(workspace: Workspace, run_name: str) -> int:
    """The round of what would go on from a student now."""
    way = origins.way(workspace, run_name)
    sent = _sent(workspace, way)
    since = way[-1].created_at if way else utc_now()
    return _round_of(way, sent) + _lies_between(sent, way, since, utc_now())


def _round_of(way: Sequence[Run], sent: Sequence[Feedback]) -> int:
    return 1 + sum(
        _lies_between(sent, way[:place], before.created_at, run.created_at)
        for place, (before, run) in enumerate(pairwise(way), start=1)
    )


def _sent(workspace: Workspace, way: Sequence[Run]) -> list[Feedback]:
    return table.live_of_students(workspace.db, [_card_id(run) for run in way])


def _lies_between(
    sent: Sequence[Feedback], students: Sequence[Run], since: datetime, until: datetime
) -> bool:
    """Whether what one of these students had lost was sent back in that time."""
    ids = {_card_id(run) for run in students}
    return any(
        step.student in ids and step.sent_at is not None and since < step.sent_at <= until
        for step in sent
    )


def _card_id(run: Run) -> str:
    return f"{ModelRole.STUDENT.value}:{run.name}"
