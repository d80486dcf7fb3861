"""The demo: the whole pass by itself, in a workspace of its own.

Each stage is done once and its outcome kept in the job's result, so a demo that was stopped or
killed goes on where it was. A stage that is itself a job (generation, training) is followed; its
id is kept too, so that it is found again. What people decide elsewhere is decided here by rules
that the page names: filters decide what is accepted; an answer that ended by itself is preferred
to one that ran into the limit.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import (
    DecisionKind,
    Job,
    JobState,
    PairStatus,
    Preference,
    Record,
)
from distill_studio.distill.spec import TrainSpec
from distill_studio.services.base import Service
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.services.jobs import JobContext
from distill_studio.services.teachers import STARTER
from distill_studio.store import demo as table
from distill_studio.store import jobs as jobs_table
from distill_studio.store import preferences
from distill_studio.store.pairs import PairQuery

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

DEMO_STAGES = {
    "seeds": "Seeds",
    "generate": "Generate",
    "curate": "Curate",
    "review": "Review",
    "prefer": "Prefer",
    "freeze": "Freeze",
    "logit": "Distill: logits",
    "dpo": "Distill: DPO",
    "evaluate": "Evaluate",
}
SEEDS_FILE = Path(__file__).parents[2] / "assets" / "demo_seeds.jsonl"
SAMPLING = SamplingParams(temperature=0.6, max_tokens=144, seed=11)
LOGIT_STEPS, DPO_STEPS = 80, 6
SAMPLES = 3  # held-out prompts that the student answers before, midway and after
KEEP_LAYERS = 24  # of 30: gibberish when just pruned, fluent English after the training
SAID = 60  # letters of a sample answer that the page quotes
LEAST_PREFERENCES = 8
PROMPTS = ("What is the capital of France?", "Why is the sky blue?")
_POLL_S = 0.3
_NAMESPACE = uuid.UUID("6b2f4e0a-6f0e-4d52-9a6c-3f1d5a8f2c11")


class DemoState(Record):
    """Where the demo stands."""

    job: Job | None = Field(default=None, description="None before the first start.")
    stage: str = Field(default="", description="The stage at work, or the last one done.")
    facts: dict[str, str] = Field(default_factory=dict, description="Stage -> what came of it.")
    comparison_id: str = Field(default="", description="The newest comparison, once it is done.")


class DemoService(Service):
    """Start the demo and say where it stands."""

    word = "demo"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        workspace.jobs.register("demo", self._run, lane="flow")

    def start(self, actor: Actor) -> Job:
        """Start the demo, or go on with one that was stopped; runs in the workspace `demo`."""
        actor.require(Role.REVIEWER)
        demo = self.workspace.studio.demo_workspace(create=True)
        assert demo is not None
        found = demo.jobs.page(actor, kinds=["demo"], limit=1)
        if not found:
            return demo.jobs.submit(actor, "demo", "Demo: from prompts to a student", {})
        if found[0].state.is_active or found[0].state is JobState.DONE:
            return demo.jobs.revive(actor, found[0])
        return demo.jobs.resume(actor, found[0].id)

    def stop(self, actor: Actor) -> Job:
        """Ask the demo to stop; what it has made stays, and `start` goes on with it.

        Raises:
            InvalidInput: It does not run.
        """
        actor.require(Role.REVIEWER)
        demo = self.workspace.studio.demo_workspace()
        found = demo.jobs.page(actor, kinds=["demo"], active=True, limit=1) if demo else []
        if demo is None or not found:
            raise InvalidInput("The demo does not run.")
        return demo.jobs.cancel(actor, found[0].id)

    def state(self, actor: Actor) -> DemoState:
        """The demo's job, its stage, and what each finished stage brought."""
        actor.require(Role.VIEWER)
        demo = self.workspace.studio.demo_workspace()
        found = demo.jobs.page(actor, kinds=["demo"], limit=1) if demo else []
        if not found:
            return DemoState()
        facts = found[0].result.get("facts", {})
        stage = next((s for s in DEMO_STAGES if s not in facts), "evaluate")
        newest = ""
        if demo and found[0].state is JobState.DONE:
            newest = next((c.id for c in demo.evaluate.page(actor, limit=1)), "")
        return DemoState(job=found[0], stage=stage, facts=facts, comparison_id=newest)

    # -- the job --------------------------------------------------------------------------

    def _run(self, context: JobContext) -> dict[str, Any]:
        done = _Done(self.workspace, context)
        stages: dict[str, Callable[[_Done], str]] = {
            "seeds": self._seeds,
            "generate": self._generate,
            "curate": self._curate,
            "review": self._review,
            "prefer": self._prefer,
            "freeze": self._freeze,
            "logit": self._logit,
            "dpo": self._dpo,
            "evaluate": self._evaluate,
        }
        for number, (stage, work) in enumerate(stages.items()):
            context.cancel.raise_if_cancelled()
            if stage in done.facts:
                continue
            context.progress(number, len(stages), f"{DEMO_STAGES[stage]} …")
            done.place = (number, len(stages))
            done.keep(stage, work(done))
        return done.result

    def _seeds(self, done: _Done) -> str:
        upload_id = self.workspace.studio.uploads.add(SEEDS_FILE)
        self.workspace.seeds.import_file(done.actor, upload_id)
        return f"{self.workspace.seeds.count(done.actor)} prompts"

    def _generate(self, done: _Done) -> str:
        def submit() -> Job:
            return self.workspace.generate.start(
                done.actor,
                GenerationWish(teachers=[STARTER.name], recipe="best_of_n", n=2, sampling=SAMPLING),
            )

        done.follow("generate", submit)
        counts = self.workspace.overview.counts(done.actor)
        return f"{counts['total']} answers by {STARTER.name}"

    def _curate(self, done: _Done) -> str:
        done.follow("curate", lambda: self.workspace.curate.dedup(done.actor, "prompt"))
        counts = self.workspace.overview.counts(done.actor)
        near = "near-duplicate" if counts["duplicate"] == 1 else "near-duplicates"
        return f"{counts['filtered']} filtered, {counts['duplicate']} {near} set aside"

    def _review(self, done: _Done) -> str:
        query = PairQuery(status=PairStatus.PENDING, curation="kept")
        bulk_id = str(uuid.uuid5(_NAMESPACE, done.job_id))
        result = self.workspace.review.bulk(done.actor, query, DecisionKind.ACCEPT, bulk_id)
        return f"{result.count} accepted by rule: whatever the filters keep"

    def _prefer(self, done: _Done) -> str:
        made = [
            Preference(
                seed_id=row["seed_id"],
                chosen_pair_id=row["chosen"],
                rejected_pair_id=row["rejected"],
                source="rule",
                user=done.actor.user,
            )
            for row in table.finished_over_cut(self.db)
        ]
        if not table.has_rule_preferences(self.db):
            preferences.insert(self.db, made)
        return f"{len(made)} by rule: an answer that ends by itself over one cut off"

    def _freeze(self, done: _Done) -> str:
        existing = {s.name for s in self.workspace.freeze.page(done.actor)}
        facts = []
        for name, shape in (
            ("demo-answers", "prompt_completion"),
            ("demo-preferences", "preference"),
        ):
            if shape == "preference" and self._preference_count(done) < LEAST_PREFERENCES:
                continue
            if name not in existing:
                self.workspace.freeze.create(done.actor, name, shape, validation_share=0.15)
            snapshot = self.workspace.freeze.get(done.actor, name)
            facts.append(f"{name}: {snapshot.train_rows} + {snapshot.validation_rows} held out")
        return "; ".join(facts)

    def _logit(self, done: _Done) -> str:
        """The teacher without a fifth of its layers learns to follow its whole self."""
        spec = TrainSpec(
            snapshot="demo-answers",
            method="logit",
            name="demo-logit",
            keep_layers=KEEP_LAYERS,
            weights="full",
            learning_rate=1e-4,
            max_steps=LOGIT_STEPS,
            batch_size=4,
            max_length=160,
            eval_every=LOGIT_STEPS // 2,
            eval_rows=12,
            samples=SAMPLES,
            save_every=LOGIT_STEPS,
        )
        fact = self._train(done, "logit", spec)
        metrics = self.workspace.distill.get(done.actor, spec.name).metrics
        if metrics.get("kl_before") is not None and metrics.get("kl_after") is not None:
            kl = f"{metrics['kl_before']:.2f} → {metrics['kl_after']:.2f}"
            fact = f"held-out KL to the teacher {kl} in {spec.max_steps} steps"
        return fact + self._said(spec.name)

    def _said(self, run: str) -> str:
        """What the student answered to a held-out prompt before its training, and after.

        Of some prompts, the one whose answer changed most: a student without a fifth of its layers
        still says here and there what its teacher would.
        """
        answers: dict[str, list[str]] = {}
        for event in self.workspace.distill.follow(run)[1]:
            if event.kind == "sample":
                answers.setdefault(event.prompt, []).append(" ".join(event.answer.split()))
        changed = [said for said in answers.values() if len(said) > 1]
        if not changed:
            return ""
        most = min(changed, key=lambda said: SequenceMatcher(None, said[0], said[-1]).ratio())
        before, after = (f"{s[:SAID]}…" if len(s) > SAID else s for s in (most[0], most[-1]))
        return f"; it said “{before}”, now “{after}”"

    def _dpo(self, done: _Done) -> str:
        if self._preference_count(done) < LEAST_PREFERENCES:
            return f"left out: fewer than {LEAST_PREFERENCES} preferences"
        spec = TrainSpec(
            snapshot="demo-preferences",
            method="dpo",
            student="run:demo-logit",
            name="demo-dpo",
            max_steps=DPO_STEPS,
            max_length=256,
            eval_every=DPO_STEPS,
            save_every=DPO_STEPS,
        )
        return self._train(done, "dpo", spec)

    def _evaluate(self, done: _Done) -> str:
        runs = [run.name for run in self.workspace.distill.page(done.actor)]
        student = "demo-dpo" if "demo-dpo" in runs else "demo-logit"
        cards = self.workspace.evaluate.models(done.actor)
        chosen = self.workspace.evaluate.defaults(done.actor)
        named = [card.id for card in cards if card.id.endswith(f":{student}")]
        models = list(dict.fromkeys([*chosen, *named]))[:3]
        for prompt in PROMPTS:
            done.context.cancel.raise_if_cancelled()
            self.workspace.evaluate.compare(done.actor, models, prompt, max_tokens=96)
        return f"{len(PROMPTS)} prompts answered by {len(models)} models"

    # -- shared ---------------------------------------------------------------------------

    def _train(self, done: _Done, stage: str, spec: TrainSpec) -> str:
        def submit() -> Job:
            runs = {run.name: run for run in self.workspace.distill.page(done.actor)}
            run = runs.get(spec.name) or self.workspace.distill.start(done.actor, spec)
            return self.workspace.jobs.get(done.actor, run.job_id)

        done.follow(stage, submit)
        run = self.workspace.distill.get(done.actor, spec.name)
        before, after = run.metrics.get("loss_before"), run.metrics.get("loss_after")
        if before is None or after is None:
            return f"{spec.max_steps} steps"
        return f"held-out loss {before:.2f} → {after:.2f} in {spec.max_steps} steps"

    def _preference_count(self, done: _Done) -> int:
        return self.workspace.overview.counts(done.actor)["preferences"]


