"""Agreement: how far people, judges and models can be trusted, from what is stored of them.

Start from `rows` (people with each other), `people` (each person), `judges` (judges and verifiers
with people) and `ranking` (models). Nothing is stored: figures are worked out when asked for, and
hold until the store changes.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from distill_studio.agreement.bradley_terry import rank
from distill_studio.agreement.couples import COUPLE_LABELS
from distill_studio.agreement.length_control import length_controlled
from distill_studio.agreement.tables import Rating, agreement_rows
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotAllowed
from distill_studio.curate.filters.judge_score import JudgeScoreConfig
from distill_studio.evaluate.wins import win_rates
from distill_studio.services.agreement_people import People, PersonStats
from distill_studio.services.agreement_views import (
    KEPT_LABELS,
    AgreementReport,
    JudgeStats,
    Measured,
    RankingReport,
    Verdict,
    decision_ratings,
    judge_ratings,
    judge_scores,
    judge_votes,
    verifier_stats,
    vote_ratings,
    without_both_bad,
)
from distill_studio.services.base import Service
from distill_studio.services.curation_settings import settings_in_force
from distill_studio.services.meetings import Sources, hidden_voters, meetings_of
from distill_studio.services.memo import Memo
from distill_studio.store import agreement as store
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_LABELS: dict[Measured, tuple[str, ...]] = {
    "decisions": ("accept", "edit", "reject"),
    "kept": KEPT_LABELS,
    "votes": COUPLE_LABELS,
}
_SHARE_LINE = 0.5  # of a judge's wins: an answer that wins half its comparisons


class AgreementService(Service):
    """Measures of labellers, judges and models."""

    word = "agreement"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)

    def rows(self, actor: Actor, measured: Measured = "decisions") -> AgreementReport:
        """Agreement of everybody, of each two people, and by topic.

        An owner sees every two people, others those with themselves in it. `kept` takes an edit
        for an accept.
        """
        actor.require(Role.VIEWER)
        whole = self._memo.get(("rows", measured), lambda: self._report(measured))
        seen = [
            row
            for row in whole.rows
            if row.scope != "people" or actor.role >= Role.OWNER or actor.user in row.people
        ]
        named = {actor.user}.union(*(row.people for row in seen))
        people = [name for name in whole.people if actor.role >= Role.OWNER or name in named]
        return whole.model_copy(update={"rows": tuple(seen), "people": tuple(people)})

    def verdicts(self, actor: Actor, measured: Measured = "decisions") -> list[Verdict]:
        """The verdicts that the figures rest on: an owner gets all, others their own."""
        actor.require(Role.VIEWER)
        return [
            Verdict(item=r.item, prompt=r.cluster, person=r.rater, label=r.label, topic=r.topic)
            for r in self._ratings(measured)
            if actor.role >= Role.OWNER or r.rater == actor.user
        ]

    def people(self, actor: Actor) -> list[PersonStats]:
        """Each person's pace, leanings and agreement; an owner sees all, others themselves."""
        actor.require(Role.VIEWER)
        only = "" if actor.role >= Role.OWNER else actor.user
        return list(self._memo.get(("people", only), lambda: self._stats(only)))

    def person(self, actor: Actor, user: str = "") -> PersonStats:
        """One person's figures, by default your own.

        Raises:
            NotAllowed: Somebody else's, and you are not an owner.
        """
        actor.require(Role.VIEWER)
        wanted = user or actor.user
        if wanted != actor.user and actor.role < Role.OWNER:
            raise NotAllowed("Only an owner sees the figures of others.", "Leave the name out.")
        return self._memo.get(("person", wanted), lambda: self._people().stats(wanted))

    def judges(self, actor: Actor, line: float | None = None) -> list[JudgeStats]:
        """How far judges and verifiers agree with people: whether to trust them on the rest.

        Args:
            actor: Who asks.
            line: Judge's scores from here on count as "keep"; by default the filter's line, and
                0.5 for shares of wins.
        """
        actor.require(Role.VIEWER)
        return list(self._memo.get(("judges", line), lambda: self._judges(line)))

    def ranking(
        self,
        actor: Actor,
        sources: Sources = "",
        voter: str = "",
        anchor: str = "",
        sighted: bool = False,
    ) -> RankingReport:
        """Models by Bradley-Terry strength, win rates, and win rates at equal length.

        Args:
            actor: Who asks.
            sources: Whose preferences: people, judges, imports (a file's, of no named judge), all;
                '' takes the first of these that there are.
            voter: Only this voter or judge; of people an owner names anybody, others themselves.
            anchor: The model whose rating is fixed; '' takes the one with the most comparisons.
            sighted: Count also votes of people who had been told who wrote which answer.

        Raises:
            NotAllowed: Another person's, and you are not an owner.
        """
        actor.require(Role.VIEWER)
        hidden = hidden_voters(self.db, actor, voter)
        key = ("ranking", sources, voter, anchor, sighted)
        found = self._memo.get(key, lambda: self._ranking(sources, voter, anchor, sighted))
        if not hidden:
            return found
        seen = {name: n for name, n in found.voters.items() if name not in hidden}
        return found.model_copy(update={"voters": seen})

    # -- inside ---------------------------------------------------------------------------

    def _report(self, measured: Measured) -> AgreementReport:
        ratings = self._ratings(measured)
        labels = _LABELS[measured]
        rows = agreement_rows(ratings, labels) if ratings else []
        people = tuple(sorted({r.rater for r in ratings}))
        return AgreementReport(
            measured=measured,
            labels=labels,
            people=people,
            items=len({r.item for r in ratings}),
            rows=tuple(rows),
            hint=_hint(measured, len(people), rows[0].items if rows else 0),
        )

    def _ratings(self, measured: Measured) -> list[Rating]:
        if measured == "votes":
            return vote_ratings(store.votes(self.db))
        return decision_ratings(store.decisions(self.db), coarse=measured == "kept")

    def _people(self) -> People:
        return People(
            decisions=store.decisions(self.db),
            counts=store.decision_counts(self.db),
            votes=store.votes(self.db),
            sides=store.vote_sides(self.db),
            paces=store.paces(self.db),
            repeats=store.repeats(self.db),
            judged=store.judged_couples(self.db),
        )

    def _stats(self, only: str) -> list[PersonStats]:
        known = self._people()
        return [known.stats(name) for name in known.names if only in ("", name)]

    def _judges(self, line: float | None) -> list[JudgeStats]:
        people = without_both_bad(vote_ratings(store.votes(self.db)))
        said: dict[str, list[Rating]] = defaultdict(list)
        for rating in judge_ratings(store.judged_couples(self.db)):
            said[rating.rater].append(rating)
        found = [judge_votes(judge, ratings, people) for judge, ratings in sorted(said.items())]
        found += self._scoring_judges(line)
        verifier = verifier_stats(store.checked_decisions(self.db))
        return found + ([verifier] if verifier else [])

    def _ranking(self, sources: Sources, voter: str, anchor: str, sighted: bool) -> RankingReport:
        met = meetings_of(self.db, sources, voter, sighted=sighted)
        blind, everything = (
            len(meetings_of(self.db, "people", sighted=also).meetings) for also in (False, True)
        )
        ranking = rank(met.meetings, anchor)
        return RankingReport(
            sources=met.sources,
            voter=voter,
            voters=met.voters,
            people_votes=blind,
            sighted=sighted,
            sighted_votes=everything - blind,
            ranking=ranking,
            rates=tuple(win_rates(met.bouts)),
            length_controlled=tuple(length_controlled(met.meetings, met.lengths, ranking.anchor)),
        )

    def _scoring_judges(self, line: float | None) -> list[JudgeStats]:
        by_judge: dict[tuple[str, bool], list[Row]] = defaultdict(list)
        for row in store.scored_decisions(self.db):
            by_judge[row["judge"], row["is_share"]].append(row)
        rubric_line = self._filter_line()
        return [
            judge_scores(
                judge, rows, (_SHARE_LINE if is_share else rubric_line) if line is None else line
            )
            for (judge, is_share), rows in sorted(by_judge.items())
        ]

    def _filter_line(self) -> float:
        filters = settings_in_force(self.db).filters
        found = [one for one in filters if isinstance(one, JudgeScoreConfig)]
        return (found[0] if found else JudgeScoreConfig()).min_score


def _hint(measured: Measured, people: int, shared: int) -> str:
    """What is missing before agreement can be measured; '' when it can."""
    what = "comparisons" if measured == "votes" else "records"
    if shared:
        return ""
    if people == 0:
        verb = "voted on comparisons" if measured == "votes" else "decided on records"
        return f"Nobody has {verb} one by one yet."
    if people == 1:
        return f"One person has judged so far: a second one must judge some of the same {what}."
    return (
        f"Nobody has judged the same {what} as another: ask for overlap, so that some come twice."
    )
