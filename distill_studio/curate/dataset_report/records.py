"""What is known of a dataset, as records. Counts are rows (pairs) unless they say otherwise."""

from datetime import datetime

from pydantic import Field

from distill_studio.core.records import Record
from distill_studio.curate.reports import TopicCount

REJECTED = "rejected"  # by people; the other reasons are filters' tags, `exact` and `near`


class Counted(Record):
    """Something with a name, and how many rows."""

    name: str = Field(description="What; empty when not named.")
    rows: int = Field(description="How many came.")
    kept: int = Field(default=0, description="Of those, how many stay.")


class Teacher(Record):
    """Who wrote answers."""

    name: str = Field(description="The teacher, or the model an imported file names.")
    models: list[str] = Field(description="Ids of its models, a few at most.")
    rows: int = Field(description="Answers.")
    kept: int = Field(description="Of those, how many stay.")
    licence_note: str = Field(description="Its terms on training with its outputs; may be empty.")


class CameIn(Record):
    """Where rows come from. Lists name the largest; what is beyond is in `more`."""

    seeds: int = Field(description="Prompts.")
    unanswered: int = Field(description="Of those, without any answer.")
    seed_sources: list[Counted] = Field(description="Prompts by source.")
    rows: int = Field(description="Rows in all.")
    recipes: list[Counted] = Field(description="Rows by recipe; `import` for files.")
    sources: list[Counted] = Field(description="Rows by file or generating recipe.")
    more_sources: int = Field(default=0, description="Sources that are not listed.")
    teachers: list[Teacher] = Field(description="Rows by teacher.")
    more_teachers: int = Field(default=0, description="Teachers that are not listed.")
    failures: int = Field(description="Requests that gave no row, in all generations.")


class Gone(Record):
    """Rows that do not stay, for one reason; each row counts once."""

    code: str = Field(description="rejected, a filter's tag, exact or near.")
    label: str = Field(description="In words.")
    rows: int = Field(description="How many.")
    details: dict[str, int] = Field(default={}, description="People's own reasons, the most first.")


class Lengths(Record):
    """How long texts are."""

    what: str = Field(description="Which text, and the unit.")
    rows: int = Field(description="Texts that were measured.")
    total: float = Field(description="All of them together.")
    mean: float = Field(description="On average.")
    p5: float = Field(description="5% are this long at most.")
    p25: float = Field(description="A quarter.")
    median: float = Field(description="Half.")
    p75: float = Field(description="Three quarters.")
    p95: float = Field(description="95%.")
    longest: float = Field(description="The longest.")


class ScoreBin(Record):
    """One bar of the judge's scores."""

    start: float = Field(description="Lowest score counted here.")
    stop: float = Field(description="End of the bar; the same as `start` for a single value.")
    rows: int = Field(description="How many.")


class Stays(Record):
    """The rows that neither people nor curation removed."""

    rows: int = Field(description="How many.")
    accepted: int = Field(description="Accepted by people, as written or edited.")
    edited: int = Field(description="Of those, with an edited answer.")
    pending: int = Field(description="Nobody decided on them.")
    reviewers: int = Field(description="People who decided on them.")
    answer_tokens: int = Field(description="Tokens of answers, as their teachers counted.")
    counted_rows: int = Field(description="Rows whose teacher counted tokens.")
    lengths: list[Lengths] = Field(description="Of prompts and answers.")
    judged: int = Field(description="Rows with a judge's score.")
    mean_score: float | None = Field(description="On average; empty without any.")
    scores: list[ScoreBin] = Field(description="Judge's scores, lowest first.")


class TopicLine(TopicCount):
    """A topic: here people's rejections count as well as what curation removed."""

    kept: int = Field(description="Rows of it that stay.")


class Checked(Record):
    """A benchmark, and what of it was found."""

    name: str = Field(description="The benchmark.")
    kind: str = Field(description="benchmark, validation or prompts.")
    source: str = Field(description="Where it came from.")
    items: int = Field(description="Questions in it.")
    unchecked: int = Field(description="Rows not checked against it.")
    rows_hit: int = Field(description="Rows that hold one of its items word for word.")
    items_hit: int = Field(description="Its items that rows hold.")
    kept_hit: int = Field(description="Of the rows with a leak, those that stay all the same.")
    open: int = Field(description="Candidates for reworded items that no person judged.")
    leaks: int = Field(description="Candidates that a person called a leak.")
    not_leaks: int = Field(description="Candidates that a person called none.")
    model_leaks: int = Field(description="Of the open ones, a model called these a leak.")
    model_read: int = Field(description="Of the open ones, a model gave an opinion on these.")
    models: list[str] = Field(description="Who gave opinions.")


class NearSettings(Record):
    """How near-duplicates were looked for."""

    field: str = Field(description="prompt, answer or both.")
    threshold: float = Field(description="Cosine from which rows are the same.")
    model: str = Field(description="Embedding model; empty: only equal texts were found.")
    uncompared: int = Field(description="Rows not compared yet.")


class Step(Record):
    """Something that was applied to the rows and is in force."""

    number: int = Field(description="As in the history.")
    user: str = Field(description="Who.")
    made_at: datetime = Field(description="UTC.")
    pipeline: str = Field(description="The pipeline's name; empty for the form's settings.")
    changed: int = Field(description="Rows whose state it changed.")


class GoneExample(Record):
    """A row that does not stay."""

    code: str = Field(description="As in `Gone`.")
    pair_id: str = Field(description="The row.")
    prompt: str = Field(description="Cut; empty where showing it would spread what was removed.")
    answer: str = Field(description="Likewise.")
    reason: str = Field(description="Why it goes, in words.")
    other: str = Field(default="", description="Answer of the row that stands for it, cut.")


class DatasetReport(Record):
    """Everything on one page."""

    workspace: str = Field(description="The dataset.")
    made_at: datetime = Field(description="UTC.")
    version: str = Field(description="Of the studio.")
    came_in: CameIn = Field(description="What came in.")
    gone: list[Gone] = Field(description="What went, the most first.")
    stays: Stays = Field(description="What stays.")
    topics: list[TopicLine] = Field(description="By topic, the largest first; those that lose far"
        " more than the others have a warning.")  # fmt: skip
    more_topics: int = Field(default=0, description="Topics that are not listed.")
    checked: list[Checked] = Field(description="Benchmarks.")
    near: NearSettings = Field(description="Near-duplicates.")
    filters: list[str] = Field(description="Filters in force, in words.")
    steps: list[Step] = Field(description="What was applied and is in force, newest first.")
    warnings: list[str] = Field(description="What to look at before using it.")
    examples: list[GoneExample] = Field(description="A few rows for each reason.")

    @property
    def removed(self) -> int:
        """Rows that do not stay."""
        return sum(one.rows for one in self.gone)
