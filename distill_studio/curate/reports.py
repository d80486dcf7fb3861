"""What the curate stage is told and what it answers, as records."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from distill_studio.core import embedding_models
from distill_studio.core.records import Record
from distill_studio.curate.filters import (
    AnyFilter,
    ContaminatedConfig,
    ReferenceConfig,
    default_filters,
)

DedupField = Literal["prompt", "answer", "both"]
Priority = Literal["judge", "oldest", "newest", "longest", "shortest", "teacher"]
DEFAULT_THRESHOLD = 0.9
DEFAULT_FLOOR = 0.8


class NearChoices(Record):
    """How groups of near-duplicates are made. Rows that people accepted always come first."""

    priority: Priority = Field(
        default="judge",
        description="Which row of a group stays: the judge's best, the oldest, newest, longest or"
        " shortest answer, or the preferred teacher's. Ties: the better score, then the older row.",
    )
    teacher: str = Field(default="", description="The preferred one, for the priority `teacher`.")
    within_topic: bool = Field(
        default=False,
        description="Only rows of one topic are duplicates; rows without a topic are one topic.",
    )


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
    near: NearChoices = Field(default=NearChoices(), description="Who stays, and among whom.")
    remove_accepted: bool = Field(
        default=False, description="Also remove rows that a person accepted or edited."
    )
    model: str = Field(
        default=embedding_models.FULL,
        description="Embedding model that compares: full, fast (its static copy), `static:ID`, or"
        " any sentence-transformers folder or id. Each has its own scale of similarities.",
    )

    @field_validator("model")
    @classmethod
    def _one_name_each(cls, model: str) -> str:
        return embedding_models.canonical(model)

    @field_validator("filters")
    @classmethod
    def _finds_count(cls, filters: list[AnyFilter]) -> list[AnyFilter]:
        """Leaks and rows of other datasets go unless that is switched off in so many words:
        settings may be older than it."""
        kinds = {config.kind for config in filters}
        always = (ContaminatedConfig(), ReferenceConfig())
        return [*filters, *(config for config in always if config.kind not in kinds)]


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
    group: str = Field(default="", description="The heading it stands under.")
    is_on: bool = Field(description="Whether it is switched on.")
    only_warns: bool = Field(default=False, description="It counts rows, and all of them stay.")
    drops: int = Field(description="Rows beyond its limits, whatever the other filters do.")
    dropped: list[Example] = Field(description="Rows just beyond its limits.")
    kept: list[Example] = Field(description="Rows just within its limits.")


class TopicCount(Record):
    """What became of a topic."""

    topic: str = Field(description="Topic label, empty when unknown.")
    total: int = Field(description="Rows that people have not rejected.")
    removed: int = Field(description="Of those, filtered or duplicate.")
    by_reason: dict[str, int] = Field(default={}, description="Removed rows by filter, or near.")
    warning: str = Field(
        default="", description="Said of a topic that loses far more than the others."
    )


class FiltersPreview(Record):
    """What all filters do together."""

    considered: int = Field(description="Rows that people have not rejected.")
    dropped: int = Field(description="Rows dropped by at least one filter.")
    protected: int = Field(description="Rows that fail but stay: a person accepted them.")
    unmeasured: int = Field(description="Rows not measured yet.")
    by_topic: list[TopicCount] = Field(default=[], description="What goes of each topic.")
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


class Approximation(Record):
    """How much of the near pairs an approximate search found, judged by a sample."""

    share: float = Field(description="Of the sampled near pairs, those found.")
    low: float = Field(description="Lower end of the 95% interval.")
    high: float = Field(description="Upper end.")
    pairs: int = Field(description="Near pairs in the sample; 0 = not measured.")


class ThresholdMatch(Record):
    """A threshold of the full model and where another model finds as many pairs."""

    threshold: float = Field(description="Cosine of the full model.")
    matching: float | None = Field(description="The other model's; empty without such pairs.")
    pairs: int = Field(description="Pairs of the sample from that threshold up.")
    recall: float | None = Field(description="Share of them that the other model finds too.")


class ModelAgreement(Record):
    """How far an embedding model agrees with the full one on a sample of this workspace."""

    model: str = Field(description="The model.")
    reference: str = Field(description="The full model.")
    field: DedupField = Field(description="What was compared.")
    threshold: float = Field(description="Threshold of the full model that was asked for.")
    units: int = Field(description="Prompts, answers or couples in the sample.")
    texts: int = Field(description="Texts that both models read.")
    pairs: int = Field(description="Pairs of them; all were compared.")
    spearman: float | None = Field(description="Rank correlation of the cosines, -1 to 1.")
    matches: list[ThresholdMatch] = Field(description="By threshold, the one asked for included.")

    @property
    def asked(self) -> ThresholdMatch:
        """The match of the threshold that was asked for."""
        return next(one for one in self.matches if one.threshold == self.threshold)


class DedupPreview(Record):
    """What a threshold does."""

    field: DedupField = Field(description="What is compared.")
    threshold: float = Field(description="Cosine from which rows are near.")
    floor: float = Field(description="Smallest threshold that the stored pairs answer.")
    model: str = Field(description="Embedding model; empty when it has compared nothing yet.")
    agreement: ModelAgreement | None = Field(
        default=None, description="How far it agrees with the full model; empty if not measured."
    )
    considered: int = Field(description="Rows that pass the filters and are not rejected.")
    unembedded: int = Field(description="Rows not compared yet.")
    near_pairs: int = Field(description="Stored near pairs of texts in use, from the floor up.")
    approximate: Approximation | None = Field(
        default=None, description="How good the search was; empty when it was exact."
    )
    groups: int = Field(description="Rows that stand for others.")
    removed: int = Field(description="Rows that go.")
    exact: int = Field(description="Of those, equal but for case, space and punctuation.")
    conflicts: int = Field(description="Rows that would go, had a person not accepted them.")
    histogram: list[Bin] = Field(description="Near pairs by similarity, from the floor to 1.")
    borderline: list[NearPair] = Field(description="Pairs nearest to the threshold.")
    largest: list[NearGroup] = Field(description="The largest groups.")
    conflict_pairs: list[NearPair] = Field(description="The conflicts, `a` is what stays.")


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
    pipeline: str = Field(default="", description="Name of the pipeline; empty for the form's.")


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


class Unseen(Record):
    """Rows that filters pass only because nobody has looked at them yet."""

    unchecked: int = Field(default=0, description="Not checked against every benchmark.")
    uncompared: int = Field(default=0, description="Not compared with every other dataset.")
    unscored: int = Field(default=0, description="Without a likelihood by the filter's model.")

    def in_words(self) -> list[str]:
        """A sentence for each kind there is: what was not done, and what does it."""
        told = (
            (self.unchecked, "checked for benchmark leaks", "Check rows under Benchmark leaks."),
            (
                self.uncompared,
                "compared with another dataset",
                "Compare meanings under Against another dataset.",
            ),
            (self.unscored, "scored for likelihood", "Score answers first."),
        )
        return [
            f"{count:,} {'row was' if count == 1 else 'rows were'} not {what}, so that filter lets"
            f" {'it' if count == 1 else 'them'} pass. {way_out}"
            for count, what, way_out in told
            if count
        ]


class NearVerdict(Record):
    """What a person said of two rows."""

    a: str = Field(description="The older row.")
    b: str = Field(description="The newer one.")
    verdict: str = Field(description="keep_both, keep_a or keep_b.")
    user: str = Field(description="Who said so.")
    made_at: datetime = Field(description="When, UTC.")


class CurateState(Record):
    """Where the stage stands."""

    total: int = Field(description="All rows.")
    rejected: int = Field(description="Rejected by people.")
    kept: int = Field(description="Neither rejected nor removed here.")
    filtered: int = Field(description="Dropped by filters.")
    duplicates: int = Field(description="Near-duplicates of a kept row.")
    unmeasured: int = Field(description="Rows that filters have not seen.")
    unhashed: int = Field(
        default=0, description="Rows and items whose texts are not compared for equality yet."
    )
    compared: dict[str, int] = Field(description="Rows not compared yet, by searched field.")
    outdated: int = Field(description="Rows that applying the settings again would change.")
    is_applied: bool = Field(description="Whether anything is in force.")
    pipeline: str = Field(default="", description="The pipeline in force, by name.")
    new_rows: int = Field(default=0, description="Rows that came since the last step.")
    unseen: Unseen = Field(
        default_factory=Unseen, description="Rows that the filters in force have not looked at."
    )
    settings: CurateSettings = Field(description="In force, or the ones to begin with.")
    job_id: str = Field(description="The running job of this stage; empty if none.")
