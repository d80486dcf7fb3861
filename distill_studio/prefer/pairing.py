"""Which candidates of a seed meet. Start from `matches`."""

import random
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from distill_studio.core.records import Pair


def matches(candidates: Sequence[Pair], rng: random.Random) -> list[tuple[Pair, Pair]]:
    """Pairs of different answers to the same seed, each candidate in at most one of them.

    Disjoint pairs give rows that do not depend on each other; which candidates meet is left to
    chance, so no rule of ours leans the labels. Answers that are equal after `normalised` never
    meet.

    Args:
        candidates: Of any seeds, in any order.
        rng: Source of the random order.
    """
    by_seed: dict[str, list[Pair]] = defaultdict(list)
    for candidate in candidates:
        by_seed[candidate.seed_id].append(candidate)
    found: list[tuple[Pair, Pair]] = []
    for group in by_seed.values():
        found += _matches_of_one(sorted(group, key=lambda p: p.id), rng)
    return found


def normalised(text: str) -> str:
    """Text for comparing: Unicode form, case and white space do not count."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _matches_of_one(group: list[Pair], rng: random.Random) -> list[tuple[Pair, Pair]]:
    """Greedy over a shuffled list: each meets the first later one whose text differs."""
    rng.shuffle(group)
    texts = {p.id: normalised(p.final_answer) for p in group}
    found = []
    waiting = list(group)
    while waiting:
        first = waiting.pop(0)
        other = next((p for p in waiting if texts[p.id] != texts[first.id]), None)
        if other is not None:
            waiting.remove(other)
            found.append((first, other))
    return found
