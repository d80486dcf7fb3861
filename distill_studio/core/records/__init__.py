"""The records of the store, one file each: frozen pydantic models with described fields."""

from distill_studio.core.records.asked_totals import AskedTotals
from distill_studio.core.records.base import Record
from distill_studio.core.records.failure import Failure
from distill_studio.core.records.job import Job, JobState
from distill_studio.core.records.pair import Curation, Pair, PairStatus
from distill_studio.core.records.plan import Plan, PlanKind
from distill_studio.core.records.preference import Outcome, Preference, Vote
from distill_studio.core.records.review import Decision, DecisionKind
from distill_studio.core.records.run import Run, RunState
from distill_studio.core.records.run_note import RunNote
from distill_studio.core.records.seed import Message, Seed
from distill_studio.core.records.snapshot import Snapshot
from distill_studio.core.records.teacher import TeacherConfig, TeacherKind
from distill_studio.core.records.unit import UnitRows
from distill_studio.core.records.user_turn import UserTurn

__all__ = [
    "AskedTotals",
    "Curation",
    "Decision",
    "DecisionKind",
    "Failure",
    "Job",
    "JobState",
    "Message",
    "Outcome",
    "Pair",
    "PairStatus",
    "Plan",
    "PlanKind",
    "Preference",
    "Record",
    "Run",
    "RunNote",
    "RunState",
    "Seed",
    "Snapshot",
    "TeacherConfig",
    "TeacherKind",
    "UnitRows",
    "UserTurn",
    "Vote",
]
