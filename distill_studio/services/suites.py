"""Suites: prompts with what a good answer is; models are asked all of them and scored.

Start at `SuitesService.add` and `SuitesService.run`; `standings` says how the models did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records import Job
from distill_studio.core.records.suite import Suite, SuiteAnswer, SuiteItem, SuiteScorer, Trial
from distill_studio.evaluate.standings import Standings, standings
from distill_studio.evaluate.suite_page import suite_page
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import asking_estimates as estimates
from distill_studio.services.asking import Asking
from distill_studio.services.base import Service
from distill_studio.services.export import ExportFile
from distill_studio.services.importing import ImportProblem
from distill_studio.services.jobs import JobContext
from distill_studio.services.memo import Memo
from distill_studio.services.sampling import sampling_of
from distill_studio.services.suite_agreement import check_models
from distill_studio.services.suite_beside import Beside, beside
from distill_studio.services.suite_costs import with_costs
from distill_studio.services.suite_items import content_hash, read_items
from distill_studio.services.suite_judging import judge_fields, warning
from distill_studio.services.suite_report import gather
from distill_studio.services.suite_weighing import check_local
from distill_studio.services.suite_work import TrialWork
from distill_studio.services.teacher_costs import Estimate
from distill_studio.store import feedback
from distill_studio.store import suites as table

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KIND = "suite"
MOST_MODELS, MOST_SAMPLES = 8, 64
MOST_USD = 100_000  # an hour of a machine


class AddedSuite(Suite):
    """A suite as it was made, and what of its file is not in it."""

    left_out: int = Field(default=0, description="Rows that cannot be scored.")
    problems: list[ImportProblem] = Field(
        default_factory=list, description="The first 100 of these, and why."
    )


class SuitesService(Service):
    """Score models on sets of prompts with known answers."""

    word = "suites"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)
        workspace.jobs.register(JOB_KIND, self._run, lane="io")

    # -- suites ---------------------------------------------------------------------------

    def page(self, actor: Actor) -> list[Suite]:
        """All suites, newest first."""
        actor.require(Role.VIEWER)
        return table.all_suites(self.db)

    def get(self, actor: Actor, suite: str) -> Suite:
        """One suite, by name or id."""
        actor.require(Role.VIEWER)
        found = table.get(self.db, suite)
        if found is None:
            known = ", ".join(one.name for one in table.all_suites(self.db)) or "none yet"
            raise NotFound(f"There is no suite '{suite}'.", f"Known are: {known}.")
        return found

    def items(self, actor: Actor, suite: str, after: int = -1, limit: int = 20) -> list[SuiteItem]:
        """Prompts of a suite in order, those after number `after`."""
        actor.require(Role.VIEWER)
        found = self.get(actor, suite)
        return table.items(self.db, found.id, after=after, limit=min(max(limit, 1), 500))

    def add(
        self,
        actor: Actor,
        upload_id: str,
        scorer: SuiteScorer,
        name: str = "",
        mapping: ColumnMapping | None = None,
    ) -> AddedSuite:
        """Make a suite of an uploaded file (JSONL, JSON, CSV, Parquet).

        A row has a prompt and a reference: the right answer, the tests, or the right choice (its
        text, letter or number) with a column `choices`. For agreement and judges a prompt will do.
        Rows that lack theirs are left out, and named.

        Raises:
            InvalidInput: No row can be used; says why.
            Conflict: The name is taken.
        """
        actor.require(Role.REVIEWER)
        path = self.workspace.studio.uploads.path(upload_id)
        read = read_items(path, scorer, mapping)
        name = (name or path.stem).strip()[:100]
        if table.get(self.db, name) is not None:
            raise Conflict(f"A suite '{name}' exists already.", "Give this one another name.")
        suite = Suite(
            name=name,
            scorer=scorer,
            source=path.name,
            content_hash=content_hash(read.items),
            item_count=len(read.items),
            user=actor.user,
        )
        table.insert(self.db, suite, read.items)
        return AddedSuite(**suite.model_dump(), left_out=read.left_out, problems=read.problems)

    def delete(self, actor: Actor, suite: str) -> Suite:
        """Forget a suite with all that models answered to it."""
        actor.require(Role.OWNER)
        found = self.get(actor, suite)
        for job in self.workspace.jobs.page(actor, kinds=[JOB_KIND], active=True):
            if job.params["suite_id"] == found.id:
                raise Conflict("Models are at work on this suite.", "Stop that job first.")
        table.delete(self.db, found.id)
        return found

    # -- trials ---------------------------------------------------------------------------

    def run(
        self,
        actor: Actor,
        suite: str,
        models: list[str],
        samples: int = 1,
        most_items: int = 0,
        temperature: float = 0.0,
        top_p: float = 0.95,
        max_tokens: int = 512,
        seed: int = 0,
        judge: str = "",
    ) -> Job:
        """Ask models all prompts of a suite and score what they answer, in one job.

        Args:
            actor: Who asks.
            suite: Name or id.
            models: Ids as in `evaluate_models`. The first teacher among them is the measure.
            samples: Answers per prompt; more than one needs a temperature above 0.
            most_items: Only the first so many prompts; 0: all.
            temperature: 0 is greedy.
            top_p: Nucleus mass.
            max_tokens: Longest answer.
            seed: Of the first sample; others count on from it.
            judge: Name of the teacher that scores the answers, where the suite asks for one.
        """
        actor.require(Role.REVIEWER)
        found = self.get(actor, suite)
        cards = [self.workspace.evaluate.comparable.card(actor, model) for model in models]
        if not 1 <= len(cards) <= MOST_MODELS or len({c.id for c in cards}) != len(cards):
            raise InvalidInput(f"Choose 1 to {MOST_MODELS} different models.")
        if not 1 <= samples <= MOST_SAMPLES:
            raise InvalidInput(f"A prompt has 1 to {MOST_SAMPLES} samples.")
        if samples > 1 and (temperature == 0 or found.scorer.is_weighed):
            raise InvalidInput(
                "Every sample would be the same.", "Take one sample, or a temperature above 0."
            )
        if most_items < 0:
            raise InvalidInput(
                f"The first {most_items} prompts cannot be asked.",
                "Give how many of the first prompts to ask; 0 asks all.",
            )
        sampling = sampling_of(temperature, top_p, max_tokens, seed)
        if found.scorer is SuiteScorer.AGREEMENT:
            items = table.items(self.db, found.id, limit=most_items)
            check_models(self.workspace.evaluate.comparable, cards, items)
        elif found.scorer.is_weighed:
            check_local(self.workspace.evaluate.comparable, cards)
        trial = Trial(
            suite_id=found.id,
            models=tuple(cards),
            sampling=sampling.model_dump(mode="json"),
            samples=samples,
            most_items=most_items,
            user=actor.user,
            **judge_fields(self.workspace, actor, found.scorer, judge, cards),
        )
        table.add_trial(self.db, trial)
        return self._submit(actor, found, trial)

    def judge_warning(self, actor: Actor, judge: str, models: list[str]) -> str:
        """What to bear in mind where a judge is a relative of models that it would score; or ''."""
        actor.require(Role.VIEWER)
        cards = [self.workspace.evaluate.comparable.card(actor, model) for model in models]
        return warning(self.workspace, judge, cards)

    def beside(self, actor: Actor, models: list[str]) -> list[Beside]:
        """Rows that students among these models want beside them: teacher, base, SFT alone."""
        actor.require(Role.VIEWER)
        cards = [self.workspace.evaluate.comparable.card(actor, model) for model in models]
        return beside(self.workspace, actor, cards)

    def defaults(self, actor: Actor) -> list[str]:
        """Ids of the models a first trial asks: a teacher, the newest student, its base, and the
        SFT run beside a student that was made by another method."""
        actor.require(Role.VIEWER)
        chosen = self.workspace.evaluate.defaults(actor)
        more = [one.model for one in self.beside(actor, chosen) if one.model]
        return list(dict.fromkeys([*chosen, *more]))[:MOST_MODELS]

    def estimate(
        self,
        actor: Actor,
        suite: str,
        models: list[str],
        samples: int = 1,
        most_items: int = 0,
        max_tokens: int = 512,
        judge: str = "",
    ) -> list[Estimate]:
        """About what `suites_run` will cost at each teacher behind a URL; none where none is."""
        actor.require(Role.VIEWER)
        found = self.get(actor, suite)
        cards = [self.workspace.evaluate.comparable.card(actor, model) for model in models]
        items = table.items(self.db, found.id, limit=max(most_items, 0))
        prompts = [item.messages for item in items]
        costs = estimates.of_models(self.workspace, actor, cards, prompts, max_tokens, samples)
        if judge and found.scorer is SuiteScorer.JUDGE:
            answers = samples * len(cards)
            costs += estimates.of_suite_judge(
                self.workspace, actor, judge, items, answers, max_tokens
            )
        return estimates.together(self.workspace, costs)

    def again(self, actor: Actor, trial_id: str) -> Job:
        """Ask what failed, or what a stopped job left out, once more; answers stay."""
        actor.require(Role.REVIEWER)
        trial = self._trial(trial_id)
        return self._submit(actor, self.get(actor, trial.suite_id), trial)

    def trials(self, actor: Actor, suite: str) -> list[Trial]:
        """What was asked of whom, newest first."""
        actor.require(Role.VIEWER)
        return table.trials(self.db, self.get(actor, suite).id)

    def newest(self, actor: Actor, suite: str) -> Trial:
        """The newest trial of a suite."""
        actor.require(Role.VIEWER)
        found = self.get(actor, suite)
        trial = next(iter(table.trials(self.db, found.id, limit=1)), None)
        if trial is None:
            raise NotFound(f"No model was scored on '{found.name}' yet.")
        return trial

    def trial(self, actor: Actor, trial_id: str) -> Trial:
        """What was asked of whom in one trial."""
        actor.require(Role.VIEWER)
        return self._trial(trial_id)

    def standings(self, actor: Actor, trial_id: str, with_failed: bool = False) -> Standings:
        """How the models of a trial did, with intervals, beside the teacher and the base.

        Once losses on the suite became training data, only its exam half counts, for all trials.
        A model that failed on most of its answers is named, and compared only `with_failed`.
        """
        actor.require(Role.VIEWER)
        trial = self._trial(trial_id)
        return self._memo.get(
            (trial_id, with_failed), lambda: self._standings(actor, trial, with_failed=with_failed)
        )

    def price(self, actor: Actor, trial_id: str, usd_per_hour: float | None = None) -> Trial:
        """Say what the machine of a trial's local models costs an hour in USD; None: not known.

        Their cost per 1,000 answers is that price over their speed. Teachers that are paid by the
        token keep their own prices.
        """
        actor.require(Role.REVIEWER)
        trial = self._trial(trial_id)
        if usd_per_hour is not None and not 0 <= usd_per_hour <= MOST_USD:
            raise InvalidInput(
                f"{usd_per_hour} is no price of an hour.", f"Give 0 to {MOST_USD:,} USD."
            )
        table.set_price(self.db, trial.id, usd_per_hour)
        return self._trial(trial_id)

    def report(self, actor: Actor, trial_id: str) -> ExportFile:
        """Write a trial's figures, losses and examples as one HTML file among the exports."""
        actor.require(Role.VIEWER)
        trial = self._trial(trial_id)
        suite = self.get(actor, trial.suite_id)
        standings = self.standings(actor, trial_id)
        found = gather(self.db, suite, trial, standings, self._practice(trial))
        return self.workspace.export.write_text("evaluation", "html", suite_page(found))

    def answers(
        self, actor: Actor, trial_id: str, after: int = -1, limit: int = 20
    ) -> list[SuiteAnswer]:
        """All answers to the next prompts after number `after`."""
        actor.require(Role.VIEWER)
        trial = self._trial(trial_id)
        return table.answers(self.db, trial.id, after=after, limit=min(max(limit, 1), 200))

    # -- inside ---------------------------------------------------------------------------

    def _standings(self, actor: Actor, trial: Trial, *, with_failed: bool) -> Standings:
        suite = table.get(self.db, trial.suite_id)
        scores = table.scores(self.db, trial.id)
        count = suite.item_count if suite else 0
        asked = min(count, trial.most_items or count) * trial.samples * len(trial.models)
        found = standings(
            trial.models,
            scores,
            self._practice(trial),
            has_quality=suite is None or suite.scorer.is_verdict,
            with_failed=with_failed,
        )
        found = found.model_copy(
            update={
                "missing": max(0, asked - len(scores)),
                "lacks": [one.said for one in beside(self.workspace, actor, trial.models)],
            }
        )
        items = table.items(self.db, trial.suite_id, limit=trial.most_items)
        is_read = suite is not None and suite.scorer.is_weighed
        return with_costs(self.workspace, trial, found, items, suite_is_read=is_read)

    def _practice(self, trial: Trial) -> set[int]:
        """Numbers of the prompts that do not count any more, some having been sent back."""
        items = table.items(self.db, trial.suite_id, limit=trial.most_items)
        hashes = [item.prompt_hash for item in items]
        has_sent = feedback.was_sent_back(self.db, trial.suite_id, hashes)
        return {item.number for item in items if has_sent and item.is_practice}

    def _trial(self, trial_id: str) -> Trial:
        found = table.trial(self.db, trial_id)
        if found is None:
            raise NotFound(f"There is no trial '{trial_id}' in this workspace.")
        return found

    def _submit(self, actor: Actor, suite: Suite, trial: Trial) -> Job:
        who = trial.models[0].label if len(trial.models) == 1 else f"{len(trial.models)} models"
        params = {"trial_id": trial.id, "suite_id": suite.id}
        return self.workspace.jobs.submit_once(actor, JOB_KIND, f"{who} on {suite.name}", params)

    def _run(self, context: JobContext) -> dict[str, Any]:
        trial = self._trial(context.params["trial_id"])
        suite = self.get(context.actor, trial.suite_id)
        judged_by = self.workspace.teachers.config(trial.judge) if trial.judge else None
        if judged_by and (now := judged_by.model) != trial.judge_model:
            raise Conflict(
                f"{trial.judge} is {now} now, and {trial.judge_model} judges this result.",
                "Score the models anew, or give the teacher that model again.",
            )
        # Its cost is the trial's: a job that asks again goes on where an earlier one stopped.
        with Asking(self.workspace, trial.id, JOB_KIND, context.job.title) as asking:
            comparable = self.workspace.evaluate.comparable
            work = TrialWork(self.db, suite, trial, context, comparable, asking)
            work.run()
        return {
            "trial_id": trial.id,
            "suite": suite.name,
            "failed": work.failed,
            "cost_usd": asking.cost_usd,
        }
