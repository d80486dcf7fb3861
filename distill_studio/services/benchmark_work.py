"""The job behind a benchmark run: starts or adopts the harness's child, follows it to its end.

After a restart of the app the handler runs again: it finds the child by pid and start time and
goes on watching, or starts another, which asks only what has no answer yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_studio.core.errors import Cancelled, NotFound, Unavailable
from distill_studio.core.reach import Reach
from distill_studio.core.records import RunState, TeacherKind
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.benchmark import BenchmarkRun
from distill_studio.core.records.comparison import ModelRole
from distill_studio.evaluate.harness import command as commands
from distill_studio.evaluate.harness.results import read_events, read_results
from distill_studio.services import processes
from distill_studio.services.checkpoints import answering_folder
from distill_studio.services.jobs import JobContext
from distill_studio.services.processes import Child
from distill_studio.store import benchmarks as table
from distill_studio.teachers import probe
from distill_studio.teachers.vllm_server import last_error
from distill_studio.teachers.weights import base_folder

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

FOLDER, TASKS_FOLDER = "benchmarks", "tasks"
_POLL_S = 0.4
_STOP_GRACE_S = 10.0


class BenchmarkJobs:
    """Handler of benchmark jobs, whose parameter is the run's id."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._db = workspace.db
        self.folder = workspace.folder / FOLDER
        self.tasks_folder = self.folder / TASKS_FOLDER

    def run_folder(self, run_id: str) -> Path:
        """Where a run keeps its files."""
        return self.folder / "runs" / run_id

    def run(self, context: JobContext) -> dict[str, Any]:
        """Ask the model to the end; returns what was stored.

        Raises:
            Cancelled: Stopped on request, or the app closes (the child goes on then).
            Unavailable: The harness failed; says why and the way out.
        """
        run = table.get(self._db, str(context.params["run_id"]))
        if run is None:
            raise NotFound("This benchmark run is not there any more.")
        if run.state is RunState.DONE:
            return {"run_id": run.id}
        child = _living(run)
        if child is None and not (self.run_folder(run.id) / commands.RESULTS_FILE).exists():
            child = self._start(run, context)
            context.log(f"Started the harness, process {child.pid}.")
        table.update(self._db, run.id, state=RunState.RUNNING, error="", ended_at=None)
        if child is not None:
            self._follow(run, child, context)
        return self._conclude(run)

    # -- the child ------------------------------------------------------------------------

    def _start(self, run: BenchmarkRun, context: JobContext) -> Child:
        settings = self._workspace.studio.settings
        python = commands.interpreter(settings.lm_eval_python)
        context.progress(0, None, "Finding the model.")
        told, key = self._told(run)
        told = _within(told, self._workspace.teachers.reach)
        context.cancel.raise_if_cancelled()
        folder = self.run_folder(run.id)
        folder.mkdir(parents=True, exist_ok=True)
        self.tasks_folder.mkdir(parents=True, exist_ok=True)
        (folder / commands.EVENTS_FILE).unlink(missing_ok=True)
        (folder / commands.RUN_FILE).write_text(told.model_dump_json(indent=2), encoding="utf-8")
        child = processes.start(
            commands.worker_argv(python, folder),
            cwd=self.tasks_folder,  # where the data files of own tasks are found
            log=folder / commands.LOG_FILE,
            env=commands.environment(key),
        )
        table.update(
            self._db,
            run.id,
            pid=child.pid,
            pid_started=child.started,
            pid_mark=child.mark,
            job_id=context.job.id,
            facts={"device": told.device or "", "backend": told.backend},
        )
        return child

    def _told(self, run: BenchmarkRun) -> tuple[commands.HarnessRun, str]:
        """What the child is told, and the key that it gets by its environment."""
        role, _, name = run.model.id.partition(":")
        studio, tasks = self._workspace.studio, list(run.tasks)
        own = str(self.tasks_folder)
        if role == ModelRole.TEACHER:
            teacher = self._workspace.teachers.config(name)
            if teacher.kind is TeacherKind.OPENAI:
                here = studio.models.is_here(teacher.model)
                told = commands.server_run(
                    teacher,
                    studio.models.resolve(teacher.model) if here else None,
                    tasks,
                    run.settings,
                    own_tasks=own,
                )
                return told, self._workspace.teachers.key_of(name)
            folder = studio.models.resolve(teacher.model)
        elif role == ModelRole.BASE:
            folder = studio.models.resolve(run.model.model)
        else:
            folder = answering_folder(self._workspace, name)
        base = base_folder(folder, studio.settings.cache_folder)
        choice = probe.choose(studio.settings.cache_folder, studio.settings.device)
        told = commands.local_run(
            folder,
            None if base == folder else base,
            tasks,
            run.settings,
            device=choice.device,
            dtype=choice.dtype,
            own_tasks=own,
        )
        return told, ""

    def _follow(self, run: BenchmarkRun, child: Child, context: JobContext) -> None:
        """Until the child is gone."""
        events, offset = self.run_folder(run.id) / commands.EVENTS_FILE, 0
        while True:
            is_alive = processes.is_alive(child)
            new, offset = read_events(events, offset)
            for event in new:
                _report(event, context)
            if not is_alive:
                return
            if context.cancel.wait(_POLL_S):
                if self._workspace.jobs.is_shutting_down:
                    raise Cancelled("The app closes; the benchmark goes on by itself.")
                processes.stop_group(child, _STOP_GRACE_S)
                self._end(run, RunState.STOPPED)
                raise Cancelled("Stopped on request; what was answered stays.")

    # -- its end --------------------------------------------------------------------------

    def _conclude(self, run: BenchmarkRun) -> dict[str, Any]:
        folder = self.run_folder(run.id)
        results = folder / commands.RESULTS_FILE
        if not results.exists():
            raise self._failure(run, folder)
        scores, facts = read_results(results, run.tasks)
        known = table.get(self._db, run.id) or run
        with self._db.write():
            table.add_scores(self._db, run.id, scores)
            self._end(run, RunState.DONE, facts={**known.facts, **facts})
        for cache in folder.glob("answers*"):
            cache.unlink()
        return {"run_id": run.id, "figures": len(scores)}

    def _failure(self, run: BenchmarkRun, folder: Path) -> Unavailable:
        events, _ = read_events(folder / commands.EVENTS_FILE)
        last = next((one for one in reversed(events) if one["kind"] == "failed"), None)
        message = f"The harness ended without a last word. {last_error(folder / commands.LOG_FILE)}"
        hint = "It was killed, or memory ran out. Its log says more; resumed, it goes on."
        if last is not None:
            message, hint = last["message"], last["hint"]
        self._end(run, RunState.FAILED, error=f"{message} {hint}".strip())
        return Unavailable(message.strip(), hint)

    def _end(self, run: BenchmarkRun, state: RunState, **fields: Any) -> None:  # noqa: ANN401
        table.update(self._db, run.id, state=state, ended_at=utc_now(), **fields)


def _within(told: commands.HarnessRun, reach: Reach) -> commands.HarnessRun:
    """The same run, told where it may connect to."""
    if reach.is_open:
        return told
    return told.model_copy(
        update={
            "is_guarded": True,
            "allow_hosts": list(reach.allowed),
            "own_ports": sorted(reach.own_ports()),
        }
    )


def _living(run: BenchmarkRun) -> Child | None:
    if run.pid is None or run.pid_started is None:
        return None
    child = Child(pid=run.pid, started=run.pid_started, mark=run.pid_mark)
    return child if processes.is_alive(child) else None


def _report(event: dict[str, Any], context: JobContext) -> None:
    if event["kind"] == "progress":
        context.progress(event["done"], event["total"], event["message"])
    elif event["kind"] == "note":
        context.progress(0, None, event["message"])
