"""Quality: how good answers are without a judge, from the losses of a local language model.

Start at `QualityService.score`. The filter `likelihood` sets limits on what is stored.
"""

from __future__ import annotations

import json
import math
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import Job, Message, Record, TeacherKind
from distill_studio.core.records.comparison import ModelRole
from distill_studio.services.base import Service
from distill_studio.services.comparable_models import ComparableModels
from distill_studio.services.jobs import JobContext
from distill_studio.store import likelihoods
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace
    from distill_studio.teachers.likelihood import Likelihood, LikelihoodScorer

JOB_KIND = "likelihood"
_PAGE_ROWS = 512
_SAVE_EVERY_S = 5.0


class ScoringModel(Record):
    """A model in this process that can score."""

    id: str = Field(description="For `score`.")
    label: str = Field(description="Its name for people.")


class ScoredBy(Record):
    """A model that scored answers here."""

    model: str = Field(description="Its id.")
    number_format: str = Field(description="float32 or bfloat16.")
    used_at: datetime = Field(description="When it scored last, UTC; the newest is in use.")
    rows: int = Field(description="Answers it scored.")
    missing: int = Field(description="New and edited rows that it has not scored.")


class AnswerQuality(Record):
    """What one model finds of one answer, per token of the answer."""

    model: str = Field(description="The model's id.")
    tokens: int = Field(description="Tokens of the answer that count.")
    mean_logprob: float = Field(description="Length-normalised log-likelihood, in nats.")
    perplexity: float = Field(description="exp of the loss after the question.")
    ifd: float | None = Field(description="loss(answer | question) / loss(answer).")


class QualityService(Service):
    """Losses of answers under local models."""

    word = "quality"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._comparable = ComparableModels(workspace)
        workspace.jobs.register(JOB_KIND, self._run, lane="compute")

    def models(self, actor: Actor) -> list[ScoringModel]:
        """Models that can score: those that run in this process, base models first."""
        actor.require(Role.VIEWER)
        local = {
            f"teacher:{t.name}"
            for t in self.workspace.teachers.page(actor)
            if t.kind is TeacherKind.LOCAL
        }
        cards = [
            card
            for card in self._comparable.cards(actor)
            if card.role is not ModelRole.TEACHER or card.id in local
        ]
        cards.sort(key=lambda card: card.role is not ModelRole.BASE)
        return [ScoringModel(id=card.id, label=card.label) for card in cards]

    def scored(self, actor: Actor) -> list[ScoredBy]:
        """Which models scored answers here, the one in use first."""
        actor.require(Role.VIEWER)
        return [
            ScoredBy(**row, missing=likelihoods.missing_count(self.db, row["model"])[0])
            for row in likelihoods.models(self.db)
        ]

    def of_pair(self, actor: Actor, pair_id: str) -> list[AnswerQuality]:
        """Perplexity, IFD and length-normalised likelihood of one answer, by model."""
        actor.require(Role.VIEWER)
        return [_quality(row) for row in likelihoods.of_pair(self.db, pair_id)]

    def score(self, actor: Actor, model: str = "") -> Job:
        """Score answers that are new or edited with a local model (else the first one).

        Its scores are then those that the filter uses. Stops and resumes without loss.
        """
        actor.require(Role.REVIEWER)
        known = {one.id: one.label for one in self.models(actor)}
        model = model or next(iter(known), "")
        if model not in known:
            raise NotFound(
                f"No model '{model}' runs in this process.",
                "Known are: " + (", ".join(known) or "none") + ".",
            )
        return self.workspace.jobs.submit_once(
            actor, JOB_KIND, f"Score answers with {known[model]}", {"model": model}
        )

    # -- inside ---------------------------------------------------------------------------

    def _run(self, context: JobContext) -> dict[str, Any]:
        name = context.params["model"]
        context.progress(0, None, "loading the model")
        source = self._comparable.source(self._comparable.card(context.actor, name))
        made = getattr(source(), "scorer", None)
        if made is None:
            raise InvalidInput("This model does not run in this process.")
        scorer: LikelihoodScorer = made()
        likelihoods.use(self.db, name, scorer.number_format)
        done = _score_all(self, context, scorer, name)
        context.log(f"Scored {done} answers with {name} ({scorer.number_format}).")
        return {"scored": done, "model": name}


def _score_all(
    service: QualityService, context: JobContext, scorer: LikelihoodScorer, model: str
) -> int:
    """Score page by page, the shortest rows first; what is scored is saved every few seconds."""
    db = service.db
    total, characters = likelihoods.missing_count(db, model)
    done = read = 0
    begin = time.monotonic()
    while rows := likelihoods.missing(db, model, _PAGE_ROWS):
        questions = [
            scorer.question(k, [Message(**m) for m in json.loads(row["messages"])], row["answer"])
            for k, row in enumerate(rows)
        ]
        unsaved: list[Row] = []
        saved_at = time.monotonic()
        try:
            for batch in scorer.score([q for q in questions if q.answer], context.cancel):
                unsaved += [_row(rows[found.key], found) for found in batch]
                done += len(batch)
                read += sum(rows[found.key]["characters"] for found in batch)
                left = (time.monotonic() - begin) * (characters - read) / max(read, 1)
                context.progress(done, max(total, done), _time_left(left))
                if time.monotonic() - saved_at > _SAVE_EVERY_S:
                    likelihoods.save(db, model, unsaved)
                    unsaved, saved_at = [], time.monotonic()
        finally:  # a stop keeps what is made
            likelihoods.save(db, model, unsaved)
        if not any(q.answer for q in questions):
            break  # answers without a token: nothing to score
    return done


def _row(row: Row, found: Likelihood) -> Row:
    return {
        "pair_id": row["pair_id"],
        "content_key": row["content_key"],
        "tokens": found.tokens,
        "loss_given": found.loss_given,
        "loss_alone": found.loss_alone,
        "is_cut": found.is_cut,
    }


def _quality(row: Row) -> AnswerQuality:
    return AnswerQuality(
        model=row["model"],
        tokens=row["tokens"],
        mean_logprob=-row["loss_given"],
        perplexity=math.exp(min(row["loss_given"], 700.0)),
        ifd=row["loss_given"] / row["loss_alone"] if row["loss_alone"] > 0 else None,
    )


def _time_left(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"
