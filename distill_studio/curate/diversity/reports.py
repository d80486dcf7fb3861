"""What diversity is asked and what it answers, as records."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from distill_studio.core.records import Record
from distill_studio.curate.reports import RowText

Method = Literal["facility_location", "k_centre", "random"]
METHODS: tuple[Method, ...] = ("facility_location", "k_centre", "random")
LABELS: dict[str, str] = {
    "facility_location": "facility location",
    "k_centre": "k-centre",
    "random": "random",
    "all": "all rows",
}
MAX_CORNERS = 2000


class Topic(Record):
    """A cluster of prompts."""

    number: int = Field(description="Of the cluster, the largest first.")
    name: str = Field(description="What a person called it, else a teacher's label, else terms.")
    terms: list[str] = Field(description="c-TF-IDF terms, the weightiest first.")
    is_given: bool = Field(description="True when a person named it.")
    rows: int = Field(description="Rows that people have not rejected.")
    kept: int = Field(description="Of those, rows that curate keeps.")
    accepted: int = Field(description="Of those, rows that a person accepted.")
    share: float = Field(description="Of all kept rows.")
    verdict: str = Field(description="dominant, thin, or empty.")
    x: float = Field(description="Where its name stands on the map.")
    y: float = Field(description="Likewise.")


class TopicsState(Record):
    """The topics as they stand."""

    run: int = Field(default=0, description="Counts up with each clustering; 0 = none yet.")
    model: str = Field(default="", description="Embedding model.")
    user: str = Field(default="", description="Who asked for it.")
    made_at: datetime | None = Field(default=None, description="UTC.")
    seed: int = Field(default=0, description="Of the random numbers.")
    topics: list[Topic] = Field(default=[], description="The largest first.")
    unassigned: int = Field(default=0, description="Rows whose prompt has no cluster yet.")
    kept: int = Field(default=0, description="Rows with a cluster that curate keeps.")
    effective: float = Field(default=0, description="Effective number of topics of kept rows.")
    effective_before: float = Field(default=0, description="Likewise of all rows.")
    remarks: list[str] = Field(default=[], description="What stands out, in words.")
    trust: float = Field(default=0, description="Nearest ten kept on the map, a share.")
    trust_flat: float = Field(default=0, description="The same for two principal components.")
    laid_out: int = Field(default=0, description="Prompts laid out; others stand beside them.")
    set_aside: int = Field(default=0, description="Rows that lists in force hold.")


class TopicRow(Record):
    """A topic (a row's own, else its cluster's name) in numbers."""

    topic: str = Field(description="Its name; empty where there is none.")
    rows: int = Field(description="Rows that people have not rejected.")
    kept: int = Field(description="Of those, rows that curate keeps.")
    accepted: int = Field(description="Of those, rows that a person accepted.")


class MapPoints(Record):
    """Prompts on the map, as columns."""

    run: int = Field(description="Clustering they belong to.")
    total: int = Field(description="All prompts; more than are listed when there are too many.")
    number: list[int] = Field(description="For `point`.")
    x: list[float] = Field(description="From -1.3 to 1.3.")
    y: list[float] = Field(description="Likewise.")
    cluster: list[int] = Field(description="Topic.")
    state: list[int] = Field(description="0 no row is kept, 1 kept, 2 one was accepted.")


class MapArea(Record):
    """Part of the map: inside a polygon, of some topics, or both. Empty parts do not restrict."""

    polygon: list[tuple[float, float]] = Field(
        default=[], max_length=MAX_CORNERS, description="Corners, in order."
    )
    topics: list[int] = Field(default=[], description="Numbers of topics.")


class AreaRows(Record):
    """What lies in a part of the map."""

    prompts: int = Field(description="Different prompts.")
    rows: int = Field(description="Rows that people have not rejected.")
    kept: int = Field(description="Of those, rows that curate keeps.")
    accepted: int = Field(description="Of those, rows that a person accepted: they always stay.")
    would_go: int = Field(description="Rows that setting this part aside would take.")
    would_go_rest: int = Field(description="Rows that keeping only this part would take.")
    also: int = Field(description="Rows that would change as well: settings not applied yet.")
    examples: list[RowText] = Field(description="Some rows, evenly spread.")


class SetAside(Record):
    """What setting rows aside did."""

    list_number: int = Field(description="Of the list; 0 = nothing was listed.")
    listed: int = Field(description="Rows in the list.")
    changed: int = Field(description="Rows whose state changed, other settings' included.")
    kept: int = Field(description="Rows that stay.")
    considered: int = Field(description="Rows that people have not rejected.")


class MethodReport(Record):
    """One way to choose, in numbers."""

    method: str = Field(description="facility_location, k_centre, random, or all.")
    rows: int = Field(description="How many it chose.")
    coverage: float = Field(description="Mean over all rows of the cosine to the nearest chosen.")
    topics: int = Field(description="Topics with at least one chosen row.")
    effective: float = Field(description="Effective number of topics of the chosen rows.")
    quality: float = Field(description="Mean quality, 0 to 1.")
    bits: float | None = Field(description="Held-out bits per word; empty when too few rows.")
    seconds: float = Field(description="Time to choose.")


class SelectionReport(Record):
    """A choice of N rows by several methods."""

    number: int = Field(description="For `choose`.")
    user: str = Field(description="Who asked for it.")
    made_at: datetime = Field(description="UTC.")
    count: int = Field(description="Rows asked for.")
    candidates: int = Field(description="Rows to choose from.")
    fixed: int = Field(description="Accepted rows, which every method takes first.")
    seed: int = Field(description="Of the random numbers.")
    neighbours: int = Field(description="Nearest rows that facility location looks at.")
    recall: float = Field(description="Share of the true nearest that were found; 1 = exact.")
    held_out: int = Field(description="Rows that the word model is scored on.")
    sampled: int = Field(description="Rows that coverage is the mean of.")
    topics: int = Field(description="Topics that the candidates have.")
    methods: list[MethodReport] = Field(description="In the order asked for, then all rows.")
