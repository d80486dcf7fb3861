"""The way back: what a student lost on a suite becomes data for its next training.

Start at `FeedbackService.view`. `prefer` puts the teacher's better answers beside the student's
into Prefer; `seeds` has a teacher write new prompts near those lost; `proposal` says what to train
next and `accept` does it. Only the practice half of a suite is looked at, and once anything of it
was really sent back only the other half counts: of prompts that are sent back because they were
lost, those that stay are the ones that were not. `undo` takes a step back while nothing used it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound, StudioError
from distill_studio.core.records import Job, Record, Run
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.feedback import Feedback, FeedbackKind
from distill_studio.core.records.suite import Suite, SuiteAnswer, SuiteItem, Trial
from distill_studio.distill.spec import TrainSpec
from distill_studio.evaluate.losses import LossGroup, Tally, tally
from distill_studio.services.asking import Asking
from distill_studio.services.base import Service
from distill_studio.services.checkpoints import parse_name
from distill_studio.services.feedback_rounds import next_round, round_of
from distill_studio.services.feedback_undo import undo
from distill_studio.services.feedback_work import add_preferences, groups_of, make_seeds
from distill_studio.services.freeze import MOST_LISTED
from distill_studio.services.jobs import JobContext
from distill_studio.services.memo import Memo
from distill_studio.store import feedback as table
from distill_studio.store import runs, suites

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KIND = "feedback_seeds"
MOST_EACH = 20
FEWEST_PREFERENCES = 8  # below it DPO has too little to learn from
_SHOWN = 200


class LostPrompt(Record):
    """A prompt that the student lost, with both answers."""

    item: SuiteItem = Field(description="The prompt and its reference.")
    teacher: SuiteAnswer = Field(description="The teacher's best answer.")
    student: SuiteAnswer = Field(description="The student's worst.")


class FeedbackView(Record):
    """What a student lost, in groups, and what was made of it so far."""

    suite: str = Field(description="Name of the suite.")
    teacher: ModelCard = Field(description="Whom the student is measured by.")
    student: ModelCard = Field(description="Who lost.")
    tally: Tally = Field(description="Prompt by prompt, of the practice half.")
    groups: list[LossGroup] = Field(description="The losses, the largest group first.")
    steps: list[Feedback] = Field(description="What was made of this student's losses.")
    waiting: list[int] = Field(description="Lost prompts that did not become preferences yet.")
    is_verdict: bool = Field(description="The suite's scores say which answer is better.")
    practice: int = Field(description="Prompts of the practice half.")
    exam: int = Field(description="Prompts of the exam half.")
    marked: Feedback | None = Field(
        default=None, description="Since this step only the exam half counts; None: all prompts do."
    )
    last: Feedback | None = Field(
        default=None, description="The newest step of the suite that is not undone."
    )


class Proposal(Record):
    """What to train next."""

    reasons: list[str] = Field(description="Why, a sentence each.")
    spec: TrainSpec | None = Field(default=None, description="None: there is too little data yet.")


class RoundScore(Record):
    """How good the students of one round were on a suite."""

    number: int = Field(description="0: a base; 1: trained; 2: after its losses came back; ...")
    card: ModelCard = Field(description="Which model.")
    score: float = Field(description="Mean over the prompts that it answered.")
    low: float | None = Field(default=None, description="95% interval.")
    high: float | None = Field(default=None, description="95% interval.")
    trial_id: str = Field(description="Where it was measured.")


class FeedbackService(Service):
    """From what was lost back to the data."""

    word = "feedback"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)
        workspace.jobs.register(JOB_KIND, self._run, lane="io")

    # -- what was lost --------------------------------------------------------------------

    def view(self, actor: Actor, trial_id: str, student: str) -> FeedbackView:
        """What a student lost to the trial's first teacher, in named groups."""
        actor.require(Role.VIEWER)
        trial, suite, teacher, card = self._who(actor, trial_id, student)
        every = table.of_suite(self.db, suite.id)
        live = [s for s in every if s.is_live]
        steps = [s for s in every if s.student == card.id]
        found, groups = self._memo.get(
            (trial.id, card.id), lambda: self._compared(trial, suite, teacher, card)
        )
        gone = _numbers(
            [s for s in steps if s.trial_id == trial.id and s.undone_at is None],
            FeedbackKind.PREFERENCES,
        )
        practice = sum(item.is_practice for item in suites.items(self.db, suite.id))
        return FeedbackView(
            suite=suite.name,
            teacher=teacher,
            student=card,
            tally=found,
            groups=groups,
            steps=steps,
            waiting=[one.number for one in found.losses if one.number not in gone],
            is_verdict=suite.scorer.is_verdict,
            practice=practice,
            exam=suite.item_count - practice,
            marked=next(iter(live), None),
            last=next(iter(reversed(live)), None),
        )

    def lost(
        self, actor: Actor, trial_id: str, student: str, numbers: list[int]
    ) -> list[LostPrompt]:
        """Some lost prompts with both answers, in order."""
        actor.require(Role.VIEWER)
        trial, suite, teacher, card = self._who(actor, trial_id, student)
        wanted = sorted(set(numbers))[:_SHOWN]
        return _lost(self.db, trial, suite, teacher, card, wanted)

    # -- the way back ---------------------------------------------------------------------

    def prefer(
        self, actor: Actor, trial_id: str, student: str, numbers: list[int] | None = None
    ) -> Feedback:
        """Make preferences of lost prompts (none named: all that wait): teacher over student.

        They count for DPO at once, as a rule's or the judge's, and wait in Prefer, blind, for a
        person whose vote overrules them. The suite's practice half does not count from then on,
        in earlier results too, until `undo`.
        """
        actor.require(Role.REVIEWER)
        view = self.view(actor, trial_id, student)
        chosen = _chosen(view, numbers, view.waiting)
        trial, suite, teacher, card = self._who(actor, trial_id, student)
        if not suite.scorer.is_verdict:
            raise InvalidInput(
                "Scores of this suite (ROUGE-L, likelihood, agreement) do not say which answer is"
                " better.",
                "Compare the models side by side and vote, or score with another suite.",
            )
        step = Feedback(
            trial_id=trial.id,
            suite_id=suite.id,
            student=card.id,
            kind=FeedbackKind.PREFERENCES,
            numbers=tuple(chosen),
            user=actor.user,
        )
        names = {n: group.name for group in view.groups for n in group.numbers}
        rows = _lost(self.db, trial, suite, teacher, card, chosen)
        with self.db.write():
            made = add_preferences(
                self.db,
                step,
                suite.name,
                {ModelRole.TEACHER: teacher, ModelRole.STUDENT: card},
                [(r.item, r.teacher, r.student) for r in rows],
                names,
                trial.judge,
            )
            if made:
                step = step.model_copy(update={"made": tuple(made), "sent_at": utc_now()})
            table.insert(self.db, step)
        return step

    def seeds(
        self,
        actor: Actor,
        trial_id: str,
        student: str,
        teacher: str = "",
        numbers: list[int] | None = None,
        each: int = 2,
    ) -> Job:
        """Have a teacher write new prompts near those lost (none named: all); they become seeds.

        With the first new prompt the suite's practice half counts no more, in earlier results too,
        until `undo`.

        Args:
            actor: Who asks.
            trial_id: Where the student lost.
            student: Id or label of its card.
            teacher: Who writes; '': the trial's teacher.
            numbers: Lost prompts.
            each: New prompts for each lost one.
        """
        actor.require(Role.REVIEWER)
        if not 1 <= each <= MOST_EACH:
            raise InvalidInput(f"Ask for 1 to {MOST_EACH} new prompts for each lost one.")
        view = self.view(actor, trial_id, student)
        chosen = _chosen(view, numbers, [one.number for one in view.tally.losses])
        writer = self.workspace.evaluate.comparable.card(actor, teacher or view.teacher.id)
        trial, suite, _, card = self._who(actor, trial_id, student)
        step = Feedback(
            trial_id=trial.id,
            suite_id=suite.id,
            student=card.id,
            kind=FeedbackKind.SEEDS,
            numbers=tuple(chosen),
            user=actor.user,
        )
        groups = [
            {"name": group.name, "numbers": [n for n in group.numbers if n in set(chosen)]}
            for group in view.groups
        ]
        params = {"feedback": step.id, "teacher": writer.id, "each": each, "groups": groups}
        title = f"New prompts near {len(chosen)} lost on {suite.name}"
        with self.db.write():  # both, or neither
            job = self.workspace.jobs.submit(actor, JOB_KIND, title, params)
            table.insert(self.db, step.model_copy(update={"job_id": job.id}))
        return job

    def undo(self, actor: Actor, step_id: str) -> Feedback:
        """Take a step back: what it sent is deleted, and the practice half counts again.

        Goes as long as nothing has used what was sent: no person's vote, no answer, no snapshot,
        no training. Other steps on the same suite keep their mark.
        """
        actor.require(Role.REVIEWER)
        step = table.get(self.db, step_id)
        if step is None:
            raise NotFound(f"There is no step '{step_id}' of the way back in this workspace.")
        undo(self.workspace, step, actor.user)
        return table.get(self.db, step_id) or step

    def steps(self, actor: Actor, suite: str) -> list[Feedback]:
        """All that was made of losses on a suite, oldest first."""
        actor.require(Role.VIEWER)
        return table.of_suite(self.db, self.workspace.suites.get(actor, suite).id)

    def proposal(self, actor: Actor, student: str) -> Proposal:
        """What to train next from a student (its card's id): DPO once there is enough for it."""
        actor.require(Role.VIEWER)
        role, _, name = student.partition(":")
        if role == ModelRole.STUDENT and parse_name(name)[1] is not None:
            return Proposal(
                reasons=["The next round starts from a finished student, not from a checkpoint."]
            )
        if role != ModelRole.STUDENT or runs.get(self.db, name) is None:
            return Proposal(reasons=["The next round starts from a student that was trained here."])
        usable = self.workspace.freeze.preview(actor, format="preference").rows
        if usable < FEWEST_PREFERENCES:
            return Proposal(
                reasons=[
                    f"There are {usable} usable preferences; DPO needs {FEWEST_PREFERENCES} at"
                    " least. Send what was lost to Prefer first, or answer new seeds and train on"
                    " them."
                ]
            )
        number = next_round(self.workspace, name)
        return Proposal(
            reasons=[
                f"{usable} preferences say which of two answers is better; people's votes first.",
                f"DPO goes on from {name}, as round {number}.",
            ],
            spec=TrainSpec(
                snapshot=f"round-{number}-preferences",
                method="dpo",
                student=f"run:{name}",
                name=f"{name}-round-{number}"[:60],
                preset="quick",
            ),
        )

    def accept(self, actor: Actor, student: str) -> Run:
        """Do what is proposed: freeze the preferences there are, then train."""
        actor.require(Role.REVIEWER)
        found = self.proposal(actor, student)
        if found.spec is None:
            raise Conflict(found.reasons[0])
        spec = found.spec
        taken = {one.name for one in self.workspace.freeze.page(actor, limit=MOST_LISTED)}
        snapshot = next(
            name
            for name in (spec.snapshot, *(f"{spec.snapshot}-{n}" for n in range(2, 10_000)))
            if name not in taken
        )
        self.workspace.freeze.create(actor, snapshot, format="preference")
        name = spec.name if runs.get(self.db, spec.name) is None else ""  # '': one is made
        spec = spec.model_copy(update={"snapshot": snapshot, "name": name})
        try:
            return self.workspace.distill.start(actor, spec)
        except StudioError:  # nobody asked for the snapshot alone
            self.workspace.freeze.delete(Actor(user=actor.user, role=Role.OWNER), snapshot)
            raise

    def rounds(self, actor: Actor, suite: str) -> list[RoundScore]:
        """The newest score of each model on a suite, by round; of all its whole trials.

        What a run of the same name scored that was deleted since is not this one's.
        """
        actor.require(Role.VIEWER)
        suite_id = self.workspace.suites.get(actor, suite).id
        return self._memo.get(("rounds", suite_id), lambda: self._rounds(actor, suite_id))

    # -- inside ---------------------------------------------------------------------------

    def _rounds(self, actor: Actor, suite_id: str) -> list[RoundScore]:
        found: dict[str, RoundScore] = {}
        for trial in suites.trials(self.db, suite_id, limit=0):
            wanted = {c.id for c in trial.models if c.role is not ModelRole.TEACHER} - found.keys()
            if trial.most_items or not wanted:
                continue
            standings = self.workspace.suites.standings(actor, trial.id)
            if standings.missing:
                continue
            for row in standings.rows:
                if row.card.id not in wanted or row.score.value is None:
                    continue
                role, _, name = row.card.id.partition(":")
                run, _ = parse_name(name)
                if runs.is_after(self.db, run, trial.created_at):
                    continue
                found[row.card.id] = RoundScore(
                    number=round_of(self.workspace, run) if role == ModelRole.STUDENT else 0,
                    card=row.card,
                    score=row.score.value,
                    low=row.score.low,
                    high=row.score.high,
                    trial_id=trial.id,
                )
        return sorted(found.values(), key=lambda one: (one.number, one.card.label))

    def _compared(
        self, trial: Trial, suite: Suite, teacher: ModelCard, student: ModelCard
    ) -> tuple[Tally, list[LossGroup]]:
        """How two models did on the practice half, and the losses in groups."""
        texts = {
            item.number: item.messages[-1].content
            for item in suites.items(self.db, suite.id)
            if item.is_practice
        }
        scores = [row for row in suites.scores(self.db, trial.id) if row["number"] in texts]
        found = tally(scores, teacher.id, student.id)
        return found, groups_of(found.losses, texts)

    def _who(
        self, actor: Actor, trial_id: str, student: str
    ) -> tuple[Trial, Suite, ModelCard, ModelCard]:
        """The trial, its suite, its first teacher, and the student."""
        trial = self.workspace.suites.trial(actor, trial_id)
        teacher = next((c for c in trial.models if c.role is ModelRole.TEACHER), None)
        if teacher is None:
            raise InvalidInput(
                "No teacher was asked in this trial.", "Score a teacher beside the student."
            )
        others = [c for c in trial.models if c.id != teacher.id]
        card = next((c for c in others if student in (c.id, c.label)), None)
        if card is None:
            known = ", ".join(c.label for c in others) or "none"
            raise InvalidInput(
                f"'{student}' was not asked beside the teacher.", f"Others are: {known}."
            )
        return trial, self.workspace.suites.get(actor, trial.suite_id), teacher, card

    def _run(self, context: JobContext) -> dict[str, Any]:
        step = table.get(self.db, context.params["feedback"])
        if step is None:
            raise InvalidInput("The step that this job belongs to is gone.")
        if step.undone_at is not None:
            raise Conflict("This step was undone.", "Have the teacher write them anew.")
        suite = self.workspace.suites.get(context.actor, step.suite_id)
        comparable = self.workspace.evaluate.comparable
        card = comparable.card(context.actor, context.params["teacher"])
        with Asking(self.workspace, context.job.id) as asking:
            made = make_seeds(self.db, step, suite, asking, asking.source(card), context)
        return made | {"cost_usd": asking.cost_usd}


