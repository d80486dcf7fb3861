"""How models did on a suite: scores, differences and quality retained. Start at `standings`.

Samples of one prompt are one cluster. Models are compared only on prompts that all of them
answered with every sample, so that a failure at one does not shift the others.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from distill_studio.core.estimate import Estimate, Floats
from distill_studio.core.records.base import Record
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.evaluate.paired import (
    Difference,
    difference,
    items_needed,
    mean_score,
    recovered,
    retained,
)

_MEASURE = "It is the measure."
_EFFECT = 0.03  # a difference worth finding, as in Miller 2024


class Standing(Record):
    """One model on one suite, or on one topic of it."""

    card: ModelCard = Field(description="Which model, as it was then.")
    score: Estimate = Field(description="Mean score, 0 to 1.")
    against_teacher: Difference | None = Field(default=None, description="It minus the teacher.")
    retained: Estimate | None = Field(default=None, description="Share of the teacher's quality.")
    recovered: Estimate | None = Field(
        default=None, description="Share of the gap to the teacher closed."
    )
    kl: Estimate | None = Field(
        default=None, description="KL(teacher || it) per token, in nats, mean over prompts."
    )
    kl_against_base: Difference | None = Field(
        default=None, description="Its KL minus that of the base; below 0 is nearer the teacher."
    )
    loss: Estimate | None = Field(
        default=None,
        description="Held-out loss per token, in nats, mean over the prompts with a reference.",
    )
    failed: int = Field(default=0, ge=0, description="Answers that failed.")
    cut: int = Field(default=0, ge=0, description="Answers cut off at the token limit.")
    mean_tokens: float | None = Field(default=None, description="Written per answer.")
    mean_latency_ms: float | None = Field(default=None, description="Per answer.")


class Standings(Record):
    """All models of a trial on the prompts that all of them answered."""

    teacher: str = Field(default="", description="Id of the model the others are measured by.")
    base: str = Field(default="", description="Id of the model before training, if asked.")
    items: int = Field(default=0, ge=0, description="Prompts compared.")
    left_out: int = Field(default=0, ge=0, description="Prompts that some model failed on.")
    practice: int = Field(
        default=0, ge=0, description="Prompts left out because losses on them became training data."
    )
    missing: int = Field(default=0, ge=0, description="Answers that were not given yet.")
    rows: list[Standing] = Field(default_factory=list, description="Best first.")
    topics: dict[str, list[Standing]] = Field(
        default_factory=dict, description="The same by topic, for topics of two prompts or more."
    )
    needed: int | None = Field(
        default=None,
        description="Prompts at which a difference of 3 points from the teacher would be found.",
    )

    @property
    def has_kl(self) -> bool:
        """Scores are agreement with the teacher."""
        return any(row.kl is not None for row in self.rows)

    @property
    def has_loss(self) -> bool:
        """Losses on references are known."""
        return any(row.loss is not None for row in self.rows)


def standings(
    cards: Sequence[ModelCard],
    scores: Sequence[Mapping[str, Any]],
    practice: Collection[int] = (),
) -> Standings:
    """What the scores say.

    Args:
        cards: Models of the trial; the first teacher is the measure, the first base the start.
        scores: A mapping per answer with `model`, `number`, `sample`, `score` (None: failed),
            `is_cut`, `tokens`, `latency_ms`, `topic` and `choices`; where there are, `kl` and
            `loss`.
        practice: Numbers of prompts that do not count: models may have learnt from them.
    """
    known = {row["number"] for row in scores if row["number"] in practice}
    scores = [row for row in scores if row["number"] not in known]
    by_model: dict[str, dict[tuple[int, int], Mapping[str, Any]]] = defaultdict(dict)
    for row in scores:
        by_model[row["model"]][row["number"], row["sample"]] = row
    here = [card for card in cards if card.id in by_model]
    seen = {key for rows in by_model.values() for key in rows}
    holes = {
        number
        for number, sample in seen
        for card in here
        if (found := by_model[card.id].get((number, sample))) is None or found["score"] is None
    }
    keys = sorted(key for key in seen if key[0] not in holes)
    first = {role: next((c.id for c in here if c.role is role), "") for role in ModelRole}
    table = _Table(by_model, first[ModelRole.TEACHER], first[ModelRole.BASE])
    others = [c for c in here if table.teacher and c.id != table.teacher]
    if any(row.get("kl") is not None for row in scores):
        others = []  # agreement: no model is as good at it as the teacher with itself
    gaps = [table.gaps(c.id, keys) for c in others]
    topics = {number: table.topic((number, sample)) for number, sample in keys}
    counts = Counter(topic for topic in topics.values() if topic)
    needed = [n for gap in gaps if (n := items_needed(gap, _EFFECT)) is not None]
    return Standings(
        teacher=table.teacher,
        base=table.base,
        items=len({number for number, _ in keys}),
        left_out=len(holes),
        practice=len(known),
        rows=table.rows(here, keys),
        topics={
            topic: table.rows(here, [key for key in keys if topics[key[0]] == topic])
            for topic, count in counts.most_common()
            if count > 1 and len(counts) > 1
        },
        needed=max(needed, default=None),
    )


class _Table:
    """Scores by model and (prompt, sample)."""

    def __init__(
        self,
        by_model: Mapping[str, Mapping[tuple[int, int], Mapping[str, Any]]],
        teacher: str,
        base: str,
    ) -> None:
        self._by_model = by_model
        self.teacher, self.base = teacher, base

    def values(self, model: str, keys: Sequence[tuple[int, int]], name: str = "score") -> Floats:
        return np.array([self._by_model[model][key][name] for key in keys], dtype=np.float64)

    def mean(self, model: str, keys: Sequence[tuple[int, int]], name: str) -> Estimate | None:
        """Of another figure than the score, over the answers that have it."""
        having = [key for key in keys if self._by_model[model][key].get(name) is not None]
        return mean_score(_clusters(having), self.values(model, having, name)) if having else None

    def gaps(self, model: str, keys: Sequence[tuple[int, int]]) -> Floats:
        """Its score minus the teacher's, for each prompt (samples averaged)."""
        by_prompt: dict[int, list[float]] = defaultdict(list)
        both = self.values(model, keys) - self.values(self.teacher, keys)
        for (number, _), gap in zip(keys, both, strict=True):
            by_prompt[number].append(float(gap))
        return np.array([np.mean(some) for some in by_prompt.values()], dtype=np.float64)

    def topic(self, key: tuple[int, int]) -> str:
        return next(str(rows[key]["topic"]) for rows in self._by_model.values() if key in rows)

    def rows(self, cards: Sequence[ModelCard], keys: Sequence[tuple[int, int]]) -> list[Standing]:
        found = [self._row(card, keys) for card in cards]
        return sorted(found, key=lambda row: -(row.score.value or 0.0))

    def _row(self, card: ModelCard, keys: Sequence[tuple[int, int]]) -> Standing:
        clusters = _clusters(keys)
        scores = self.values(card.id, keys)
        numbers = {number for number, _ in keys}
        answers = [
            row
            for (number, _), row in self._by_model[card.id].items()
            if number in numbers or row["score"] is None
        ]
        fields: dict[str, Any] = {name: self.mean(card.id, keys, name) for name in ("kl", "loss")}
        score = mean_score(clusters, scores)
        if fields["kl"] and card.id == self.teacher:
            fields["kl"], score = (
                Estimate(value=one.value, n=one.n, why=_MEASURE) for one in (fields["kl"], score)
            )
        elif fields["kl"] and self.base and card.id != self.base:
            ours, theirs = (self.values(model, keys, "kl") for model in (card.id, self.base))
            fields["kl_against_base"] = difference(clusters, ours, theirs)
        if self.teacher and card.id != self.teacher and keys:
            teacher = self.values(self.teacher, keys)
            chance = np.array([
                1 / choices if (choices := self._by_model[card.id][key]["choices"]) else 0.0
                for key in keys
            ])
            fields["against_teacher"] = difference(clusters, scores, teacher)
            if not fields["kl"]:  # agreeing with the teacher is no quality that one could keep
                fields["retained"] = retained(clusters, scores, teacher, chance)
            if self.base and card.id != self.base:
                base = self.values(self.base, keys)
                fields["recovered"] = recovered(clusters, scores, base, teacher)
        return Standing(
            card=card,
            score=score,
            failed=sum(row["score"] is None for row in answers),
            cut=sum(bool(row["is_cut"]) for row in answers),
            mean_tokens=_mean([row["tokens"] for row in answers]),
            mean_latency_ms=_mean([row["latency_ms"] for row in answers]),
            **fields,
        )


def _clusters(keys: Sequence[tuple[int, int]]) -> list[str]:
    """Samples of one prompt are one."""
    return [f"{number:09d}" for number, _ in keys]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
