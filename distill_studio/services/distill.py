"""Distill: train the student on a snapshot, in a process of its own, in `<workspace>/runs/`."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records import JobState, Run, RunState
from distill_studio.core.records.base import utc_now
from distill_studio.distill import command as commands
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import DataConfig, DpoRun, SftRun, StudentConfig, TrainSpec
from distill_studio.distill.curve import Curve, curve
from distill_studio.distill.data import count_rows, iter_rows
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.distill.package import PackageKind, pack
from distill_studio.distill.preflight import Finding, Report, check, refuse
from distill_studio.distill.presets import PRESETS, Preset, build_config
from distill_studio.distill.students import RUN_PREFIX, StudentChoice, student_choices
from distill_studio.distill.token_view import TokenRow, token_view
from distill_studio.services.base import Service
from distill_studio.services.processes import Child, is_alive
from distill_studio.services.training import TrainingJobs
from distill_studio.store import runs as table
from distill_studio.teachers.models import list_models

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,59}$")
_RESUMABLE = (RunState.STOPPED, RunState.FAILED, RunState.LOST)
_UNFIT = re.compile(r"[^a-z0-9._-]+")
_LOG_BYTES = 200_000


class DistillService(Service):
    """Distill: presets, checks before the start, runs and what they make."""

    word = "distill"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._folder = workspace.folder / "runs"
        self._starting = threading.Lock()
        training = TrainingJobs(self.db, self._folder, workspace.jobs)
        workspace.jobs.register("train", training.run, lane="compute")

    # -- before a run ---------------------------------------------------------------------

    def presets(self, actor: Actor) -> list[Preset]:
        """Starting points per method."""
        actor.require(Role.VIEWER)
        return [preset for by_name in PRESETS.values() for preset in by_name.values()]

    def students(self, actor: Actor) -> list[StudentChoice]:
        """Models that can be trained: those on this machine, and finished runs."""
        actor.require(Role.VIEWER)
        done = [run for run in table.page(self.db, limit=200) if run.state is RunState.DONE]
        known = self._known_models()
        return student_choices(known, [(run.name, self._folder / run.name) for run in done])

    def preflight(self, actor: Actor, spec: TrainSpec) -> list[Finding]:
        """What would refuse, surprise or take time, before anything starts."""
        actor.require(Role.VIEWER)
        return self._check(self._config(actor, spec, spec.name or "preflight")).findings

    def tokens(
        self,
        actor: Actor,
        snapshot: str,
        index: int = 0,
        spec: TrainSpec | None = None,
        split: Literal["train", "validation"] = "train",
    ) -> list[TokenRow]:
        """What the student will see of one row, token by token, and what of it is learned."""
        actor.require(Role.VIEWER)
        wanted = (spec or TrainSpec(snapshot=snapshot)).model_copy(update={"snapshot": snapshot})
        config = self._config(actor, wanted, "preview")
        rows = list(iter_rows(Path(config.data.folder), split, max(0, index) + 1))
        if len(rows) <= max(0, index):
            raise NotFound(
                f"The snapshot has no row {index} in {split}.",
                f"It has {count_rows(Path(config.data.folder), split)} rows, counted from 0.",
            )
        tokenizer = ChatTokenizer.load(Path(config.student.base_folder))
        return token_view(tokenizer, config, rows[-1])

    # -- runs -----------------------------------------------------------------------------

    def start(self, actor: Actor, spec: TrainSpec) -> Run:
        """Check, write `run.json` and queue the training.

        Raises:
            InvalidInput: What cannot work, with the way out.
            Conflict: There is a run of that name.
        """
        actor.require(Role.REVIEWER)
        with self._starting:
            name = self._free_name(spec)
            config = self._config(actor, spec, name)
            refuse(self._check(config))
            folder = self._folder / name
            folder.mkdir(parents=True)
            (folder / commands.CONFIG_FILE).write_text(
                config.model_dump_json(indent=2) + "\n", encoding="utf-8"
            )
            run = Run(
                name=name,
                method=config.method,
                snapshot_id=self._snapshot_id(actor, spec.snapshot),
                config=config.model_dump(mode="json"),
                user=actor.user,
            )
            table.insert(self.db, run)
            self._submit(actor, name, config.method)
        return self.get(actor, name)

    def page(self, actor: Actor, after: str = "", limit: int = 50) -> list[Run]:
        """Runs, newest first, from the id `after` on."""
        actor.require(Role.VIEWER)
        found = table.page(self.db, after=after, limit=max(1, min(limit, 500)))
        return [self._reconciled(run) for run in found]

    def get(self, actor: Actor, name: str) -> Run:
        """One run."""
        actor.require(Role.VIEWER)
        return self._get(name)

    def events(self, actor: Actor, name: str, after_line: int = 0) -> list[dict[str, Any]]:
        """Events of a run from the line `after_line` on, oldest first."""
        actor.require(Role.VIEWER)
        self._get(name)
        events, _ = read_events(self._folder / name / EVENTS_FILE)
        return [event.model_dump(mode="json") for event in events[max(0, after_line) :]]

    def curve(self, actor: Actor, name: str) -> Curve:
        """Loss, learning rate, gradient norm and margin, at most 500 points each."""
        actor.require(Role.VIEWER)
        self._get(name)
        return curve(read_events(self._folder / name / EVENTS_FILE)[0])

    def log(self, actor: Actor, name: str, tail: int = 200) -> str:
        """The last lines of what the worker printed."""
        actor.require(Role.VIEWER)
        self._get(name)
        path = self._folder / name / commands.LOG_FILE
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-max(1, tail) :])

    def command(self, actor: Actor, name: str) -> str:
        """The exact command of a run; it works when typed."""
        actor.require(Role.VIEWER)
        self._get(name)
        return commands.shell_command(self._folder / name)

    def stop(self, actor: Actor, name: str) -> Run:
        """Ask a run to save a checkpoint after this update and stop."""
        actor.require(Role.REVIEWER)
        run = self._get(name)
        if run.state not in (RunState.QUEUED, RunState.RUNNING):
            raise Conflict(f"The run '{name}' does not run: it is {run.state.value}.")
        self.workspace.jobs.cancel(actor, run.job_id)
        return self._get(name)

    def resume(self, actor: Actor, name: str) -> Run:
        """Go on from the last checkpoint."""
        actor.require(Role.REVIEWER)
        run = self._get(name)
        if run.state not in _RESUMABLE:
            raise Conflict(f"The run '{name}' cannot resume: it is {run.state.value}.")
        table.update(self.db, name, state=RunState.QUEUED, error="", ended_at=None)
        self._submit(actor, name, run.method)
        return self._get(name)

    def delete(self, actor: Actor, name: str) -> str:
        """Move a run to the trash folder; returns its new place within the data folder."""
        actor.require(Role.OWNER)
        run = self._get(name)
        if run.state in (RunState.QUEUED, RunState.RUNNING):
            raise Conflict(f"The run '{name}' still runs.", "Stop it first.")
        target = self._trash_path(name)
        self.workspace.studio.models.forget(self._folder / name)
        if (self._folder / name).exists():
            shutil.move(self._folder / name, target)
        table.delete(self.db, name)
        return str(target.relative_to(self.workspace.studio.home))

    def package(self, actor: Actor, name: str, kind: PackageKind = "merged") -> str:
        """Zip a trained student into `exports/`; returns the file's name there."""
        actor.require(Role.VIEWER)
        run = self._get(name)
        if run.state is not RunState.DONE:
            raise Conflict(f"The run '{name}' has no student yet: it is {run.state.value}.")
        return pack(self._folder / name, run, kind, self.workspace.folder / "exports").name

    # -- for other services and the page --------------------------------------------------

    def follow(self, name: str) -> tuple[Curve, list[Any]]:
        """A run's curve and its events as records, read once."""
        events, _ = read_events(self._folder / self._get(name).name / EVENTS_FILE)
        return curve(events), events

    def student_folder(self, name: str) -> Path:
        """The folder of a finished run's whole model.

        Raises:
            NotFound: No such run, or it has not finished.
        """
        folder = self._folder / self._get(name).name / "model"
        if not (folder / "config.json").exists():
            raise NotFound(f"The run '{name}' has no student.", "Wait until it is done.")
        return folder

    # -- inside ---------------------------------------------------------------------------

    def _get(self, name: str) -> Run:
        run = table.get(self.db, name)
        if run is None:
            raise NotFound(f"There is no run '{name}' in this workspace.")
        return self._reconciled(run)

    def _reconciled(self, run: Run) -> Run:
        """A run whose job ended without saying so: stopped before it began, or lost."""
        if run.state not in (RunState.QUEUED, RunState.RUNNING) or not run.job_id:
            return run
        jobs = self.workspace.jobs
        job = jobs.get(Actor(user="app", role=Role.VIEWER), run.job_id)
        if job.state not in (JobState.CANCELLED, JobState.FAILED):
            return run
        state = RunState.STOPPED if run.state is RunState.QUEUED else RunState.LOST
        if state is RunState.LOST and self._has_child(run):
            return run
        run = table.get(self.db, run.name) or run  # the job may have ended it just now
        if run.state not in (RunState.QUEUED, RunState.RUNNING):
            return run
        table.update(self.db, run.name, state=state, ended_at=utc_now())
        return run.model_copy(update={"state": state})

    @staticmethod
    def _has_child(run: Run) -> bool:
        if run.pid is None or run.pid_started is None:
            return False
        return is_alive(Child(pid=run.pid, started=run.pid_started))

    def _submit(self, actor: Actor, name: str, method: str) -> None:
        title = f"Train {name} ({method.upper()})"
        job = self.workspace.jobs.submit(actor, "train", title, {"run": name})
        table.update(self.db, name, job_id=job.id)

    def _check(self, config: SftRun | DpoRun) -> Report:
        return check(
            config,
            measured_tokens_per_s=self._measured_speed(config),
            memory_total_gib=psutil.virtual_memory().total / 2**30,
            disk_folder=self._folder,
        )

    def _measured_speed(self, config: SftRun | DpoRun) -> float | None:
        """Tokens a second of the newest finished run of the same student and kind."""
        student = config.student.model_dump(mode="json", include={"base_id", "keep_layers"})
        for run in table.page(self.db, limit=50):
            other = run.config.get("student", {})
            is_alike = all(other.get(key) == value for key, value in student.items())
            has_lora = (run.config.get("lora") is None) == (config.lora is None)
            if run.state is RunState.DONE and is_alike and has_lora:
                speed = run.metrics.get("tokens_per_s")
                if speed and run.method == config.method:
                    return float(speed)
        return None

    def _config(self, actor: Actor, spec: TrainSpec, name: str) -> SftRun | DpoRun:
        folder = self.workspace.freeze.folder(spec.snapshot)
        snapshot = self.workspace.freeze.get(actor, spec.snapshot)
        data = DataConfig(
            folder=str(folder.resolve()),
            name=spec.snapshot,
            format=snapshot.format,
            content_hash=snapshot.content_hash,
        )
        student = StudentConfig(
            base_folder=str(self._resolve(spec.student).resolve()),
            base_id=spec.student,
            keep_layers=spec.keep_layers,
        )
        device = self.workspace.studio.settings.device
        return build_config(spec, name, student, data, device)

    def _resolve(self, student: str) -> Path:
        if student.startswith(RUN_PREFIX):
            return self.student_folder(student.removeprefix(RUN_PREFIX))
        return self.workspace.studio.models.resolve(student)

    def _snapshot_id(self, actor: Actor, name: str) -> str:
        return self.workspace.freeze.get(actor, name).id

    def _known_models(self) -> list[dict[str, Any]]:
        models = list_models(self.workspace.studio.settings.cache_folder)
        return [m for m in models if m["use"] == "chat" and m["is_present"]]

    def _free_name(self, spec: TrainSpec) -> str:
        if spec.name:
            if not _NAME.match(spec.name):
                raise InvalidInput(
                    f"'{spec.name}' cannot name a run.",
                    "Use up to 60 small letters, digits, '.', '-' and '_', beginning with a"
                    " letter or digit.",
                )
            if table.get(self.db, spec.name) is not None:
                raise Conflict(f"There is a run '{spec.name}' already.", "Choose another name.")
            if (self._folder / spec.name).exists():  # a crash left it before the run was stored
                shutil.move(self._folder / spec.name, self._trash_path(spec.name))
            return spec.name
        stem = _UNFIT.sub("-", f"{spec.method}-{spec.snapshot}".lower())[:50].strip("-.")
        number = 1
        while self._is_taken(f"{stem}-{number}"):
            number += 1
        return f"{stem}-{number}"

    def _trash_path(self, name: str) -> Path:
        trash = self.workspace.studio.home / "trash"
        trash.mkdir(parents=True, exist_ok=True)
        return trash / f"run-{self.workspace.name}-{name}-{utc_now():%Y%m%d-%H%M%S}"

    def _is_taken(self, name: str) -> bool:
        return table.get(self.db, name) is not None or (self._folder / name).exists()
