"""Plans: several trainings as one. Stages go on from each other, a grid is one table at the end.

A plan's job waits for its runs, which are ordinary runs with ordinary jobs, one after the other. It
keeps no state of its own: what is done, stopped or failed is read from the runs, so a plan resumes
after a restart, between stages and within one.
"""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import (
    Cancelled,
    Conflict,
    InvalidInput,
    NotFound,
    StudioError,
    Unavailable,
)
from distill_studio.core.records import JobState, Plan, PlanKind, Record, Run, RunState
from distill_studio.distill.config import METHOD_LABELS, PRUNING
from distill_studio.distill.failures import is_diverged
from distill_studio.distill.findings import Finding
from distill_studio.distill.measures import kl_label_of
from distill_studio.distill.planning import Measure, grid_specs, measure_of, rank, stage_specs
from distill_studio.distill.spec import TrainSpec
from distill_studio.services.base import Service
from distill_studio.services.jobs import JobContext
from distill_studio.store import plans as table
from distill_studio.store import runs

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,49}$")
_POLL_S = 0.5
_ENDED = (RunState.STOPPED, RunState.FAILED, RunState.LOST)
_RESUME = "Resume the plan: it goes on from the last checkpoint of this stage."
_ANOTHER_PLAN = (
    "The plan would come to the same end. Start {run} as a new run with a lower learning rate, then"
    " run the stages after it as a new plan that goes on from that run."
)
_OF_THE_FIRST = ("pruned", "own_teacher", "cold_start")  # findings that later stages have not


class PlanRow(Record):
    """One training of a plan."""

    number: int = Field(description="From 1.")
    run: str = Field(description="Its run's name.")
    method: str = Field(description="sft, dpo, ...")
    settings: dict[str, Any] = Field(description="What sets it apart from the others.")
    state: str = Field(description="The run's state; 'waiting' before it exists.")
    metrics: dict[str, Any] = Field(default_factory=dict, description="Figures so far.")
    error: str = Field(default="", description="Why it failed.")
    is_best: bool = Field(default=False, description="Of a grid, by its measure.")


class PlanView(Record):
    """A plan, its runs, and what they are compared by."""

    plan: Plan = Field(description="As started.")
    state: JobState = Field(description="Of its job.")
    error: str = Field(default="", description="Why it stands still.")
    rows: list[PlanRow] = Field(description="In order.")
    measure: Measure | None = Field(default=None, description="Grid: what is compared.")
    kl_label: str = Field(description="What the held-out distance to the teacher is called.")


