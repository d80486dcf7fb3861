"""What people's votes on two answers come to. Start from `verdict`."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

State = Literal["decided", "even", "open"]


class Say(NamedTuple):
    """One vote on two answers, whichever stood left."""

    said: str  # id of the better answer, or `tie` or `both_bad`
    is_final: bool = False  # an adjudicator's word


class Verdict(NamedTuple):
    """What the votes come to."""

    state: State  # `even`: no say has more votes than every other; `open`: votes are missing
    said: str = ""  # of `decided`: what holds, as in `Say`


def verdict(votes: Sequence[Say], overlap: int) -> Verdict:
    """The newest final word; else the say with the most votes, once as many are in as are asked.

    A tie and "both bad" are says like any other: where most call both answers bad, neither wins.

    Args:
        votes: Oldest first, one a person; no skips, no swapped repeats.
        overlap: How many votes are asked for.
    """
    final = [vote.said for vote in votes if vote.is_final]
    if final:
        return Verdict("decided", final[-1])
    if len(votes) < max(overlap, 1):
        return Verdict("open")
    (said, most), *others = Counter(vote.said for vote in votes).most_common()
    if others and others[0][1] == most:
        return Verdict("even")
    return Verdict("decided", said)
