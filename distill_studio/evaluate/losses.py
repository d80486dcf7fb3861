"""What a student lost on a suite: the prompts on which it did worse than its teacher.

Start at `losses`; `groups` gives them names.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from distill_studio.core.records.base import Record

_FEATURES, _DIMENSIONS = 4096, 32
_NAMED_SHARE = 0.5  # of the losses that must have a topic, for topics to be the groups


class Loss(Record):
    """A prompt on which the student did worse than the teacher."""

    number: int = Field(description="Of the prompt in the suite.")
    topic: str = Field(default="", description="As the suite says.")
    teacher: float = Field(description="Mean score of its answers, 0 to 1.")
    student: float = Field(description="Mean score of its answers, 0 to 1.")


class LossGroup(Record):
    """Losses of one kind."""

    name: str = Field(description="A topic, or the words that set the group apart.")
    numbers: list[int] = Field(description="Prompts of the suite, in order.")
    gap: float = Field(description="Mean of teacher's minus student's score.")


class Tally(Record):
    """How a student did against its teacher, prompt by prompt."""

    compared: int = Field(default=0, ge=0, description="Prompts that both answered.")
    won: int = Field(default=0, ge=0, description="The student did better.")
    losses: list[Loss] = Field(default_factory=list, description="It did worse; worst first.")


def tally(scores: Sequence[Mapping[str, Any]], teacher: str, student: str) -> Tally:
    """Compare two models on the prompts that both of them answered with every sample.

    Args:
        scores: A mapping per answer with `model`, `number`, `score` (None: failed) and `topic`.
        teacher: Id of the one model.
        student: Id of the other.
    """
    found: dict[str, dict[int, list[float]]] = {teacher: defaultdict(list)}
    found[student] = defaultdict(list)
    topics, failed = {}, set[int]()
    for row in scores:
        if row["model"] in found and row["score"] is not None:
            found[row["model"]][row["number"]].append(row["score"])
            topics[row["number"]] = row["topic"]
        elif row["model"] in found:
            failed.add(row["number"])
    both = sorted((found[teacher].keys() & found[student].keys()) - failed)
    means = {
        n: (float(np.mean(found[teacher][n])), float(np.mean(found[student][n]))) for n in both
    }
    lost = [
        Loss(number=n, topic=topics[n], teacher=t, student=s)
        for n, (t, s) in means.items()
        if t > s
    ]
    return Tally(
        compared=len(both),
        won=sum(s > t for t, s in means.values()),
        losses=sorted(lost, key=lambda one: (one.student - one.teacher, one.number)),
    )


def by_topic(losses: Sequence[Loss]) -> list[LossGroup] | None:
    """Groups by the suite's topics, the largest first; None where most losses have none."""
    named = [one for one in losses if one.topic]
    if len(named) < _NAMED_SHARE * len(losses) or len({one.topic for one in named}) < 2:
        return None
    found: dict[str, list[Loss]] = defaultdict(list)
    for one in losses:
        found[one.topic or "no topic"].append(one)
    return _groups(list(found.items()))


def by_words(
    losses: Sequence[Loss], labels: Sequence[int], names: Sequence[str]
) -> list[LossGroup]:
    """Groups by cluster, the largest first.

    Args:
        losses: What was lost.
        labels: The cluster of each.
        names: Of the clusters.
    """
    found: dict[str, list[Loss]] = defaultdict(list)
    for one, label in zip(losses, labels, strict=True):
        found[names[label]].append(one)
    return _groups(list(found.items()))


def text_vectors(texts: Sequence[str]) -> np.ndarray:
    """(N, D) of length one: latent semantic vectors of the texts' words (TF-IDF, then SVD)."""
    from sklearn.decomposition import TruncatedSVD  # noqa: PLC0415  (slow to import)
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415

    words = TfidfVectorizer(max_features=_FEATURES, sublinear_tf=True, stop_words="english")
    try:
        weights = words.fit_transform(texts)
    except ValueError:  # nothing but stop words
        return np.ones((len(texts), 1), dtype=np.float32)
    size = min(_DIMENSIONS, weights.shape[0] - 1, weights.shape[1] - 1)
    if size < 2:
        dense = weights.toarray()
    else:
        dense = TruncatedSVD(size, random_state=0).fit_transform(weights)
    length = np.linalg.norm(dense, axis=1, keepdims=True)
    return np.asarray(dense / np.maximum(length, 1e-12), dtype=np.float32)


def _groups(found: Sequence[tuple[str, Sequence[Loss]]]) -> list[LossGroup]:
    groups = [
        LossGroup(
            name=name,
            numbers=sorted(one.number for one in some),
            gap=float(np.mean([one.teacher - one.student for one in some])),
        )
        for name, some in found
    ]
    return sorted(groups, key=lambda one: (-len(one.numbers), one.name))
