"""Verdicts of several people as a table of agreement. Start from `agreement_rows`, `between`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import Field

from distill_studio.agreement.coefficients import (
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    mean_share,
    percent,
)
from distill_studio.core.estimate import Estimate, Floats
from distill_studio.core.records.base import Record

Scope = Literal["all", "people", "topic"]
MAX_TOPICS = 50
NO_TOPIC = "(no topic)"


@dataclass(frozen=True, slots=True)
class Rating:
    """What one rater said of one item; `cluster` (the prompt) is what a bootstrap draws."""

    item: str
    cluster: str
    rater: str
    label: str
    topic: str = ""


class AgreementRow(Record):
    """How far raters agree: all of them, two of them, or all of them on one topic."""

    scope: Scope = Field(description="all, people (two of them) or topic.")
    name: str = Field(description="Everybody, the two names, or the topic.")
    people: tuple[str, ...] = Field(description="The raters who take part.")
    items: int = Field(description="Items with two or more verdicts.")
    verdicts: int = Field(description="Verdicts on these items.")
    percent: Estimate = Field(description="Share of agreeing pairs of verdicts, mean over items.")
    cohen: Estimate | None = Field(default=None, description="Cohen's kappa; of two raters only.")
    fleiss: Estimate = Field(description="Fleiss' kappa.")
    alpha: Estimate = Field(description="Krippendorff's alpha, nominal.")


class Between(Record):
    """How far one side agrees with another: a person with the others, a judge with people."""

    n: int = Field(description="Items that both sides judged.")
    percent: Estimate = Field(description="Share of agreement, mean over items.")
    kappa: Estimate = Field(description="Cohen's kappa of the two sides.")


def agreement_rows(ratings: Sequence[Rating], labels: Sequence[str]) -> list[AgreementRow]:
    """Everybody first, then each two people with an item in common, then topics (busiest first).

    Args:
        ratings: At most one per (item, rater); of several the last counts.
        labels: Every label there is.
    """
    known = list({(r.item, r.rater): r for r in ratings}.values())
    rows = [_row("all", "Everybody", known, labels)]
    by_rater: dict[str, dict[str, Rating]] = defaultdict(dict)
    for rating in known:
        by_rater[rating.rater][rating.item] = rating
    for a, b in combinations(sorted(by_rater), 2):
        common = by_rater[a].keys() & by_rater[b].keys()
        if common:
            both = [by_rater[who][item] for who in (a, b) for item in sorted(common)]
            rows.append(_row("people", f"{a}, {b}", both, labels))
    return rows + _topic_rows(known, labels)


def between(left: Iterable[Rating], right: Iterable[Rating], labels: Sequence[str]) -> Between:
    """One side against the other, on the items that both judged; each item weighs the same.

    Where a side has several verdicts on an item, their shares count.
    """
    one, other = _by_item(left), _by_item(right)
    items = sorted(one.keys() & other.keys())
    confusion = np.zeros((len(items), len(labels), len(labels)))
    for n, item in enumerate(items):
        confusion[n] = np.outer(_shares(one[item], labels), _shares(other[item], labels))
    clusters = [one[item][0].cluster for item in items]
    same = np.trace(confusion, axis1=1, axis2=2)
    return Between(
        n=len(items),
        percent=mean_share(same, clusters),
        kappa=cohen_kappa(confusion, clusters),
    )


def _topic_rows(ratings: Sequence[Rating], labels: Sequence[str]) -> list[AgreementRow]:
    by_topic: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        by_topic[rating.topic or NO_TOPIC].append(rating)
    if set(by_topic) <= {NO_TOPIC}:
        return []
    rows = [_row("topic", topic, some, labels) for topic, some in by_topic.items()]
    with_overlap = [row for row in rows if row.items]
    return sorted(with_overlap, key=lambda row: (-row.items, row.name))[:MAX_TOPICS]


def _row(scope: Scope, name: str, ratings: Sequence[Rating], labels: Sequence[str]) -> AgreementRow:
    shared = {item: found for item, found in _by_item(ratings).items() if len(found) > 1}
    items = sorted(shared)
    counts = np.zeros((len(items), len(labels)))
    for n, item in enumerate(items):
        for rating in shared[item]:
            counts[n, labels.index(rating.label)] += 1
    clusters = [shared[item][0].cluster for item in items]
    people = tuple(sorted({r.rater for found in shared.values() for r in found}))
    cohen = None
    if len(people) == 2:
        sides = [[r for r in ratings if r.rater == who] for who in people]
        cohen = between(sides[0], sides[1], labels).kappa
    return AgreementRow(
        scope=scope,
        name=name,
        people=people,
        items=len(items),
        verdicts=int(counts.sum()),
        percent=percent(counts, clusters),
        cohen=cohen,
        fleiss=fleiss_kappa(counts, clusters),
        alpha=krippendorff_alpha(counts, clusters),
    )


def _by_item(ratings: Iterable[Rating]) -> dict[str, list[Rating]]:
    found: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        found[rating.item].append(rating)
    return found


def _shares(ratings: Sequence[Rating], labels: Sequence[str]) -> Floats:
    counts = Counter(rating.label for rating in ratings)
    return np.array([counts[label] / len(ratings) for label in labels])