class PlansService(Service):
    """Stages and grids of trainings."""

    word = "plans"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._starting = threading.Lock()
        workspace.jobs.register("plan", self._run, lane="flow")

    # -- operations -----------------------------------------------------------------------

    def check(self, actor: Actor, stages: list[TrainSpec]) -> list[list[Finding]]:
        """Pre-flight of each stage, before anything starts."""
        actor.require(Role.VIEWER)
        found = []
        for index, stage in enumerate(stage_specs("plan", stages)):
            start = {name: getattr(stages[0], name) for name in ("student", *PRUNING)}
            findings = self.workspace.distill.preflight(actor, stage.model_copy(update=start))
            found.append([f for f in findings if not index or f.code not in _OF_THE_FIRST])
        return found

    def stages(self, actor: Actor, name: str, stages: list[TrainSpec]) -> PlanView:
        """Train in stages, each going on from the student of the one before.

        The first stage chooses the student; `student` of the others is not read.
        """
        actor.require(Role.REVIEWER)
        for number, findings in enumerate(self.check(actor, stages), 1):
            _refuse(findings, f"Stage {number}: ")
        specs = stage_specs(name, stages)
        return self._start(actor, name, PlanKind.STAGES, specs, {})

    def sweep(
        self, actor: Actor, name: str, spec: TrainSpec, grid: dict[str, list[float]]
    ) -> PlanView:
        """Train once for each combination of the grid's values, one after the other.

        All of them are checked before the first begins; one that cannot work is refused by name.
        Fields of a grid: learning_rate, alpha, beta, temperature, feature_weight, sft_weight,
        lora_r, max_steps, seed.
        """
        actor.require(Role.REVIEWER)
        specs = grid_specs(name, spec, grid)
        for number, one in enumerate(specs, 1):
            values = ", ".join(f"{field} {getattr(one, field):.12g}" for field in grid)
            who = f"Combination {number} of {len(specs)} ({values}): "
            _refuse(self.workspace.distill.preflight(actor, one), who)
        return self._start(actor, name, PlanKind.GRID, specs, grid)

    def page(self, actor: Actor, after: str = "", limit: int = 50) -> list[PlanView]:
        """Plans, newest first, from the id `after` on."""
        actor.require(Role.VIEWER)
        found = table.page(self.db, after=after, limit=max(1, min(limit, 200)))
        return [self._view(plan) for plan in found]

    def get(self, actor: Actor, name: str) -> PlanView:
        """One plan with its table of runs."""
        actor.require(Role.VIEWER)
        return self._view(self._get(name))

    def stop(self, actor: Actor, name: str) -> PlanView:
        """Stop the run that trains now at a checkpoint, and begin no other."""
        actor.require(Role.REVIEWER)
        view = self.get(actor, name)
        if not view.state.is_active:
            raise Conflict(f"The plan '{name}' does not run: it is {view.state.value}.")
        self.workspace.jobs.cancel(actor, view.plan.job_id)
        return self.get(actor, name)

    def resume(self, actor: Actor, name: str) -> PlanView:
        """Go on: within the stage that was stopped or failed, then with those after it."""
        actor.require(Role.REVIEWER)
        view = self.get(actor, name)
        if view.state.is_active:
            raise Conflict(f"The plan '{name}' runs already.")
        if view.state is JobState.DONE and all(row.state == "done" for row in view.rows):
            raise Conflict(f"The plan '{name}' is done.")
        if view.plan.job_id:
            self.workspace.jobs.resume(actor, view.plan.job_id)
        else:  # a crash came between the plan and its job
            self._submit(actor, view.plan)
        return self.get(actor, name)

    def delete(self, actor: Actor, name: str) -> None:
        """Forget a plan; its runs and their students stay."""
        actor.require(Role.OWNER)
        if self.get(actor, name).state.is_active:
            raise Conflict(f"The plan '{name}' still runs.", "Stop it first.")
        table.delete(self.db, name)

    # -- the job --------------------------------------------------------------------------

    def _run(self, context: JobContext) -> dict[str, Any]:
        plan = self._get(str(context.params["plan"]))
        failed: dict[str, str] = {}
        for index, values in enumerate(plan.specs):
            name = plan.run_name(index)
            context.progress(index, len(plan.specs), f"Training {name}.")
            error = self._trained(context, name, TrainSpec(**values))
            if not error:
                continue
            if plan.kind is PlanKind.STAGES:
                hint = _ANOTHER_PLAN.format(run=name) if is_diverged(error) else _RESUME
                raise Unavailable(f"Stage {index + 1} ({name}) failed: {error}", hint)
            context.log(f"{name} failed: {error}")
            failed[name] = error
        context.progress(len(plan.specs), len(plan.specs), "")
        return {"runs": len(plan.specs), "failed": list(failed), "errors": failed}

    def _trained(self, context: JobContext, name: str, spec: TrainSpec) -> str:
        """Train one run to its end; returns why it failed, '' where it did not.

        Raises:
            Cancelled: It was stopped, or the plan.
        """
        try:
            self._begin(context, name, spec)
        except Cancelled:
            raise
        except StudioError as err:  # it was checked with the plan, but things change
            return str(err)
        run = self._wait(context, name)
        if run.state is RunState.STOPPED:
            raise Cancelled(f"{name} was stopped.")
        return "" if run.state is RunState.DONE else run.error or "It did not say why."

    def _begin(self, context: JobContext, name: str, spec: TrainSpec) -> None:
        """Start a run, or have it go on where it stopped; one that trains or is done is left."""
        if context.cancel.is_cancelled:
            raise Cancelled("Stopped before the next run.")
        run = runs.get(self.db, name)
        distill = self.workspace.distill
        if run is None:
            distill.start(context.actor, spec)
        elif distill.get(context.actor, name).state in _ENDED:
            distill.resume(context.actor, name)

    def _wait(self, context: JobContext, name: str) -> Run:
        distill = self.workspace.distill
        has_asked = False
        while True:
            run = distill.get(context.actor, name)
            if run.state in (*_ENDED, RunState.DONE):
                return run
            if context.cancel.is_cancelled and self.workspace.jobs.is_shutting_down:
                raise Cancelled("The app closes; the training goes on by itself.")
            if context.cancel.is_cancelled and not has_asked:
                has_asked = True
                with contextlib.suppress(Conflict):  # it ended by itself just now
                    distill.stop(context.actor, name)
            threading.Event().wait(_POLL_S)

    # -- inside ---------------------------------------------------------------------------

    def _start(
        self,
        actor: Actor,
        name: str,
        kind: PlanKind,
        specs: list[TrainSpec],
        grid: dict[str, list[float]],
    ) -> PlanView:
        with self._starting:
            self._check_name(name, len(specs))
            plan = Plan(
                name=name,
                kind=kind,
                specs=[spec.model_dump(mode="json", exclude_none=True) for spec in specs],
                grid=grid,
                user=actor.user,
            )
            table.insert(self.db, plan)
            self._submit(actor, plan)
        return self.get(actor, name)

    def _submit(self, actor: Actor, plan: Plan) -> None:
        what = "stages" if plan.kind is PlanKind.STAGES else "runs"
        title = f"Train {plan.name} ({len(plan.specs)} {what})"
        job = self.workspace.jobs.submit(actor, "plan", title, {"plan": plan.name})
        table.set_job(self.db, plan.name, job.id)

    def _check_name(self, name: str, count: int) -> None:
        if not _NAME.match(name):
            raise InvalidInput(
                f"'{name}' cannot name a plan." if name else "The plan has no name yet.",
                "Use up to 50 small letters, digits, '.', '-' and '_', beginning with a letter or"
                " digit.",
            )
        if table.get(self.db, name) is not None:
            raise Conflict(f"There is a plan '{name}' already.", "Choose another name.")
        taken = [n for k in range(count) if runs.get(self.db, n := f"{name}-{k + 1}")]
        if taken:
            raise Conflict(f"There is a run '{taken[0]}' already.", "Choose another name.")

    def _get(self, name: str) -> Plan:
        plan = table.get(self.db, name)
        if plan is None:
            raise NotFound(f"There is no plan '{name}' in this workspace.")
        return plan

    def _view(self, plan: Plan) -> PlanView:
        viewer = Actor(user="app", role=Role.VIEWER)
        job = self.workspace.jobs.get(viewer, plan.job_id) if plan.job_id else None
        rows = [self._row(plan, index, values) for index, values in enumerate(plan.specs)]
        if job and not job.state.is_active:
            rows = _with_errors(rows, job.result.get("errors", {}))
        measure, kl_label = None, kl_label_of([v for v in plan.specs if v.get("teacher")])
        if plan.kind is PlanKind.GRID:
            measure = measure_of(rows[0].method, list(plan.grid), kl_label)
        if measure is not None:
            metric = measure.metric
            figures = [r.metrics.get(metric) if r.state == "done" else None for r in rows]
            best = rank(figures, measure.is_better_low)
            rows = [r.model_copy(update={"is_best": i == best}) for i, r in enumerate(rows)]
        return PlanView(
            plan=plan,
            state=job.state if job else JobState.CANCELLED,
            error=job.error if job else "",
            rows=rows,
            measure=measure,
            kl_label=kl_label,
        )

    def _row(self, plan: Plan, index: int, values: dict[str, Any]) -> PlanRow:
        name = plan.run_name(index)
        run = runs.get(self.db, name)
        if plan.kind is PlanKind.GRID:
            settings = {field: values[field] for field in plan.grid}
        else:
            settings = {
                "method": METHOD_LABELS[values.get("method", "sft")],
                "snapshot": values["snapshot"],
            }
        return PlanRow(
            number=index + 1,
            run=name,
            method=values.get("method", "sft"),
            settings=settings,
            state=run.state.value if run else "waiting",
            metrics=run.metrics if run else {},
            error=run.error if run else "",
        )


def _with_errors(rows: list[PlanRow], errors: dict[str, str]) -> list[PlanRow]:
    """The rows; one that could not even begin, of which there is no run, says why."""
    return [
        row.model_copy(update={"state": "failed", "error": errors[row.run]})
        if row.state == "waiting" and row.run in errors
        else row
        for row in rows
    ]


def _refuse(findings: list[Finding], who: str) -> None:
    for finding in findings:
        if finding.level == "error":
            raise InvalidInput(f"{who}{finding.message}", finding.hint)