class _Done:
    """What the demo has behind it; written to the job after each stage."""

    def __init__(self, workspace: Workspace, context: JobContext) -> None:
        self.workspace = workspace
        self.context = context
        self.actor = context.actor
        self.job_id = context.job.id
        stored = jobs_table.get(workspace.db, self.job_id)
        result = stored.result if stored else {}
        self.facts: dict[str, str] = dict(result.get("facts", {}))
        self.jobs: dict[str, str] = dict(result.get("jobs", {}))
        self.place = (0, 1)

    @property
    def result(self) -> dict[str, Any]:
        """The job's result."""
        return {"facts": self.facts, "jobs": self.jobs}

    def keep(self, stage: str, fact: str) -> None:
        """A stage is done."""
        self.facts[stage] = fact
        self._write()

    def follow(self, stage: str, submit: Callable[[], Job]) -> None:
        """Start a stage's job, or find the one a former start made, and wait for its end."""
        jobs = self.workspace.jobs
        if stage in self.jobs:
            job = jobs.get(self.actor, self.jobs[stage])
            if job.state.is_active:
                job = jobs.revive(self.actor, job)
            elif job.state is not JobState.DONE:
                job = jobs.resume(self.actor, job.id)
        else:
            job = submit()
            self.jobs[stage] = job.id
            self._write()
        while job.state.is_active:
            if self.context.cancel.wait(_POLL_S):
                if not jobs.is_shutting_down:
                    jobs.cancel(self.actor, job.id)
                self.context.cancel.raise_if_cancelled()
            job = jobs.get(self.actor, job.id)
            steps = f"{job.done} of {job.total}" if job.total else ""
            self.context.progress(*self.place, " · ".join(p for p in (steps, job.note) if p))
        if job.state is not JobState.DONE:
            raise InvalidInput(f"{DEMO_STAGES[stage]}: {job.error or 'it was stopped.'}")

    def _write(self) -> None:
        jobs_table.update(self.workspace.db, self.job_id, result=self.result)
