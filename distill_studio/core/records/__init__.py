"""The records of the store, one file each: frozen pydantic models with described fields."""

from distill_studio.core.records.base import Record
from distill_studio.core.records.failure import Failure
from distill_studio.core.records.job import Job, JobState
from distill_studio.core.records.pair import Curation, Pair, PairStatus
from distill_studio.core.records.preference import Outcome, Preference, Vote
from distill_studio.core.records.review import Decision, DecisionKind
from distill_studio.core.records.run import Run, RunState
from distill_studio.core.records.seed import Message, Seed
from distill_studio.core.records.snapshot import Snapshot
from distill_studio.core.records.teacher import TeacherConfig, TeacherKind
from distill_studio.core.records.unit import UnitRows

__all__ = [
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
    "Preference",
    "Record",
    "Run",
    "RunState",
    "Seed",
    "Snapshot",
    "TeacherConfig",
    "TeacherKind",
    "UnitRows",
    "Vote",
]
