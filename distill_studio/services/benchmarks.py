"""Public benchmarks: models on tasks of lm-evaluation-harness, as jobs, with results that stay.

Start at `BenchmarksService.run`; `table` puts the models beside each other.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from distill_studio.core.records import Job, JobState, Record, RunState, TeacherConfig, TeacherKind
from distill_studio.core.records.benchmark import (
    BenchmarkRun,
    BenchmarkScore,
    BenchmarkSettings,
    ServerApi,
)
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.evaluate.harness import command as commands
from distill_studio.evaluate.harness.catalogue import KNOWN, KnownTask, refuse_code
from distill_studio.evaluate.harness.scoreboard import Scoreboard, main_figure, scoreboard
from distill_studio.evaluate.harness.task_files import DATA_ENDINGS, TASK_ENDINGS, read_task
from distill_studio.services.base import Service
from distill_studio.services.benchmark_work import BenchmarkJobs
from distill_studio.store import benchmarks as table
from distill_studio.store import jobs
from distill_studio.teachers.vllm_server import tail

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

LOCAL_KIND, SERVER_KIND = "benchmark", "benchmark_server"
KINDS = (LOCAL_KIND, SERVER_KIND)
MOST_MODELS, MOST_TASKS = 8, 20
_MOST_FILES, _MOST_RUNS = 200, 100
_DEFAULTS = BenchmarkSettings()


class Way(Record):
    """A way of asking that has results."""

    key: str = Field(description="For `table`.")
    settings: BenchmarkSettings = Field(description="How.")
    tasks: list[str] = Field(description="Of the newest run.")
    models: int = Field(description="How many were asked so.")


class BenchmarksService(Service):
    """Run public benchmarks and keep what came of them."""

    word = "benchmarks"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._work = BenchmarkJobs(workspace)
        workspace.jobs.register(LOCAL_KIND, self._work.run, lane="compute")
        workspace.jobs.register(SERVER_KIND, self._work.run, lane="io")

    # -- tasks ----------------------------------------------------------------------------

    def missing(self, actor: Actor) -> str:
        """What is missing before any can run, with the way out; '' for nothing."""
        actor.require(Role.VIEWER)
        try:
            commands.interpreter(self.workspace.studio.settings.lm_eval_python)
        except Unavailable as err:
            return str(err)
        return ""

    def tasks(self, actor: Actor) -> list[KnownTask]:
        """This workspace's own tasks, then the well-known ones; other names work as well."""
        actor.require(Role.VIEWER)
        return [*(_own(name) for name in sorted(self._own_tasks())), *KNOWN]

    def add_tasks(self, actor: Actor, upload_ids: list[str]) -> list[KnownTask]:
        """Add tasks of one's own: YAML files of the harness, and the files with their rows.

        Returns:
            The tasks that were added.

        Raises:
            InvalidInput: A file is no task, runs Python, or reads elsewhere; says which.
            Conflict: Another file has the name.
        """
        actor.require(Role.OWNER)
        given = [self.workspace.studio.uploads.path(upload_id) for upload_id in upload_ids]
        folder = self._work.tasks_folder
        folder.mkdir(parents=True, exist_ok=True)
        odd = [p.name for p in given if p.suffix.lower() not in (*TASK_ENDINGS, *DATA_ENDINGS)]
        if odd or not 1 <= len(given) <= _MOST_FILES:
            raise InvalidInput(
                f"{odd[0]} is neither a task nor its rows." if odd else "Choose task files first.",
                f"Tasks end in {', '.join(TASK_ENDINGS)}, rows in {', '.join(DATA_ENDINGS)}.",
            )
        data = {p.name for p in (*folder.iterdir(), *given) if p.suffix.lower() in DATA_ENDINGS}
        yamls = [p for p in given if p.suffix.lower() in TASK_ENDINGS]
        names = {path.name: read_task(path, data) for path in yamls}
        self._refuse_taken(given, names)
        for path in given:
            shutil.copyfile(path, folder / path.name)
        return [_own(name) for name in names.values()]

    def delete_task(self, actor: Actor, name: str) -> None:
        """Forget a task of one's own and its rows; results stay."""
        actor.require(Role.OWNER)
        own = self._own_tasks()
        if name not in own:
            raise NotFound(f"There is no task '{name}' of your own.")
        own.pop(name).unlink()
        kept = "\n".join(path.read_text(encoding="utf-8") for path in own.values())
        for path in self._work.tasks_folder.iterdir():
            if path.suffix.lower() in DATA_ENDINGS and path.name not in kept:
                path.unlink()

    # -- runs -----------------------------------------------------------------------------

    def run(
        self,
        actor: Actor,
        models: list[str],
        tasks: list[str],
        settings: BenchmarkSettings = _DEFAULTS,
    ) -> list[Job]:
        """Ask models, each in a job of its own, all of them in the same way.

        Args:
            actor: Who asks.
            models: Ids as in `evaluate_models`, or labels.
            tasks: Names as in `benchmarks_tasks`, or any other of the harness.
            settings: How. A `limit` is for a test that all runs: the n is kept and shown.

        Raises:
            Unavailable: The harness is not installed; says how to.
            InvalidInput: A task or teacher that this cannot ask; says why.
        """
        actor.require(Role.REVIEWER)
        commands.interpreter(self.workspace.studio.settings.lm_eval_python)
        names = list(dict.fromkeys(task.strip() for task in tasks if task.strip()))
        if not 1 <= len(names) <= MOST_TASKS:
            raise InvalidInput(f"Choose 1 to {MOST_TASKS} tasks.")
        refuse_code(names)
        cards = [self.workspace.evaluate.comparable.card(actor, model) for model in models]
        if not 1 <= len(cards) <= MOST_MODELS or len({c.id for c in cards}) != len(cards):
            raise InvalidInput(f"Choose 1 to {MOST_MODELS} different models.")
        for card in cards:
            self._check(card, names, settings)
        return [self._submit(actor, card, tuple(names), settings) for card in cards]

    def page(
        self, actor: Actor, model: str = "", after: str = "", limit: int = 50
    ) -> list[BenchmarkRun]:
        """Runs, newest first, from the id `after` on; with `model` (a card's id) only its own."""
        actor.require(Role.VIEWER)
        found = table.page(self.db, model=model, after=after, limit=max(1, min(limit, 500)))
        return [self._reconciled(run) for run in found]

    def get(self, actor: Actor, run_id: str) -> BenchmarkRun:
        """One run, with versions and settings."""
        actor.require(Role.VIEWER)
        return self._get(run_id)

    def scores(self, actor: Actor, run_id: str) -> list[BenchmarkScore]:
        """All figures of a run, parts of groups as well."""
        actor.require(Role.VIEWER)
        return table.scores(self.db, self._get(run_id).id)

    def log(self, actor: Actor, run_id: str, lines: int = 60) -> str:
        """The last lines of what the harness printed."""
        actor.require(Role.VIEWER)
        folder = self._work.run_folder(self._get(run_id).id)
        return tail(folder / commands.LOG_FILE, max(1, min(lines, 1000)))

    def stop(self, actor: Actor, run_id: str) -> BenchmarkRun:
        """Stop a run; its answers stay, and it goes on when resumed."""
        actor.require(Role.REVIEWER)
        self.workspace.jobs.cancel(actor, self._job_of(self._get(run_id)))
        return self._get(run_id)

    def resume(self, actor: Actor, run_id: str) -> Job:
        """Go on with a stopped or failed run; only what has no answer is asked."""
        actor.require(Role.REVIEWER)
        run = self._get(run_id)
        if run.state is RunState.DONE:
            raise Conflict("This run is done.", "Ask anew to measure again.")
        return self.workspace.jobs.resume(actor, self._job_of(run))

    def delete(self, actor: Actor, run_id: str) -> None:
        """Forget a run with its scores and files."""
        actor.require(Role.OWNER)
        run = self._get(run_id)
        active = self.workspace.jobs.page(actor, kinds=list(KINDS), active=True, limit=500)
        if any(job.params["run_id"] == run.id for job in active):
            raise Conflict("This run is at work.", "Stop it first.")
        table.delete(self.db, run.id)
        shutil.rmtree(self._work.run_folder(run.id), ignore_errors=True)

    # -- results --------------------------------------------------------------------------

    def ways(self, actor: Actor) -> list[Way]:
        """Ways of asking that have results, the newest first; scores are compared within one."""
        actor.require(Role.VIEWER)
        return [
            Way(
                key=row["settings_key"],
                settings=BenchmarkSettings(**json.loads(row["settings"])),
                tasks=list(row["tasks"]),
                models=row["models"],
            )
            for row in table.settings_in_use(self.db)
        ]

    def table(self, actor: Actor, key: str = "") -> Scoreboard:
        """Models and tasks with standard errors and n, for one way of asking ('': the newest)."""
        actor.require(Role.VIEWER)
        ways = self.ways(actor)
        chosen = next((way for way in ways if key in ("", way.key)), None)
        if chosen is None:
            if key:
                raise NotFound("Nothing was scored in this way.", "See benchmarks_ways.")
            return Scoreboard()
        found = table.newest_of(self.db, chosen.key)
        runs = {run_id: table.get(self.db, run_id) for run_id in {one for one, _ in found}}
        cards = {run_id: run.model for run_id, run in runs.items() if run is not None}
        return scoreboard(chosen.settings, found, cards)

    # -- for other services ---------------------------------------------------------------

    def card_rows(self, model_id: str, since: datetime | None = None) -> dict[str, str]:
        """What a model card says of a model: the newest main figure per task, no smoke.

        Before `since` the name was another model's.
        """
        rows: dict[str, str] = {}
        for run in table.page(self.db, model=model_id, limit=_MOST_RUNS):
            if run.state is not RunState.DONE or run.settings.limit:
                continue
            if since is not None and run.created_at < since:
                continue
            by_task: dict[str, list[BenchmarkScore]] = {}
            for score in table.scores(self.db, run.id):
                if score.is_asked:
                    by_task.setdefault(score.task, []).append(score)
            lm_eval = run.facts.get("packages", {}).get("lm_eval", "")
            for task, scores in by_task.items():
                best = main_figure(scores)
                error = "" if best.stderr is None else f" ± {best.stderr:.4f}"
                rows.setdefault(
                    f"{task} ({best.metric}, lm-eval {lm_eval})",
                    f"{best.value:.4f}{error}, n = {best.n}, {best.shots} examples",
                )
        return rows

    # -- inside ---------------------------------------------------------------------------

    def _own_tasks(self) -> dict[str, Path]:
        """Name of each own task -> its file."""
        folder = self._work.tasks_folder
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        data = {path.name for path in files if path.suffix.lower() in DATA_ENDINGS}
        return {read_task(p, data): p for p in files if p.suffix.lower() in TASK_ENDINGS}

    def _refuse_taken(self, given: list[Path], names: dict[str, str]) -> None:
        """Raises Conflict: a task of that name is there, or another file of that name."""
        own = {name: path.name for name, path in self._own_tasks().items()}
        known = {task.name for task in KNOWN}
        for file, name in names.items():
            is_twice = list(names.values()).count(name) > 1
            if name in known or own.get(name, file) != file or is_twice:
                raise Conflict(f"A task '{name}' exists already.", "Give yours another name.")
        for path in given:
            there = self._work.tasks_folder / path.name
            if there.exists() and there.read_bytes() != path.read_bytes():
                raise Conflict(
                    f"Another file {path.name} is there already.",
                    "Forget its task first, or give this one another name.",
                )

    def _check(self, card: ModelCard, tasks: list[str], settings: BenchmarkSettings) -> None:
        """Raises InvalidInput for what a server cannot be asked."""
        teacher = self._server(card)
        if teacher is None:
            return
        commands.server_run(teacher, None, tasks, settings, own_tasks="")
        weighed = {task.name for task in KNOWN if task.needs == "likelihood"}
        if settings.api is ServerApi.CHAT and (unfit := [t for t in tasks if t in weighed]):
            raise InvalidInput(
                f"{unfit[0]} weighs how likely given answers are, and a chat server ({card.label})"
                " does not tell.",
                "Choose gsm8k or ifeval for it, or ask it by completions.",
            )

    def _server(self, card: ModelCard) -> TeacherConfig | None:
        """The teacher behind a URL that a card stands for."""
        if card.role is not ModelRole.TEACHER:
            return None
        teacher = self.workspace.teachers.config(card.id.partition(":")[2])
        return teacher if teacher.kind is TeacherKind.OPENAI else None

    def _submit(
        self, actor: Actor, card: ModelCard, tasks: tuple[str, ...], settings: BenchmarkSettings
    ) -> Job:
        run = BenchmarkRun(model=card, tasks=tasks, settings=settings, user=actor.user)
        table.insert(self.db, run)
        kind = LOCAL_KIND if self._server(card) is None else SERVER_KIND
        title = f"{card.label} on {', '.join(tasks)}"[:200]
        job = self.workspace.jobs.submit(actor, kind, title, {"run_id": run.id})
        table.update(self.db, run.id, job_id=job.id)
        return job

    def _get(self, run_id: str) -> BenchmarkRun:
        run = table.get(self.db, run_id)
        if run is None:
            raise NotFound(f"There is no benchmark run '{run_id}' in this workspace.")
        return self._reconciled(run)

    def _reconciled(self, run: BenchmarkRun) -> BenchmarkRun:
        """A run whose job ended before the harness began: stopped, or nothing to start it with."""
        job = jobs.get(self.db, run.job_id) if run.job_id else None
        ended = job is not None and job.state in (JobState.CANCELLED, JobState.FAILED)
        if job is None or not ended or run.state not in (RunState.QUEUED, RunState.RUNNING):
            return run
        state = RunState.STOPPED if job.state is JobState.CANCELLED else RunState.FAILED
        table.update(self.db, run.id, state=state, error=job.error, ended_at=job.ended_at)
        return table.get(self.db, run.id) or run

    def _job_of(self, run: BenchmarkRun) -> str:
        if not run.job_id:
            raise Conflict("This run has no job.", "Ask anew.")
        return run.job_id


def _own(name: str) -> KnownTask:
    return KnownTask(name=name, about="your own", is_own=True)
