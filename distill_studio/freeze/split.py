"""Train and validation without leaks: rows that belong together stay on one side.

Deterministic by hashes of the prompts; there is no state of a random generator.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from distill_studio.core.records import Message

MIN_ROWS_FOR_VALIDATION = 10


@dataclass(frozen=True, slots=True)
class SplitRow:
    """A row as the split sees it.

    Args:
        id: The row.
        prompt: Its normalised prompt; rows with equal ones belong together.
        ties: Other keys (seed, near-duplicate group); rows that share one belong together.
    """

    id: str
    prompt: str
    ties: tuple[str, ...] = ()


def normalised_prompt(messages: Iterable[Message]) -> str:
    """What the user said, without case, signs and spacing: 32 hex digits."""
    said = "\n".join(m.content for m in messages if m.role == "user")
    folded = unicodedata.normalize("NFKC", said).casefold()
    words = "".join(c if c.isalnum() else " " for c in folded).split()
    text = " ".join(words) or said.strip()
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def groups(rows: Sequence[SplitRow]) -> list[list[SplitRow]]:
    """Rows that are tied to each other, directly or through others, as one group each."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while (up := parent.setdefault(key, key)) != key:
            parent[key] = parent[up]
            key = parent[key]
        return key

    for row in rows:
        own = root(f"prompt:{row.prompt}")
        for tie in row.ties:
            parent[root(f"tie:{tie}")] = own
    found: dict[str, list[SplitRow]] = defaultdict(list)
    for row in rows:
        found[root(f"prompt:{row.prompt}")].append(row)
    return list(found.values())


def choose_validation(grouped: Sequence[Sequence[SplitRow]], share: float) -> set[str]:
    """Ids of the validation rows: whole groups, as near to `share` of all rows as they allow.

    From ten rows on at least one row is chosen if there are two groups; a group larger than what
    is still wanted goes to train.
    """
    total = sum(len(group) for group in grouped)
    wanted = round(total * share)
    if share > 0 and total >= MIN_ROWS_FOR_VALIDATION:
        wanted = max(1, wanted)
    if wanted == 0 or len(grouped) < 2:
        return set()
    in_order = sorted(grouped, key=_rank)
    chosen: set[str] = set()
    for group in in_order:
        if len(chosen) + len(group) <= wanted:
            chosen.update(row.id for row in group)
    if not chosen:  # every group is larger than what is wanted
        chosen.update(row.id for row in min(in_order, key=len))
    return chosen


def _rank(group: Sequence[SplitRow]) -> str:
    return hashlib.sha256(f"split:{min(row.prompt for row in group)}".encode()).hexdigest()
