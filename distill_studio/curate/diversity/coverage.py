"""How evenly rows cover topics, in one number and in words."""

import math
from collections.abc import Sequence

DOMINANT = 0.25  # share of a topic that is called dominant, where there are several
THIN = 0.2  # of the average size: a topic below is called thin


def effective_topics(counts: Sequence[float]) -> float:
    """exp of the Shannon entropy of the shares: k topics of equal size give k.

    Hill number of order 1 (Hill 1973).
    """
    total = sum(counts)
    if total <= 0:
        return 0.0
    shares = [count / total for count in counts if count > 0]
    return math.exp(-sum(share * math.log(share) for share in shares))


def verdict(count: int, total: int, topics: int) -> str:
    """'dominant', 'thin' or '': what a topic's share means among so many topics."""
    if total <= 0 or topics < 3:
        return ""
    share = count / total
    if share >= max(DOMINANT, 2 / topics):
        return "dominant"
    return "thin" if share < THIN / topics else ""
