"""Distill: train the student on a snapshot, in a process of its own, in `<workspace>/runs/`."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records import JobState, Run, RunState
from distill_studio.core.records.base import utc_now
from distill_studio.distill import command as commands
from distill_studio.distill.card import PackageKind, card_files, model_card
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import (
    RunConfig,
    load_config,
)
from distill_studio.distill.curve import Curve, curve
from distill_studio.distill.data import count_rows, iter_rows
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.distill.findings import Finding
from distill_studio.distill.package import model_files, pack
from distill_studio.distill.preflight import refuse
from distill_studio.distill.presets import PRESETS, Preset, lighter_config
from distill_studio.distill.spec import TrainSpec
from distill_studio.distill.students import (
    StudentChoice,
)
from distill_studio.distill.token_view import TokenRow, token_view
from distill_studio.services import origins, remote_state
from distill_studio.services.base import Service
from distill_studio.services.distill_servers import (
    worker_key,
)
from distill_studio.services.hub_tokens import for_job
from distill_studio.services.model_facts import model_facts
from distill_studio.services.remote_state import REMOTE_FILE, REMOTE_KIND
from distill_studio.services.run_choices import RunChoices
from distill_studio.services.run_worker import is_locked, living_worker, stored_child
from distill_studio.services.training import TrainingJobs
from distill_studio.services.training_needs import refuse_needed, require_folders
from distill_studio.store import runs as table

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,59}$")
_RESUMABLE = (RunState.STOPPED, RunState.FAILED, RunState.LOST)
_UNFIT = re.compile(r"[^a-z0-9._-]+")
_LOG_BYTES = 200_000
_NONE: Mapping[str, str] = {}


class DistillService(Service):
    """Distill: presets, checks before the start, runs and what they make."""

    word = "distill"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._folder = workspace.folder / "runs"
        self._choices = RunChoices(workspace)
        self._starting = threading.Lock()
        training = TrainingJobs(
            self.db, self._folder, workspace.jobs, key_of=lambda run: worker_key(workspace, run)
        )
        workspace.jobs.register("train", training.run, lane="compute")

    # -- before a run ---------------------------------------------------------------------

    def presets(self, actor: Actor) -> list[Preset]:
        """Starting points per method."""
        actor.require(Role.VIEWER)
        return [preset for by_name in PRESETS.values() for preset in by_name.values()]

    def students(self, actor: Actor) -> list[StudentChoice]:
        """Models that can be trained: those on this machine, and finished runs."""
        actor.require(Role.VIEWER)
        return self._choices.students()

    def teachers(self, actor: Actor) -> list[StudentChoice]:
        """Models that can be followed: those that can be trained, and teachers behind servers."""
        actor.require(Role.VIEWER)
        return self._choices.teachers(actor)

    def preflight(self, actor: Actor, spec: TrainSpec) -> list[Finding]:
        """What would refuse, surprise or take time, before anything starts."""
        actor.require(Role.VIEWER)
        config = self._choices.config(actor, spec, spec.name or "preflight")
        return self._choices.check(config).findings

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
        config = self._choices.config(actor, wanted, "preview")
        rows = iter_rows(Path(config.data.folder), split, max(0, index) + 1)
        row = next(islice(rows, max(0, index), None), None)
        if row is None:
            raise NotFound(
                f"The snapshot has no row {index} in {split}.",
                f"It has {count_rows(Path(config.data.folder), split)} rows, counted from 0.",
            )
        tokenizer = ChatTokenizer.load(Path(config.student.base_folder))
        return token_view(tokenizer, config, row)

    # -- runs -----------------------------------------------------------------------------

    def start(self, actor: Actor, spec: TrainSpec) -> Run:
        """Check, write `run.json` and queue the training.

        Raises:
            InvalidInput: What cannot work, with the way out.
            Conflict: There is a run of that name.
        """
        actor.require(Role.REVIEWER)
        config = self.config_of(actor, spec)
        refuse(self._choices.check(config))
        return self.enter(actor, spec, config)

    def page(self, actor: Actor, after: str = "", limit: int = 50) -> list[Run]:
        """Runs, newest first, from the id `after` on."""
        actor.require(Role.VIEWER)
        found = table.page(self.db, after=after, limit=max(1, min(limit, 1000)))
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

    def command(self, actor: Actor, name: str, several: bool = False) -> str:
        """The exact command of a run; it works when typed.

        With `several`, how it is trained on several GPUs or hosts, as commented lines.
        """
        actor.require(Role.VIEWER)
        self._get(name)
        if several:
            return commands.several_commands(self._folder / name)
        return commands.shell_command(self._folder / name)

    def stop(self, actor: Actor, name: str) -> Run:
        """Ask a run to save a checkpoint after this update and stop."""
        actor.require(Role.REVIEWER)
        run = self._get(name)
        if run.state not in (RunState.QUEUED, RunState.RUNNING):
            if not remote_state.may_run(self._folder / name):
                raise Conflict(f"The run '{name}' does not run: it is {run.state.value}.")
            run = self.look_after(actor, run, is_stop=True)
        self.workspace.jobs.cancel(actor, run.job_id)
        return self._get(name)

    def resume(self, actor: Actor, name: str, lighter: bool = False) -> Run:
        """Go on from the last checkpoint.

        With `lighter`, an update reads smaller batches in more passes: the same rows and, but for
        KTO, which compares the rows of a batch, the same gradient in about half the memory.

        Raises:
            Conflict: It runs, is done, or its batch is one row already.
            InvalidInput: It trains as a Job, and its machine is not there any more.
        """
        actor.require(Role.REVIEWER)
        is_at_rest = self._get(name).state in _RESUMABLE
        terms = self.workspace.remote.terms(actor, name) if is_at_rest else {}
        return self.go_on(actor, name, terms, lighter)

    def go_on(
        self, actor_: Actor, name: str, changed: Mapping[str, Any], lighter: bool = False
    ) -> Run:
        """`resume`; `changed` is of a run on another machine, see `remote_state.ask_again`."""
        folder, actor = self._folder / name, actor_
        is_there = (folder / REMOTE_FILE).exists()
        if is_there:
            actor.require(Role.OWNER)  # it is paid with the owner's token
        with self._starting:
            run = self._get(name)
            if run.state not in _RESUMABLE:
                raise Conflict(f"The run '{name}' cannot resume: it is {run.state.value}.")
            require_folders(run.config)
            if lighter:
                self._make_lighter(name)
            if is_there:
                remote_state.ask_again(folder, changed)
            with self.db.write():
                job_id = self._submit(actor, name, run.method)
                table.update(
                    self.db, name, state=RunState.QUEUED, job_id=job_id, error="", ended_at=None
                )
        return self._get(name)

    def delete(self, actor: Actor, name: str) -> str:
        """Move a run to the trash folder; returns its new place within the data folder.

        Raises:
            Conflict: It runs, or a training that is not done needs its student.
        """
        actor.require(Role.OWNER)
        folder = self._folder / name
        self._get(name)
        with self.unneeded(folder, f"the run '{name}'", but=name):
            run = self._get(name)
            if run.state in (RunState.QUEUED, RunState.RUNNING) or self._has_worker(run):
                raise Conflict(f"The run '{name}' still runs.", "Stop it first.")
            if remote_state.may_run(folder):
                raise Conflict(
                    f"The Job of the run '{name}' may still run, and cost money.",
                    "Stop the run first: its Job is cancelled, and the Hub asked whether it is.",
                )
            target = self._trash_path(name)
            self.workspace.studio.models.forget(folder)
            self.workspace.runs.keep_notes(run, folder)
            if folder.exists():
                shutil.move(folder, target)
            table.delete(self.db, name)
        return str(target.relative_to(self.workspace.studio.home))

    def package(self, actor: Actor, name: str, kind: PackageKind = "merged") -> str:
        """Zip a trained student into `exports/`; returns the file's name there.

        Raises:
            InvalidInput: It has no adapter, or one whose base nobody else has.
        """
        actor.require(Role.VIEWER)
        run, folder, _ = self.finished(name, kind)
        if kind == "adapter" and origins.has_own_base(self.workspace, run):
            raise InvalidInput(
                f"The adapter of '{name}' fits only its own base, which was pruned or trained here:"
                " on the model that this comes from it would load, and answer wrongly.",
                "Take the whole model.",
            )
        facts = model_facts(self.workspace, actor, run)
        card, exports = model_card(run, kind, facts), self.workspace.folder / "exports"
        return pack(folder, run, kind, exports, card, card_files(run, facts)).name

    # -- for other services and the page --------------------------------------------------

    def config_of(self, actor_: Actor, spec: TrainSpec) -> RunConfig:
        """The run that a choice means; may take long, for a model is fetched."""
        return self._choices.config(actor_, spec, "unnamed")

    def enter(
        self, actor_: Actor, spec: TrainSpec, config: RunConfig, beside: Mapping[str, str] = _NONE
    ) -> Run:
        """Write `run.json`, store the run and queue its job; all was checked before.

        Args:
            actor_: Who starts it.
            spec: For its name and snapshot.
            config: The run, without a name.
            beside: More files of its folder, by name.

        Raises:
            Conflict: There is a run of that name.
        """
        with self._starting:
            name = self._free_name(spec)
            config = config.model_copy(update={"name": name})
            require_folders(config.model_dump(mode="json"))
            folder = self._folder / name
            folder.mkdir(parents=True)
            text = config.model_dump_json(indent=2) + "\n"
            for file, content in {commands.CONFIG_FILE: text, **beside}.items():
                (folder / file).write_text(content, encoding="utf-8")
            run = Run(
                name=name,
                method=config.method,
                snapshot_id=self._snapshot_id(actor_, spec.snapshot),
                config=config.model_dump(mode="json"),
                user=actor_.user,
            )
            with self.db.write():  # never a run without its job
                job_id = self._submit(actor_, name, config.method)
                table.insert(self.db, run.model_copy(update={"job_id": job_id}))
        return self.get(actor_, name)

    def follow(self, name: str) -> tuple[Curve, list[Any]]:
        """A run's curve and its events as records, read once."""
        events, _ = read_events(self._folder / self._get(name).name / EVENTS_FILE)
        return curve(events), events

    def look_after(self, actor_: Actor, run: Run, *, is_stop: bool) -> Run:
        """A job that follows what a run has left on another machine, or cancels it."""
        wishes: dict[str, Any] = {"is_taken": True} if run.state is RunState.DONE else {}
        wishes |= {"wanted": "stopped"} if is_stop else {}
        with self._starting, self.db.write():
            remote_state.change(self._folder / run.name, **wishes)
            job_id = self._submit(actor_, run.name, run.method)
            table.update(self.db, run.name, state=RunState.QUEUED, job_id=job_id, ended_at=None)
        return self._get(run.name)

    def student_folder(self, name: str) -> Path:
        """The folder of a finished run's whole model.

        Raises:
            NotFound: No such run, or it has not finished.
        """
        folder = self._folder / self._get(name).name / "model"
        if not (folder / "config.json").exists():
            raise NotFound(f"The run '{name}' has no student.", "Wait until it is done.")
        return folder

    def finished(self, name: str, kind: PackageKind) -> tuple[Run, Path, dict[str, Path]]:
        """A finished run, its folder, and the files of its student by name.

        Raises:
            NotFound: No such run.
            Conflict: It has not finished.
            InvalidInput: It has no adapter.
        """
        run = self._get(name)
        if run.state is not RunState.DONE:
            raise Conflict(f"The run '{name}' has no student yet: it is {run.state.value}.")
        folder = self._folder / name
        return run, folder, model_files(folder, run, kind)

    @contextmanager
    def unneeded(self, folder: Path, what: str, but: str = "") -> Iterator[None]:
        """While a folder that no training needs is taken away: none starts in the meantime.

        Raises:
            Conflict: A training needs it, see `refuse_needed`.
        """
        with self._starting:
            refuse_needed(self.workspace, folder, what, but)
            yield

    # -- inside ---------------------------------------------------------------------------

    def _get(self, name: str) -> Run:
        run = table.get(self.db, name)
        if run is None:
            raise NotFound(f"There is no run '{name}' in this workspace.")
        return self._reconciled(run)

    def _reconciled(self, run: Run) -> Run:
        """A run whose job ended without saying so: before it began, or lost."""
        if run.state not in (RunState.QUEUED, RunState.RUNNING):
            return run
        if not run.job_id:  # of a version that stored the run first, and was killed before the job
            if run.state is RunState.RUNNING:
                return run
            return self._ended(run, RunState.LOST, "It was never begun. Resume it.")
        jobs = self.workspace.jobs
        job = jobs.get(Actor(user="app", role=Role.VIEWER), run.job_id)
        if job.state not in (JobState.CANCELLED, JobState.FAILED):
            return run
        if run.state is RunState.RUNNING:
            return (
                run
                if self._has_worker(run)
                else self._ended(run, RunState.LOST, run.error or job.error)
            )
        if job.state is JobState.FAILED:  # the worker could not even be started
            return self._ended(run, RunState.FAILED, job.error)
        return self._ended(run, RunState.STOPPED, "")

    def _ended(self, run: Run, state: RunState, error: str) -> Run:
        """The run with its end stored, unless it was ended or resumed just now."""
        with self.db.write():
            now = table.get(self.db, run.name)
            if now is None or (now.state, now.job_id) != (run.state, run.job_id):
                return now or run
            ended = {"state": state, "error": error, "ended_at": utc_now()}
            table.update(self.db, run.name, **ended)
        return run.model_copy(update=ended)

    def _has_worker(self, run: Run) -> bool:
        folder = self._folder / run.name
        return living_worker(folder, stored_child(run)) is not None or is_locked(folder)

    def _make_lighter(self, name: str) -> None:
        path = self._folder / name / commands.CONFIG_FILE
        config = lighter_config(load_config(path))
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
        table.update(self.db, name, config=config.model_dump(mode="json"))

    def _submit(self, actor: Actor, name: str, method: str) -> str:
        title, params = f"Train {name} ({method.upper()})", {"run": name}
        if not (self._folder / name / REMOTE_FILE).exists():
            return self.workspace.jobs.submit(actor, "train", title, params).id
        params |= for_job(self.workspace, actor)
        return self.workspace.jobs.submit(actor, REMOTE_KIND, title, params).id

    def _snapshot_id(self, actor: Actor, name: str) -> str:
        return self.workspace.freeze.get(actor, name).id

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
