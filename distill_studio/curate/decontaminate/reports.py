"""What the search for leaks is asked and what it answers, as records."""

from datetime import datetime

from pydantic import Field

from distill_studio.core.records import Record


class LeakPack(Record):
    """A benchmark that rows are checked against."""

    name: str = Field(description="Its name.")
    kind: str = Field(
        default="benchmark",
        description="benchmark; or, of this workspace's own: validation (a snapshot's split) or"
        " prompts (those of comparison sets).",
    )
    source: str = Field(description="The file, Hub dataset or snapshot it came from.")
    content_hash: str = Field(description="Of its items: the same items, the same hash.")
    items: int = Field(description="Questions in it.")
    user: str = Field(description="Who added it.")
    made_at: datetime = Field(description="UTC.")
    unchecked: int = Field(description="Rows not checked against it yet, edited ones included.")


class PackReport(Record):
    """What adding a pack did."""

    pack: LeakPack = Field(description="The pack.")
    problem_count: int = Field(description="Rows of the file that could not be read.")
    problems: list[str] = Field(description="The first of them, in words.")
    is_new: bool = Field(description="False when these very items are there already.")


class LeakExample(Record):
    """A row beside the item it holds; texts as runs, `both` where the words are shared."""

    pair_id: str = Field(description="The row.")
    pack: str = Field(description="Name of the benchmark.")
    item: int = Field(description="Number of the item in it.")
    label: str = Field(description="The item's id, or its number in words.")
    rule: str = Field(description="exact, ngram or coverage.")
    item_side: str = Field(description="prompt or answer of the item.")
    row_side: str = Field(description="prompt, answer or reasoning of the row.")
    coverage: float = Field(description="Share of the item's words in shared runs of 8.")
    shared: list[str] = Field(description="The shared words, longest stretch first.")
    item_text: list[tuple[str, str]] = Field(description="('both'|'left', text) runs.")
    row_text: list[tuple[str, str]] = Field(description="Likewise; cut around the shared words.")
    text_hash: str = Field(description="Which text of the row; verdicts name it.")
    status: str = Field(description="What people decided of the row.")
    verdict: str = Field(description="leak, not_leak, or empty.")


class LeakReport(Record):
    """What is known about one benchmark."""

    pack: LeakPack = Field(description="The benchmark.")
    finds: int = Field(default=0, description="Couples of a row and an item that it holds.")
    rows: int = Field(description="Rows that hold one of its items, rejected ones apart.")
    items: int = Field(description="Items that rows hold.")
    by_rule: dict[str, int] = Field(description="Rows by rule; one may count under several.")
    accepted: int = Field(description="Of the rows, those a person accepted: they stay (conflict).")
    denied: int = Field(description="Finds that a person called no leak.")
    open: int = Field(description="Candidates that nobody has judged.")
    leaks: int = Field(description="Candidates that a person called a leak.")
    not_leaks: int = Field(description="Candidates that a person called no leak.")
    model_leaks: int = Field(
        default=0, description="Of the open ones, those a model called a leak."
    )
    model_not_leaks: int = Field(
        default=0, description="Of the open ones, those a model called no leak."
    )
    model_unsure: int = Field(
        default=0, description="Of the open ones, those a model was unsure of."
    )
    model_failed: int = Field(
        default=0, description="Of the open ones, those with no readable reply."
    )
    examples: list[LeakExample] = Field(description="Finds, the most covered first.")


class LeakCandidate(Record):
    """A row's prompt that may say the same as an item, for a person to judge."""

    pack: str = Field(description="Name of the benchmark.")
    item: int = Field(description="Number of the item in it.")
    label: str = Field(description="The item's id, or its number in words.")
    text_hash: str = Field(description="Which text of the row; verdicts name it.")
    pair_id: str = Field(description="The oldest row with this prompt.")
    rows: int = Field(description="Rows with this prompt.")
    accepted: int = Field(description="Of those, accepted by a person.")
    similarity: float = Field(description="Cosine of the two texts.")
    rank: float = Field(description="Place in the queue: similarity plus shared wording.")
    item_text: list[tuple[str, str]] = Field(description="The item: ('both'|'left', text) runs.")
    row_text: list[tuple[str, str]] = Field(description="The prompt: ('both'|'right', text) runs.")
    answer: str = Field(description="The item's known answer, cut.")
    verdict: str = Field(description="leak, not_leak, or empty.")
    judged_by: str = Field(description="Who said so.")
    opinion: str = Field(
        default="", description="What a model said: leak, not_leak, unsure, unreadable, failed."
    )
    opinion_by: str = Field(default="", description="Which teacher said so.")
    opinion_reason: str = Field(default="", description="Its words, or why there are none.")


class LeakQueue(Record):
    """Candidates, likely leaks first."""

    open: int = Field(description="Not judged yet, in all.")
    judged: int = Field(description="Judged, in all.")
    total: int = Field(description="Those asked for, in all.")
    candidates: list[LeakCandidate] = Field(description="A page of them.")


class KnownBenchmark(Record):
    """A public benchmark that the studio knows where to find."""

    name: str = Field(description="Its name, for `add_known`.")
    about: str = Field(description="What it tests.")
    dataset: str = Field(description="Id on the Hugging Face Hub.")
    config: str = Field(default="", description="Configuration; empty for the only one.")
    split: str = Field(description="Split that is the test.")
    file: str = Field(default="", description="A JSON file of the dataset, where that is meant.")
    question: tuple[str, ...] = Field(description="Columns of the question, one after the other.")
    answer: str = Field(default="", description="Column of the known answer; empty: not looked at.")
