"""How models did on a suite: scores, differences and quality retained. Start at `standings`.

Samples of one prompt are one cluster. A model's own figures are over the prompts that it answered
with every sample; what compares two models is over the prompts that both answered. A model that
failed on most of what it was asked is named with its error and is not compared.
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
_MOST_FAILED = 0.5  # of its answers; a model that failed on more is not compared
_SHOWN_ERROR = 200  # characters

Key = tuple[int, int]  # number of the prompt, sample


class Standing(Record):
    """One model on one suite, or on one topic of it."""

    card: ModelCard = Field(description="Which model, as it was then.")
    score: Estimate = Field(description="Mean score, 0 to 1, over the prompts that it answered.")
    items: int = Field(default=0, ge=0, description="Prompts that it answered.")
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
    mean_prompt_tokens: float | None = Field(default=None, description="Read per answer.")
    mean_latency_ms: float | None = Field(default=None, description="Per answer.")
    tokens_per_s: float | None = Field(
        default=None, description="Written, with as many answers at a time as it was asked for."
    )
    usd_per_1000: float | None = Field(
        default=None, description="Of 1,000 such answers; None where no price is known."
    )
    cost_basis: str = Field(default="", description="What that rests on, or what it lacks.")


class NotCompared(Record):
    """A model that failed on most of what it was asked."""

    card: ModelCard = Field(description="Which model.")
    failed: int = Field(ge=1, description="Answers that failed.")
    asked: int = Field(ge=1, description="Answers that it was asked for.")
    error: str = Field(default="", description="What most of them failed with.")
    score: Estimate = Field(description="Mean score of the prompts that it did answer.")

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        why = f" ({self.error})" if self.error else ""
        said = f"{self.card.label} failed on {self.failed:,} of {self.asked:,} answers{why}"
        if self.score.value is None:
            return f"{said} and is not compared."
        return (
            f"{said} and is not compared; the others scored {100 * self.score.value:.1f}% on"
            " average."
        )


class Standings(Record):
    """All models of a trial, each on what it answered, in pairs on what both answered."""

    teacher: str = Field(default="", description="Id of the model the others are measured by.")
    base: str = Field(default="", description="Id of the model before training, if asked.")
    items: int = Field(default=0, ge=0, description="Prompts that all compared models answered.")
    left_out: int = Field(default=0, ge=0, description="Prompts that some compared model lacks.")
    practice: int = Field(
        default=0, ge=0, description="Prompts left out because losses on them became training data."
    )
    missing: int = Field(default=0, ge=0, description="Answers that were not given yet.")
    rows: list[Standing] = Field(default_factory=list, description="Best first.")
    not_compared: list[NotCompared] = Field(
        default_factory=list, description="Models that failed on most of what they were asked."
    )
    topics: dict[str, list[Standing]] = Field(
        default_factory=dict, description="The same by topic, for topics of two prompts or more."
    )
    needed: int | None = Field(
        default=None,
        description="Prompts at which a difference of 3 points from the teacher would be found.",
    )
    has_quality: bool = Field(
        default=True, description="A share of the teacher's score is a share of its quality."
    )
    notes: list[str] = Field(default_factory=list, description="What to bear in mind, in words.")
    lacks: list[str] = Field(
        default_factory=list, description="Rows that its students want beside them, in words."
    )

    @property
    def has_kl(self) -> bool:
        """Scores are agreement with the teacher."""
        return any(row.kl is not None for row in self.rows)

    @property
    def has_loss(self) -> bool:
        """Losses on references are known."""
        return any(row.loss is not None for row in self.rows)

    @property
    def can_be_completed(self) -> bool:
        """Some answers failed or were not given yet."""
        return bool(self.missing or self.not_compared or any(row.failed for row in self.rows))

    @property
    def has_retained(self) -> bool:
        """There is a teacher, and a share of its quality can be told."""
        return bool(self.teacher) and self.has_quality and not self.has_kl


def standings(
    cards: Sequence[ModelCard],
    scores: Sequence[Mapping[str, Any]],
    practice: Collection[int] = (),
    *,
    has_quality: bool = True,
    with_failed: bool = False,
) -> Standings:
    """What the scores say.

    Args:
        cards: Models of the trial; the first teacher is the measure, the first base the start.
        scores: A mapping per answer with `model`, `number`, `sample`, `score` (None: failed),
            `is_cut`, `tokens`, `latency_ms`, `topic` and `choices`; where there are, `error`, `kl`
            and `loss`.
        practice: Numbers of prompts that do not count: models may have learnt from them.
        has_quality: Scores are a verdict, so that there is quality to retain.
        with_failed: Compare models that failed on most of what they were asked as well.
    """
    known = {row["number"] for row in scores if row["number"] in practice}
    scores = [row for row in scores if row["number"] not in known]
    by_model: dict[str, dict[Key, Mapping[str, Any]]] = defaultdict(dict)
    for row in scores:
        by_model[row["model"]][row["number"], row["sample"]] = row
    table = _Table(by_model, has_quality=has_quality)
    here = [card for card in cards if card.id in by_model]
    failing = [card for card in here if table.has_failed(card.id, with_failed=with_failed)]
    here = [card for card in here if card not in failing]
    table.teacher = _first(cards, ModelRole.TEACHER, here)
    table.base = _first(cards, ModelRole.BASE, here)
    seen = {number for card in here for number, _ in by_model[card.id]}
    shared = seen.intersection(*(table.answered(card.id) for card in here)) if here else set[int]()
    others = [c for c in here if table.teacher and c.id != table.teacher]
    if any(row.get("kl") is not None for row in scores):
        others = []  # agreement: no model is as good at it as the teacher with itself
    gaps = [table.gaps(c.id) for c in others]
    topics = {row["number"]: str(row["topic"]) for row in scores if row["number"] in seen}
    counts = Counter(topic for topic in topics.values() if topic)
    needed = [n for gap in gaps if (n := items_needed(gap, _EFFECT)) is not None]
    not_compared = [table.failure(card) for card in failing]
    return Standings(
        teacher=table.teacher,
        base=table.base,
        items=len(shared),
        left_out=len(seen - shared),
        practice=len(known),
        rows=table.rows(here),
        not_compared=not_compared,
        topics={
            topic: table.rows(here, {n for n, its in topics.items() if its == topic})
            for topic, count in counts.most_common()
            if count > 1 and len(counts) > 1
        },
        needed=max(needed, default=None),
        has_quality=has_quality,
        notes=_notes(not_compared, cards, here),
    )


def _first(cards: Sequence[ModelCard], role: ModelRole, here: Sequence[ModelCard]) -> str:
    """The id of the first model with this role; '' where it is not compared."""
    first = next((card for card in cards if card.role is role), None)
    return first.id if first in here and first is not None else ""


def _notes(
    failed: Sequence[NotCompared], cards: Sequence[ModelCard], here: Sequence[ModelCard]
) -> list[str]:
    notes = [one.sentence for one in failed]
    measure = next((card for card in cards if card.role is ModelRole.TEACHER), None)
    if here and any(one.card == measure for one in failed):
        notes.append("It is the teacher, so there is nothing to measure the others by.")
    return notes


class _Table:
    """Scores by model and (prompt, sample)."""

    def __init__(
        self, by_model: Mapping[str, Mapping[Key, Mapping[str, Any]]], *, has_quality: bool
    ) -> None:
        self._by_model, self._has_quality = by_model, has_quality
        self.teacher = self.base = ""
        every = {key for rows in by_model.values() for key in rows}
        self._answered = {model: _answered(rows, every) for model, rows in by_model.items()}

    def answered(self, model: str) -> set[int]:
        """Prompts that a model answered with every sample."""
        return self._answered[model]

    def keys(self, *models: str, within: Collection[int] | None = None) -> list[Key]:
        """What all of these models answered, in order."""
        both = set.intersection(*(self._answered[model] for model in models))
        return sorted(
            key
            for key in self._by_model[models[0]]
            if key[0] in both and (within is None or key[0] in within)
        )

    def has_failed(self, model: str, *, with_failed: bool) -> bool:
        """It failed on most of what it was asked, or on all of it."""
        rows = self._by_model[model].values()
        failed = sum(row["score"] is None for row in rows)
        return failed == len(rows) if with_failed else failed > _MOST_FAILED * len(rows)

    def failure(self, card: ModelCard) -> NotCompared:
        """What became of a model that failed."""
        rows = self._by_model[card.id]
        errors = Counter(str(r.get("error") or "") for r in rows.values() if r["score"] is None)
        keys = self.keys(card.id)
        return NotCompared(
            card=card,
            failed=errors.total(),
            asked=len(rows),
            error=errors.most_common(1)[0][0][:_SHOWN_ERROR],
            score=mean_score(_clusters(keys), self.values(card.id, keys)),
        )

    def values(self, model: str, keys: Sequence[Key], name: str = "score") -> Floats:
        return np.array([self._by_model[model][key][name] for key in keys], dtype=np.float64)

    def mean(self, model: str, keys: Sequence[Key], name: str) -> Estimate | None:
        """Of another figure than the score, over the answers that have it."""
        having = [key for key in keys if self._by_model[model][key].get(name) is not None]
        return mean_score(_clusters(having), self.values(model, having, name)) if having else None

    def gaps(self, model: str) -> Floats:
        """Its score minus the teacher's, for each prompt of both (samples averaged)."""
        by_prompt: dict[int, list[float]] = defaultdict(list)
        keys = self.keys(model, self.teacher)
        both = self.values(model, keys) - self.values(self.teacher, keys)
        for (number, _), gap in zip(keys, both, strict=True):
            by_prompt[number].append(float(gap))
        return np.array([np.mean(some) for some in by_prompt.values()], dtype=np.float64)

    def rows(
        self, cards: Sequence[ModelCard], within: Collection[int] | None = None
    ) -> list[Standing]:
        """Best first; `within`: of these prompts alone."""
        found = [self._row(card, within) for card in cards]
        return sorted(found, key=lambda row: -(row.score.value or 0.0))

    def _row(self, card: ModelCard, within: Collection[int] | None) -> Standing:
        keys = self.keys(card.id, within=within)
        answers = [
            row
            for (number, _), row in self._by_model[card.id].items()
            if within is None or number in within
        ]
        given = [row for row in answers if row["score"] is not None]
        fields: dict[str, Any] = {name: self.mean(card.id, keys, name) for name in ("kl", "loss")}
        score = mean_score(_clusters(keys), self.values(card.id, keys))
        if fields["kl"] and card.id == self.teacher:
            fields["kl"], score = (
                Estimate(value=one.value, n=one.n, why=_MEASURE) for one in (fields["kl"], score)
            )
        elif fields["kl"] and self.base and card.id != self.base:
            both = self.keys(card.id, self.base, within=within)
            ours, theirs = (self.values(model, both, "kl") for model in (card.id, self.base))
            fields["kl_against_base"] = difference(_clusters(both), ours, theirs)
        if self.teacher and card.id != self.teacher:
            fields |= self._beside_teacher(card.id, within, has_kl=bool(fields["kl"]))
        return Standing(
            card=card,
            score=score,
            items=len({number for number, _ in keys}),
            failed=len(answers) - len(given),
            cut=sum(bool(row["is_cut"]) for row in answers),
            mean_tokens=_mean([row["tokens"] for row in given]),
            mean_prompt_tokens=_mean([row.get("prompt_tokens") for row in given]),
            mean_latency_ms=_mean([row["latency_ms"] for row in given]),
            tokens_per_s=_speed(card, given),
            **fields,
        )

    def _beside_teacher(
        self, model: str, within: Collection[int] | None, *, has_kl: bool
    ) -> dict[str, Any]:
        """What compares a model with the teacher, over the prompts that both answered."""
        keys = self.keys(model, self.teacher, within=within)
        if not keys:
            return {}
        clusters, scores, teacher = (
            _clusters(keys), self.values(model, keys), self.values(self.teacher, keys),
        )  # fmt: skip
        chance = np.array([
            1 / choices if (choices := self._by_model[model][key]["choices"]) else 0.0
            for key in keys
        ])
        found: dict[str, Any] = {"against_teacher": difference(clusters, scores, teacher)}
        if self._has_quality and not has_kl:  # agreeing is no quality that one could keep
            found["retained"] = retained(clusters, scores, teacher, chance)
        all_three = self.keys(model, self.teacher, self.base, within=within) if self.base else []
        if all_three and model != self.base and (self._has_quality or has_kl):
            ours, base, theirs = (
                self.values(each, all_three) for each in (model, self.base, self.teacher)
            )
            found["recovered"] = recovered(_clusters(all_three), ours, base, theirs)
        return found


def _answered(rows: Mapping[Key, Mapping[str, Any]], every: Collection[Key]) -> set[int]:
    """Prompts with an answer to every sample that anybody was asked for."""
    holes = {key[0] for key in every if key not in rows or rows[key]["score"] is None}
    return {number for number, _ in rows} - holes


def _clusters(keys: Sequence[Key]) -> list[str]:
    """Samples of one prompt are one."""
    return [f"{number:09d}" for number, _ in keys]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _speed(card: ModelCard, given: Sequence[Mapping[str, Any]]) -> float | None:
    """Tokens by the time in which all of them were written; where nobody took it, by each one's."""
    if card.written_tokens and card.writing_s:
        return card.written_tokens / card.writing_s
    timed = [row for row in given if row["tokens"] and row["latency_ms"]]
    seconds = sum(row["latency_ms"] for row in timed) / 1000
    return sum(row["tokens"] for row in timed) / seconds if seconds else None
