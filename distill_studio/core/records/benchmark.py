"""A benchmark run: one model on some tasks of lm-evaluation-harness, and what it scored."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from distill_studio.core.ids import content_hash, new_id
from distill_studio.core.records.base import Record, utc_now
from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.run import RunState


class ServerApi(StrEnum):
    """How a teacher behind a URL is asked."""

    CHAT = "chat"  # tasks that are answered in text
    COMPLETIONS = "completions"  # those that weigh given answers as well; needs its tokenizer here


class BenchmarkSettings(Record):
    """How a model is asked; scores are compared only where all but `api` and `batch` are equal."""

    limit: int = Field(default=0, ge=0, description="First questions of each task; 0: all.")
    shots: int | None = Field(
        default=None, ge=0, le=64, description="Examples before a question; None: the task's own."
    )
    chat_template: bool = Field(default=True, description="Ask as a chat, examples as turns.")
    seed: int = Field(default=1234, ge=0, description="Of the examples' choice and all else.")
    batch: int = Field(default=8, ge=1, le=1024, description="Rows at once, local models.")
    api: ServerApi = Field(default=ServerApi.CHAT, description="For a teacher behind a URL.")

    @property
    def key(self) -> str:
        """The same for runs whose scores can be compared."""
        return content_hash(self.model_dump(mode="json", exclude={"batch", "api"}))[:16]


class BenchmarkRun(Record):
    """One model on some tasks."""

    id: str = Field(default_factory=new_id, description="UUIDv7; its folder's name.")
    model: ModelCard = Field(description="Who was asked, as it was then.")
    tasks: tuple[str, ...] = Field(min_length=1, description="Names as asked for.")
    settings: BenchmarkSettings = Field(description="How.")
    state: RunState = Field(default=RunState.QUEUED, description="Where it stands.")
    error: str = Field(default="", description="Why it failed.")
    facts: dict[str, Any] = Field(
        default_factory=dict,
        description="`packages` (versions), `model` (sha256, parameters, dtype), `seconds`,"
        " `device`.",
    )
    job_id: str = Field(default="", description="The job that watches it.")
    pid: int | None = Field(default=None, description="Of the child process.")
    pid_started: float | None = Field(default=None, description="Its start time, epoch seconds.")
    pid_mark: str = Field(default="", description="That start by the boot, see `start_mark`.")
    user: str = Field(default="", description="Who started it.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")
    ended_at: datetime | None = Field(default=None, description="UTC.")


class BenchmarkScore(Record):
    """One figure of a task."""

    task: str = Field(description="Its name.")
    place: int = Field(default=0, ge=0, description="Order in the harness's own report.")
    metric: str = Field(description="acc, exact_match, ...")
    filter: str = Field(default="none", description="How the answer was read out of the text.")
    value: float = Field(description="As the harness gives it; a share for most metrics.")
    stderr: float | None = Field(default=None, description="Standard error; None: not known.")
    n: int = Field(ge=0, description="Questions that count.")
    total: int = Field(ge=0, description="Questions that the task has.")
    shots: int | None = Field(default=None, description="Examples before a question.")
    version: str = Field(default="", description="Of the task.")
    fingerprint: str = Field(default="", description="Of its questions and right answers.")
    is_higher_better: bool = Field(default=True, description="Whether more is better.")
    is_asked: bool = Field(default=True, description="False for a part of a group.")
