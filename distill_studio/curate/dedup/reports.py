"""What the comparison with other datasets answers, as records."""

from datetime import datetime

from pydantic import Field

from distill_studio.core.records import Record
from distill_studio.curate.reports import DedupField, RowText


class ReferenceSet(Record):
    """Another dataset, and what of it is near in this workspace."""

    name: str = Field(description="Unique in the workspace.")
    source: str = Field(description="The file or workspace that it came from.")
    items: int = Field(description="Its rows.")
    user: str = Field(description="Who added it.")
    made_at: datetime = Field(description="UTC.")
    field: DedupField = Field(description="What is compared.")
    threshold: float = Field(description="Similarity from which rows count here.")
    rows: int = Field(description="Rows of this workspace near to one of it.")
    exact: int = Field(description="Of those, equal but for case, space and punctuation.")
    uncompared: int | None = Field(
        description="Texts not compared by meaning yet; empty when none was."
    )


class ReferenceAdded(Record):
    """A set that was added, and what could not be read."""

    reference: ReferenceSet = Field(description="The set.")
    problem_count: int = Field(description="Rows of the file that could not be read.")
    problems: list[str] = Field(description="The first of them, with their lines.")


class ReferencePair(Record):
    """A row beside the row of the other dataset."""

    row: RowText = Field(description="The row of this workspace, not cut.")
    item: int = Field(description="Number of the other dataset's row, from 0.")
    similarity: float = Field(description="Smallest cosine over fields and windows.")
    is_exact: bool = Field(description="Equal but for case, space and punctuation.")
    prompt_diff: list[tuple[str, str]] = Field(
        description="('both'|'left'|'right', text) runs; left is the row."
    )
    answer_diff: list[tuple[str, str]] = Field(description="Likewise for the answers.")
