"""A plan: several trainings as one. Stages go on from each other, a grid compares settings."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now


class PlanKind(StrEnum):
    """What the trainings of a plan are to each other."""

    STAGES = "stages"
    GRID = "grid"


class Plan(Record):
    """Trainings in order; the run of number n (from 1) is called `<name>-<n>`."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    name: str = Field(min_length=1, max_length=50, description="Unique; begins its runs' names.")
    kind: PlanKind = Field(description="stages or grid.")
    specs: list[dict[str, Any]] = Field(description="A `TrainSpec` for each run, named.")
    grid: dict[str, list[float]] = Field(
        default_factory=dict, description="Field to the values that were tried; grid only."
    )
    job_id: str = Field(default="", description="The job that runs it.")
    user: str = Field(default="", description="Who started it.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")

    def run_name(self, index: int) -> str:
        """Of the run at `index`, from 0."""
        return f"{self.name}-{index + 1}"
