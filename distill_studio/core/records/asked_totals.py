"""What was asked of a teacher, and what it took."""

from pydantic import Field

from distill_studio.core.records.base import Record


class AskedTotals(Record):
    """The requests of one teacher, whatever became of their replies."""

    teacher: str = Field(description="Name.")
    requests: int = Field(default=0, ge=0, description="Ended, well or not.")
    untold: int = Field(default=0, ge=0, description="Answers whose tokens nobody counted.")
    prompt_tokens: int = Field(default=0, ge=0, description="Read, as far as counted.")
    completion_tokens: int = Field(default=0, ge=0, description="Written, as far as counted.")
    busy_s: float = Field(default=0.0, ge=0, description="Time with a request in flight.")
    cost_usd: float | None = Field(default=None, description="None where the price is unknown.")
    failures: dict[str, int] = Field(
        default_factory=dict,
        description="Code -> how often: requests that failed, replies that were no use.",
    )
    kinds: dict[str, int] = Field(
        default_factory=dict, description="Kind of job -> requests; where jobs are added up."
    )

    @property
    def failed(self) -> int:
        """Failures of all codes."""
        return sum(self.failures.values())

    @property
    def tokens_per_s(self) -> float | None:
        """Written, while it was busy; None where the time is not known."""
        return self.completion_tokens / self.busy_s if self.busy_s else None
