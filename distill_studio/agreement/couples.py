"""Votes on couples of answers as labels that do not depend on who stood where."""

import hashlib

COUPLE_LABELS = ("first", "second", "tie", "both_bad")


def couple_key(one: str, other: str) -> str:
    """The same for both orders."""
    return "|".join(sorted((one, other)))


def label_of(left: str, right: str, outcome: str) -> str:
    """A vote without its sides: `first`, `second`, `tie` or `both_bad`.

    Which answer is the first is drawn from a hash of both: as good as a coin, the same for every
    voter. By age or by model it would not be one, and agreement by chance would come out too high
    wherever one model tends to win.

    Args:
        left: Id of the left (or chosen) answer.
        right: Id of the other.
        outcome: left, right, win (the left one), tie or both_bad.
    """
    if outcome in ("tie", "both_bad"):
        return outcome
    winner = right if outcome == "right" else left
    return "first" if winner == _first(left, right) else "second"


def _first(one: str, other: str) -> str:
    low, high = sorted((one, other))
    digest = hashlib.sha256(f"{low}|{high}".encode()).digest()
    return low if digest[0] % 2 else high
