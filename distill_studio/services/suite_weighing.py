"""Scores of what is there already: a local model's losses of choices, or of the reference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import ChatModel
from distill_studio.core.records.comparison import ModelCard
from distill_studio.core.records.suite import SuiteAnswer, SuiteItem, SuiteScorer
from distill_studio.services.suite_scoring import best_choice

if TYPE_CHECKING:
    from distill_studio.services.comparable_models import ComparableModels
    from distill_studio.services.suite_work import TrialWork
    from distill_studio.teachers.likelihood import Likelihood, LikelihoodScorer


def check_local(comparable: ComparableModels, cards: Sequence[ModelCard]) -> None:
    """Refuse models whose likelihoods cannot be read, before anything is loaded.

    Raises:
        InvalidInput: One does not run in this process; says which.
    """
    for card in cards:
        if not comparable.is_local(card):
            raise _elsewhere(card)


def weigh(work: TrialWork, card: ModelCard, model: ChatModel, items: Sequence[SuiteItem]) -> None:
    """Score by the likelihood of each choice, or of the reference.

    Raises:
        InvalidInput: The model does not run in this process.
    """
    made = getattr(model, "scorer", None)
    if made is None:
        raise _elsewhere(card)
    scorer: LikelihoodScorer = made()
    is_choice = work.suite.scorer is SuiteScorer.CHOICE
    scored = _weighed if is_choice else _read
    texts = [item.choices if is_choice else (item.reference,) for item in items]
    places = [(n, k) for n, some in enumerate(texts) for k in range(len(some))]
    questions = [
        scorer.question(key, items[n].messages, texts[n][k]) for key, (n, k) in enumerate(places)
    ]
    losses: dict[int, dict[int, Likelihood]] = {}
    left = Counter(n for n, _ in places)
    for batch in scorer.score(questions, work.context.cancel):
        ready = []
        for one in batch:
            n, k = places[one.key]
            losses.setdefault(n, {})[k] = one
            left[n] -= 1
            if not left[n]:
                ready.append(scored(card, items[n], losses.pop(n)))
        work.keep(card, ready)
        work.context.cancel.raise_if_cancelled()


def _elsewhere(card: ModelCard) -> InvalidInput:
    return InvalidInput(
        f"{card.label} does not run in this process, so likelihoods cannot be read.",
        "This suite takes local models: a base, a student, or a local teacher.",
    )


def _weighed(card: ModelCard, item: SuiteItem, found: dict[int, Likelihood]) -> SuiteAnswer:
    totals = [found[k].loss_given * found[k].tokens for k in range(len(item.choices))]
    best = best_choice(totals, item.choices)
    is_right = item.choices[best] == item.reference
    return SuiteAnswer(
        model=card.id,
        number=item.number,
        answer=item.choices[best],
        score=float(is_right),
        reason="the likeliest choice per byte" if is_right else f"right is: {item.reference[:80]}",
    )


def _read(card: ModelCard, item: SuiteItem, found: dict[int, Likelihood]) -> SuiteAnswer:
    loss = found[0].loss_given
    return SuiteAnswer(
        model=card.id,
        number=item.number,
        score=math.exp(-loss),
        loss=loss,
        reason=f"the reference at {loss:.3f} nats per token",
        is_cut=found[0].is_cut,
        tokens=found[0].tokens,
    )
