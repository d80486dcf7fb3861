"""What a choice of a training means here: the models there are, the run it makes, its checks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotAllowed
from distill_studio.core.gpus import nvidia_gpus
from distill_studio.core.records import RunState
from distill_studio.distill.alike import speed_shape
from distill_studio.distill.config import (
    PRUNING,
    DataConfig,
    RunConfig,
    StudentConfig,
    TeacherConfig,
)
from distill_studio.distill.preflight import Report, check
from distill_studio.distill.presets import build_config
from distill_studio.distill.spec import OWNERS, TrainSpec, parse_teachers
from distill_studio.distill.students import (
    RUN_PREFIX,
    SERVER_PREFIX,
    StudentChoice,
    server_choices,
    student_choices,
)
from distill_studio.services.distill_servers import ask_server, served_teacher, server_teachers
from distill_studio.store import runs as table
from distill_studio.teachers.models import list_models

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace


class RunChoices:
    """Of one workspace; `DistillService` asks it, and answers for who may."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._folder = workspace.folder / "runs"

    def students(self) -> list[StudentChoice]:
        """Models that can be trained: those on this machine, and finished runs."""
        runs = table.page(self._workspace.db, limit=200)
        done = [run for run in runs if run.state is RunState.DONE]
        known = self._known_models()
        return student_choices(known, [(run.name, self._folder / run.name) for run in done])

    def teachers(self, actor: Actor) -> list[StudentChoice]:
        """Models that can be followed: those that can be trained, and teachers behind servers."""
        return [*self.students(), *server_choices(server_teachers(self._workspace, actor))]

    def check(self, config: RunConfig) -> Report:
        """Pre-flight on this machine, and at the server that it asks."""
        report = check(
            config,
            measured_tokens_per_s=self._measured_speed(config),
            memory_total_gib=_memory_of(config.device),
            disk_folder=self._folder,
            runs_folder=self._folder,
            gpus=_gpus_for(config.device),
        )
        if report.is_ok:
            report.findings.extend(ask_server(self._workspace, config))
        return report

    def _measured_speed(self, config: RunConfig) -> float | None:
        """Tokens a second of the newest finished run that did the same work on this machine."""
        wanted = speed_shape(config.model_dump(mode="json"))
        for run in table.page(self._workspace.db, limit=50):
            is_here = run.state is RunState.DONE and "flavor" not in run.metrics
            speed = run.metrics.get("tokens_per_s")
            if is_here and speed and speed_shape(run.config) == wanted:
                return float(speed)
        return None

    def config(self, actor: Actor, spec: TrainSpec, name: str) -> RunConfig:
        """The run that a choice means; may take long, for a model is fetched."""
        folder = self._workspace.freeze.folder(spec.snapshot)
        snapshot = self._workspace.freeze.get(actor, spec.snapshot)
        data = DataConfig(
            folder=str(folder.resolve()),
            name=spec.snapshot,
            format=snapshot.format,
            content_hash=snapshot.content_hash,
        )
        student = StudentConfig(
            base_folder=str(self._resolve(actor, spec.student).resolve()),
            base_id=spec.student,
            **{name: getattr(spec, name) for name in PRUNING},
        )
        device = self._workspace.studio.settings.device
        caches = str((self._workspace.folder / "teacher-cache").resolve())
        return build_config(spec, name, student, data, device, self._teachers(actor, spec), caches)

    def _teachers(self, actor: Actor, spec: TrainSpec) -> list[TeacherConfig]:
        """Whom a method follows; the whole student where nobody is named."""
        if spec.method not in OWNERS["teacher"]:
            return []
        first = (spec.teacher or spec.student, spec.teacher_weight or 1.0)
        others = parse_teachers(spec.more_teachers or "")
        return [self._teacher(actor, name, weight) for name, weight in [first, *others]]

    def _teacher(self, actor: Actor, name: str, weight: float) -> TeacherConfig:
        if name.startswith(SERVER_PREFIX):
            name = name.removeprefix(SERVER_PREFIX)
            return served_teacher(self._workspace, name, weight, download=_may_fetch(actor))
        folder = self._resolve(actor, name)
        return TeacherConfig(folder=str(folder.resolve()), id=name, weight=weight)

    def _resolve(self, actor: Actor, student: str) -> Path:
        """The folder of a model. Who only looks names one of the list; others any, also to fetch.

        Raises:
            NotAllowed: Another model, asked for by a viewer.
        """
        if student.startswith(RUN_PREFIX):
            return self._workspace.distill.student_folder(student.removeprefix(RUN_PREFIX))
        if not _may_fetch(actor) and student not in [m["id"] for m in self._known_models()]:
            raise NotAllowed(
                f"The model '{student}' is not in the list of models that are here.",
                "Choose one of the list; another one needs the role reviewer.",
            )
        return self._workspace.studio.models.resolve(student, download=_may_fetch(actor))

    def _known_models(self) -> list[dict[str, Any]]:
        models = list_models(self._workspace.studio.settings.cache_folder)
        return [m for m in models if m["use"] == "chat" and m["is_present"]]


def _memory_of(device: str) -> float:
    """GiB in which a run on `device` has to fit: of its GPU, or of this machine."""
    kind, _, number = device.partition(":")
    gpus = nvidia_gpus() if kind in ("auto", "cuda") else []
    index = int(number or 0)
    of_gpu = gpus[index].memory_gib if index < len(gpus) else 0.0
    return of_gpu or psutil.virtual_memory().total / 2**30


def _gpus_for(device: str) -> int:
    """NVIDIA GPUs of this machine that a run on `device` may use."""
    return len(nvidia_gpus()) if device.partition(":")[0] in ("auto", "cuda") else 0


def _may_fetch(actor: Actor) -> bool:
    """Whether this person's choice of a model may fetch it or name a folder of this machine."""
    return actor.role >= Role.REVIEWER
