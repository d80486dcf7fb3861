"""What the curate stage is told and what it answers, as records."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from distill_studio.core.records import Record
from distill_studio.curate.filters import AnyFilter, ContaminatedConfig, default_filters

DedupField = Literal["prompt", "answer", "both"]
DEFAULT_THRESHOLD = 0.9
DEFAULT_FLOOR = 0.8


class CurateSettings(Record):
    """Everything that decides which rows stay."""

    filters: list[AnyFilter] = Field(
        default_factory=default_filters, description="In order; the first to drop a row names why."
    )
    field: DedupField = Field(
        default="both", description="Compare prompts, answers, or both (the less alike counts)."
    )
    threshold: float = Field(
        default=DEFAULT_THRESHOLD, ge=0.5, le=1.0, description="Cosine from which rows are near."
    )
    remove_accepted: bool = Field(
        default=False, description="Also remove rows that a person accepted or edited."
    )

    @field_validator("filters")
    @classmethod
    def _leaks_count(cls, filters: list[AnyFilter]) -> list[AnyFilter]:
        """Leaks go unless that is switched off in so many words: settings may be older than it."""
        has_leaks = any(config.kind == "contaminated" for config in filters)
        return filters if has_leaks else [*filters, ContaminatedConfig()]


class Example(Record):
    """A row beside a limit."""

    pair_id: str = Field(description="The row.")
    prompt: str = Field(description="Its prompt, cut.")
    answer: str = Field(description="Its answer, cut.")
    score: float = Field(description="What was measured.")
    reason: str = Field(description="Why it goes; empty when it stays.")


class FilterPreview(Record):
    """What one filter does at its settings."""

    kind: str = Field(description="Tag of the filter.")
    label: str = Field(description="Its name for people.")
    about: str = Field(description="What it drops, in words.")
    is_on: bool = Field(description="Whether it is switched on.")
    drops: int = Field(description="Rows it drops, whatever the other filters do.")
    dropped: list[Example] = Field(description="Rows just beyond its limits.")
    kept: list[Example] = Field(description="Rows just within its limits.")


class FiltersPreview(Record):
    """What all filters do together."""

    considered: int = Field(description="Rows that people have not rejected.")
    dropped: int = Field(description="Rows dropped by at least one filter.")
    protected: int = Field(description="Rows that fail but stay: a person accepted them.")
    unmeasured: int = Field(description="Rows not measured yet.")
    filters: list[FilterPreview] = Field(description="One entry per filter.")


class Bin(Record):
    """One bar of the histogram."""

    start: float = Field(description="Smallest similarity counted here.")
    stop: float = Field(description="End of the bar, not included (the last one is).")
    count: int = Field(description="Near pairs of texts.")


class RowText(Record):
    """A row, for reading."""

    pair_id: str = Field(description="The row.")
    prompt: str = Field(description="Its prompt, cut.")
    answer: str = Field(description="Its answer, cut.")
    status: str = Field(description="What people decided.")
    teacher: str = Field(default="", description="Who wrote the answer.")
    topic: str = Field(default="", description="Its topic.")


class NearPair(Record):
    """Two rows and how alike they are."""

    a: RowText = Field(description="The row that stays, or the older one.")
    b: RowText = Field(description="The row that goes, would go, or is just different enough.")
    similarity: float = Field(description="Smallest cosine over fields and windows.")
    is_exact: bool = Field(default=False, description="Equal but for case, space, punctuation.")
    verdict: str = Field(default="", description="What a person said: keep_both, keep_a, keep_b.")


class NearGroup(Record):
    """A row that stays and those it stands for."""

    kept: RowText = Field(description="The representative.")
    removed: list[NearPair] = Field(description="Each with the representative as `a`.")
    size: int = Field(description="How many it stands for, those not listed included.")


class DedupPreview(Record):
    """What a threshold does."""

    field: DedupField = Field(description="What is compared.")
    threshold: float = Field(description="Cosine from which rows are near.")
    floor: float = Field(description="Smallest threshold that the stored pairs answer.")
    model: str = Field(description="Embedding model; empty when nothing was embedded.")
    considered: int = Field(description="Rows that pass the filters and are not rejected.")
    unembedded: int = Field(description="Rows not compared yet.")
    near_pairs: int = Field(description="Stored near pairs of texts in use, from the floor up.")
    groups: int = Field(description="Rows that stand for others.")
    removed: int = Field(description="Rows that go.")
    exact: int = Field(description="Of those, equal but for case, space and punctuation.")
    conflicts: int = Field(description="Rows that would go, had a person not accepted them.")
    histogram: list[Bin] = Field(description="Near pairs by similarity, from the floor to 1.")
    borderline: list[NearPair] = Field(description="Pairs nearest to the threshold.")
    largest: list[NearGroup] = Field(description="The largest groups.")
    conflict_pairs: list[NearPair] = Field(description="The conflicts, `a` is what stays.")


class TopicCount(Record):
    """What became of a topic."""

    topic: str = Field(description="Topic label, empty when unknown.")
    total: int = Field(description="Rows that people have not rejected.")
    removed: int = Field(description="Of those, filtered or duplicate.")


class CurateReport(Record):
    """What was applied."""

    action: int = Field(default=0, description="Number for the history; 0 = nothing changed.")
    changed: int = Field(default=0, description="Rows whose state changed.")
    considered: int = Field(description="Rows that people have not rejected.")
    kept: int = Field(description="Of those, rows that stay.")
    filtered: int = Field(description="Rows dropped by filters.")
    duplicates: int = Field(description="Rows that another one stands for.")
    conflicts: int = Field(description="Near-duplicates kept because a person accepted them.")
    protected: int = Field(description="Rows that fail a filter but a person accepted them.")
    by_reason: dict[str, int] = Field(description="Rows removed, by filter, exact or near.")
    by_topic: list[TopicCount] = Field(description="Per topic; filters can remove capabilities.")
    settings: CurateSettings = Field(description="What was applied.")

    @property
    def removed(self) -> int:
        """Rows that do not stay."""
        return self.filtered + self.duplicates


class ActionInfo(Record):
    """One entry of the history."""

    number: int = Field(description="Counts up.")
    user: str = Field(description="Who applied it.")
    made_at: datetime = Field(description="UTC.")
    undone_at: datetime | None = Field(description="UTC; empty while in force.")
    undone_by: str = Field(description="Who took it back.")
    changed: int = Field(description="Rows whose state it changed.")
    report: dict[str, Any] = Field(description="The report of then.")


class Explanation(Record):
    """Why a row stays or goes."""

    pair_id: str = Field(description="The row.")
    curation: str = Field(description="kept, filtered or duplicate.")
    reason: str = Field(description="In words.")
    code: str = Field(description="Filter, exact or near; empty when kept.")
    score: float | None = Field(description="The filter's score or the similarity.")
    lost_to: RowText | None = Field(description="The row that stands for it.")
    applied_by: str = Field(description="Who applied the settings.")
    applied_at: datetime | None = Field(description="UTC.")
    scores: dict[str, float] = Field(description="All that filters measured.")


class Comparison(Record):
    """Two rows in full, with what differs."""

    a: RowText = Field(description="One row, not cut.")
    b: RowText = Field(description="The other.")
    similarity: float | None = Field(description="Stored similarity; empty below the floor.")
    verdict: str = Field(description="keep_both, keep_a, keep_b, or empty.")
    prompt_diff: list[tuple[str, str]] = Field(description="('both'|'left'|'right', text) runs.")
    answer_diff: list[tuple[str, str]] = Field(description="Likewise for the answers.")


class CurateState(Record):
    """Where the stage stands."""

    total: int = Field(description="All rows.")
    rejected: int = Field(description="Rejected by people.")
    kept: int = Field(description="Neither rejected nor removed here.")
    filtered: int = Field(description="Dropped by filters.")
    duplicates: int = Field(description="Near-duplicates of a kept row.")
    unmeasured: int = Field(description="Rows that filters have not seen.")
    compared: dict[str, int] = Field(description="Rows not compared yet, by searched field.")
    outdated: int = Field(description="Rows that applying the settings again would change.")
    is_applied: bool = Field(description="Whether anything is in force.")
    settings: CurateSettings = Field(description="In force, or the ones to begin with.")
    job_id: str = Field(description="The running job of this stage; empty if none.")
