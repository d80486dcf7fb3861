"""Files whose rows are only compared with: benchmarks, other datasets. Start at `read_items`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.drafts import check_usable, open_file
from distill_studio.seeds.rows import Draft
from distill_studio.store.database import Row

MAX_ITEMS = 200_000  # some 300 MB of vectors while they are compared
_KEPT_PROBLEMS = 20


@dataclass
class ReadItems:
    """What was read, as the store takes it, and what could not be read."""

    items: list[Row] = field(default_factory=list)
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, item: Row, too_many: tuple[str, str]) -> None:
        """One more.

        Raises:
            InvalidInput: There are `MAX_ITEMS` already; `too_many` is its message and hint.
        """
        if len(self.items) >= MAX_ITEMS:
            raise InvalidInput(*too_many)
        self.items.append(item)

    def miss(self, problem: str) -> None:
        """A row that could not be read; the first ones are told."""
        self.problem_count += 1
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(problem)


def read_items(
    path: Path,
    mapping: ColumnMapping | None,
    items_of: Callable[[int, Draft], Iterable[Row]],
    *,
    too_many: tuple[str, str],
    nothing: str,
) -> ReadItems:
    """Every item of a file.

    Args:
        path: JSONL, JSON, CSV or Parquet.
        mapping: Which column is what; None guesses.
        items_of: (the next item's number, a prompt with its answers) -> its items.
        too_many: Message and hint where there are more than `MAX_ITEMS`.
        nothing: What to say of a file without any item.

    Raises:
        InvalidInput: No format that can be read, no column of prompts, nothing in it, too much.
    """
    file = open_file(path, mapping)
    check_usable(file)
    found = ReadItems()
    for row in file.rows():
        if row.problem:
            found.miss(f"Line {row.line}: {row.problem}")
        for draft in row.drafts:
            for item in items_of(len(found.items), draft):
                found.add(item, too_many)
    if not found.items:
        why = f" {found.problems[0]}" if found.problems else ""
        raise InvalidInput(f"{nothing}{why}")
    return found
