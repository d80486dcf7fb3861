"""Arena: models ranked by the votes of people and judges, and judges that vote.

Start from `standings` and `judge`. The votes are those of Evaluate and of Prefer; what was compared
because a student lost it (the way back) does not count. Nothing but votes is stored: figures are
worked out when asked for, and hold until the store changes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from distill_studio.agreement.bradley_terry import rank
from distill_studio.agreement.length_control import length_controlled
from distill_studio.agreement.tables import Rating
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput
from distill_studio.core.records import Job
from distill_studio.core.records.comparison import ModelRole
from distill_studio.evaluate.wins import win_rates
from distill_studio.judge import family_warning, load_pairwise
from distill_studio.services import asking_estimates as estimates
from distill_studio.services import origins
from distill_studio.services.agreement_views import (
    JudgeStats,
    judge_ratings,
    judge_votes,
    vote_ratings,
    without_both_bad,
)
from distill_studio.services.arena_judging import ArenaJudge, requests_of, waiting
from distill_studio.services.arena_views import (
    ArenaCandidate,
    ArenaJudgeStats,
    ArenaReport,
    arena_rows,
    judge_rows,
    voter_name,
    votes_by_model,
)
from distill_studio.services.asking import Asking
from distill_studio.services.base import Service
from distill_studio.services.jobs import JobContext
from distill_studio.services.meetings import Sources, hidden_voters, meetings_of
from distill_studio.services.memo import Memo
from distill_studio.services.teacher_costs import Estimate
from distill_studio.store import agreement as votes
from distill_studio.store import arena as table
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KIND = "arena_judge"
MOST = 200  # comparisons that a judge reads unless told otherwise
_LIMIT = 100_000


class ArenaService(Service):
    """Votes of people and judges on models."""

    word = "arena"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)
        workspace.jobs.register(JOB_KIND, self._run_judge, "io")

    # -- looking --------------------------------------------------------------------------

    def standings(
        self,
        actor: Actor,
        sources: Sources = "",
        voter: str = "",
        anchor: str = "",
        sighted: bool = False,
    ) -> ArenaReport:
        """Models by Bradley-Terry strength, with win rates, votes and what judges are worth.

        Args:
            actor: Who asks.
            sources: Whose votes: people, judges, imports (a file's, of no named judge), all; ''
                takes the first of these that there are.
            voter: Only this voter or judge; of people an owner names anybody, others themselves.
            anchor: The model whose rating is fixed; '' takes the one with the most comparisons.
            sighted: Count also votes of people who had been told who wrote which answer.

        Raises:
            NotAllowed: Another person's, and you are not an owner.
        """
        actor.require(Role.VIEWER)
        hidden = hidden_voters(self.db, actor, voter)
        key = ("standings", sources, voter, anchor, sighted)
        found = self._memo.get(key, lambda: self._standings(sources, voter, anchor, sighted))
        if not hidden:
            return found
        seen = {name: n for name, n in found.voters.items() if name not in hidden}
        return found.model_copy(update={"voters": seen})

    def judges(self, actor: Actor) -> list[ArenaCandidate]:
        """The teachers that can be asked to vote, each with a warning where it is a relative."""
        actor.require(Role.VIEWER)
        read, there = table.read_counts(self.db), table.counts(self.db)["comparisons"]
        compared = self._compared()
        return [
            ArenaCandidate(
                judge=one.name,
                model=one.model,
                read=read.get(voter_name(one.name, one.model), 0),
                comparisons=there,
                warning=_warning(one.model, compared),
            )
            for one in self.workspace.teachers.page(actor)
        ]

    def estimate(self, actor: Actor, judge: str, most: int = MOST) -> list[Estimate]:
        """About what `arena_judge` will cost; empty for a model of this machine.

        The length of the first comparisons that it has not read stands for the others'.
        """
        actor.require(Role.VIEWER)
        voter = voter_name(judge, self.workspace.teachers.config(judge).model)
        there = table.counts(self.db)["comparisons"] - table.read_counts(self.db).get(voter, 0)
        wanted, prompt = min(most, there), load_pairwise()
        found = [
            couple
            for couple in waiting(self.db, voter, prompt.version, min(wanted, MOST))
            if not couple.is_same
        ]
        requests = chain.from_iterable(requests_of("", couple, prompt) for couple in found)
        share = min(1.0, MOST / wanted) if wanted > 0 else 1.0
        return estimates.of_requests(self.workspace, actor, judge, requests, share)

    # -- voting ---------------------------------------------------------------------------

    def judge(self, actor: Actor, judge: str, most: int = MOST) -> Job:
        """Have a teacher vote on up to `most` stored comparisons that it has not read yet.

        Those that people voted on come first, then the newest. Each two answers are shown to it in
        both orders; one wins where it is preferred in both, everything else is a tie. The votes are
        the judge's own. Stops and resumes without loss.
        """
        actor.require(Role.REVIEWER)
        if not 1 <= most <= _LIMIT:
            raise InvalidInput(f"A judge can vote on 1 to {_LIMIT:,} comparisons.")
        config = self.workspace.teachers.config(judge)
        if not table.counts(self.db)["comparisons"]:
            raise InvalidInput(
                "There is no comparison to vote on.", "Compare models on the Evaluate tab first."
            )
        for job in self.workspace.jobs.page(actor, kinds=[JOB_KIND], limit=500, active=True):
            if job.params["judge"] == config.name and job.params["most"] != most:
                raise Conflict(
                    f"{config.name} is voting already, on up to {job.params['most']:,}"
                    " comparisons.",
                    "Wait for its end, or stop it.",
                )
        return self.workspace.jobs.submit_once(
            actor, JOB_KIND, f"Have {config.name} vote", {"judge": config.name, "most": most}
        )

    def _run_judge(self, context: JobContext) -> dict[str, Any]:
        name = context.params["judge"]
        config = self.workspace.teachers.config(name)
        with Asking(self.workspace, context.job.id) as asking:
            judge = ArenaJudge(
                self.db,
                asking,
                asking.teacher(name),
                judge=name,
                model_id=config.model,
                voter=voter_name(name, config.model),
                context=context,
            )
            said = judge.run(int(context.params["most"]))
        lost = said["unreadable"] + said["failed"]
        if lost:
            context.log(f"{lost} verdicts could not be had. Have it vote again for them.")
        return {
            "said": table.counts_of_job(self.db, context.job.id),
            "judge": judge.voter,
            "cost_usd": asking.cost_usd,
        }

    # -- inside ---------------------------------------------------------------------------

    def _standings(self, sources: Sources, voter: str, anchor: str, sighted: bool) -> ArenaReport:
        met = meetings_of(self.db, sources, voter, sighted=sighted)
        blind, everything = (
            meetings_of(self.db, "people", sighted=also).meetings for also in (False, True)
        )
        people = everything if sighted else blind
        judges = meetings_of(self.db, "judges").meetings
        ranking = rank(met.meetings, anchor)
        rates = win_rates(met.bouts)
        counts = table.counts(self.db)
        controlled = length_controlled(met.meetings, met.lengths, anchor="")
        return ArenaReport(
            sources=met.sources,
            voter=voter,
            voters=met.voters,
            anchor=ranking.anchor,
            n=ranking.n,
            prompts=ranking.prompts,
            people_votes=len(blind),
            sighted=sighted,
            sighted_votes=len(everything) - len(blind),
            judge_votes=len(judges),
            left_out=counts["way_back"],
            rows=arena_rows(ranking.strengths, rates, controlled, votes_by_model(people, judges)),
            rates=tuple(rate for rate in rates if rate.against),
            judges=self._judges(),
            comparisons=counts["comparisons"],
        )

    def _judges(self) -> tuple[ArenaJudgeStats, ...]:
        said: dict[str, list[Rating]] = defaultdict(list)
        for rating in judge_ratings(votes.judge_votes(self.db)):
            said[rating.rater].append(rating)
        readings = table.readings(self.db)
        people = without_both_bad(vote_ratings(votes.votes(self.db, at_random=True)))
        compared = self._compared()
        models = {row["voter"]: row["model"] for row in readings}
        agreements: dict[str, JudgeStats] = {
            name: judge_votes(name, said[name], people) for name in {*said, *models}
        }
        return judge_rows(
            Counter({name: len(ratings) for name, ratings in said.items()}),
            readings,
            agreements,
            {name: _warning(model, compared) for name, model in models.items()},
        )

    def _compared(self) -> list[str]:
        """The compared models by what they are: a student with what it grew from."""
        return self._memo.get("compared", lambda: [self._kin(r) for r in self._cards()])

    def _cards(self) -> list[Row]:
        return [row for row in table.compared_models(self.db) if row["id"]]

    def _kin(self, card: Row) -> str:
        role, _, name = card["id"].partition(":")
        if role != ModelRole.STUDENT:
            return str(card["model"]).partition(" at ")[0]
        return origins.named_with_root(self.workspace, name, card["label"])


def _warning(model: str, compared: list[str]) -> str:
    return family_warning(model, compared, who="the compared model")