def _numbers(steps: list[Feedback], kind: FeedbackKind) -> set[int]:
    return {n for step in steps if step.kind is kind for n in step.numbers}


def _chosen(view: FeedbackView, numbers: list[int] | None, otherwise: list[int]) -> list[int]:
    """The prompts that are meant, in order.

    Raises:
        InvalidInput: One of them was not lost, or there is none.
    """
    lost = {one.number for one in view.tally.losses}
    chosen = sorted(set(otherwise if numbers is None else numbers))
    if strange := [n for n in chosen if n not in lost]:
        raise InvalidInput(f"Prompt {strange[0]} was not lost by {view.student.label}.")
    if not chosen:
        raise InvalidInput(
            "There is nothing to send: no prompt was lost, or all of them were sent before."
        )
    return chosen


def _lost(
    db: Any,  # noqa: ANN401
    trial: Trial,
    suite: Suite,
    teacher: ModelCard,
    student: ModelCard,
    numbers: list[int],
) -> list[LostPrompt]:
    """The prompts of these numbers with the teacher's best and the student's worst answer."""
    items = {i.number: i for i in suites.items(db, suite.id)}
    given: dict[int, list[SuiteAnswer]] = {}
    for answer in suites.answers_to(db, trial.id, numbers):
        if answer.score is not None:
            given.setdefault(answer.number, []).append(answer)
    found = []
    for number in numbers:
        answers = given.get(number, [])
        by = {m.id: [a for a in answers if a.model == m.id] for m in (teacher, student)}
        if all(by.values()):
            found.append(
                LostPrompt(
                    item=items[number],
                    teacher=max(by[teacher.id], key=lambda a: a.score or 0.0),
                    student=min(by[student.id], key=lambda a: a.score or 0.0),
                )
            )
    return found
