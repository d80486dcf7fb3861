"""What becomes of each topic, and which ones lose far more than the others.

Filters remove capabilities: a length limit takes the proofs, a form check the code. A topic is
marked when, chance aside, its share of removed rows is at least twice that of all other topics
together. "Chance aside" is the lower end of Wilson's interval (99%): one lost row of two says
nothing, twenty of forty do.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import scipy

from distill_studio.curate.reports import TopicCount

_TIMES = 2.0
_CONFIDENCE = 0.99  # of both ends together
_SMALLEST_SHARE = 0.05
_FEWEST_REMOVED = 5
_FEWEST_OTHERS = 20


def by_topic(
    totals: Sequence[Mapping[str, Any]], gone: Iterable[Mapping[str, Any]]
) -> list[TopicCount]:
    """A line for each topic.

    Args:
        totals: `topic`, `total`, in the order to show.
        gone: `topic`, `kind`, `count` of removed rows.
    """
    reasons: dict[str, Counter[str]] = {}
    for row in gone:
        reasons.setdefault(row["topic"], Counter())[row["kind"]] += row["count"]
    everything = sum(row["total"] for row in totals)
    removed = sum(counter.total() for counter in reasons.values())
    found = []
    for row in totals:
        mine = reasons.get(row["topic"], Counter())
        others = everything - row["total"], removed - mine.total()
        found.append(
            TopicCount(
                topic=row["topic"],
                total=row["total"],
                removed=mine.total(),
                by_reason=dict(mine.most_common()),
                warning=warning(mine.total(), row["total"], others[1], others[0]),
            )
        )
    return found


def warning(removed: int, total: int, others_removed: int, others: int) -> str:
    """What to say of a topic that loses far more than the others; '' when it does not."""
    if others < _FEWEST_OTHERS or removed < _FEWEST_REMOVED:
        return ""
    elsewhere = others_removed / others
    line = max(_TIMES * elsewhere, _SMALLEST_SHARE)
    if removed / total < line or at_least(removed, total) < line:  # the interval is the dear part
        return ""
    return f"Loses {removed / total:.0%} of its rows, the other topics {elsewhere:.0%}."


def at_least(count: int, total: int) -> float:
    """Lower end of Wilson's 99% interval of a share."""
    return float(
        scipy.stats.binomtest(count, total).proportion_ci(_CONFIDENCE, method="wilson").low
    )
