"""vLLM servers that the app starts, watches and stops; a ready one is a teacher.

A server is a process of its own. It stops with the app unless it is to be kept; either way the
next start of the app finds it again by pid and start time.
"""

from __future__ import annotations

import re
import shlex
import time
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Cancelled, Conflict, NotFound, Unavailable
from distill_studio.core.ids import content_hash
from distill_studio.core.records import Job, Record, TeacherConfig, TeacherKind
from distill_studio.core.records.base import utc_now
from distill_studio.services import processes
from distill_studio.services.base import Service
from distill_studio.services.processes import Child
from distill_studio.store import servers as table
from distill_studio.store.database import Row
from distill_studio.teachers import probe, vllm_server
from distill_studio.teachers.vllm_install import has_nvidia_gpu
from distill_studio.teachers.vllm_server import Dtype, ServerOptions

if TYPE_CHECKING:
    from distill_studio.services.jobs import JobContext
    from distill_studio.services.workspace import Workspace

KIND = "start_server"
_FOLDER = "servers"
_LOG = "server.log"
_POLL_S = 0.5
_START_LIMIT_S = 1800.0  # a large model reads its weights from a slow disk, or downloads them
_STOP_GRACE_S = 15.0


class ServerState(StrEnum):
    """Where a server stands."""

    STARTING = "starting"
    READY = "ready"
    SILENT = "silent"  # it runs, was ready, and does not answer now
    STOPPED = "stopped"
    FAILED = "failed"


class ServerStatus(Record):
    """A server as it is now."""

    name: str = Field(description="Of the server and its teacher.")
    state: ServerState = Field(description="As just seen.")
    options: ServerOptions = Field(description="What it was started with.")
    base_url: str = Field(description="Where it answers.")
    pid: int | None = Field(default=None, description="Process id, while it runs.")
    error: str = Field(default="", description="The last error in its log, when it failed.")
    created_at: datetime = Field(description="When it was started, UTC.")


class ServersService(Service):
    """Start, watch and stop servers."""

    word = "servers"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._folder = workspace.folder / _FOLDER
        workspace.jobs.register(KIND, self._handle, lane="io")

    # -- operations -----------------------------------------------------------------------

    def start(self, actor: Actor, options: ServerOptions) -> Job:
        """Start a server; returns the job that ends when it is ready and its teacher listed.

        Raises:
            Conflict: One of that name runs, or another teacher has the name.
            InvalidInput: An extra argument that the app sets itself.
            Unavailable: vLLM is not installed.
        """
        actor.require(Role.OWNER)
        python = vllm_server.interpreter(self.workspace.studio.settings.vllm_python)
        vllm_server.command(options, python=python, source=options.model, port=0)
        name = options.teacher
        self._refuse_doubles(actor, name)
        return self.workspace.jobs.submit(
            actor, KIND, f"Start {name}", {"options": options.model_dump(mode="json")}
        )

    def page(self, actor: Actor) -> list[ServerStatus]:
        """All servers and how they are, newest first."""
        actor.require(Role.VIEWER)
        return [self._status(row) for row in table.everyone(self.db)]

    def health(self, actor: Actor, name: str) -> ServerStatus:
        """One server, asked now.

        Raises:
            NotFound: No server of that name.
        """
        actor.require(Role.VIEWER)
        return self._status(self._row(name))

    def log(self, actor: Actor, name: str, lines: int = 60) -> str:
        """The last lines of a server's log."""
        actor.require(Role.VIEWER)
        self._row(name)
        return vllm_server.tail(self._log_file(name), max(1, min(lines, 1000)))

    def command(self, actor: Actor, options: ServerOptions) -> str:
        """The command that `start` would run, for a shell; the port is chosen then."""
        actor.require(Role.OWNER)
        python = vllm_server.interpreter(self.workspace.studio.settings.vllm_python)
        fast = self._with_fast_dtype(options)
        return shlex.join(vllm_server.command(fast, python=python, source=options.model, port=8000))

    def stop(self, actor: Actor, name: str) -> ServerStatus:
        """Stop a server and all its processes; its teacher stays and answers after a new start."""
        actor.require(Role.OWNER)
        row = self._row(name)
        self._cancel_start(actor, name)
        self._end(row)
        return self._status(self._row(name))

    def delete(self, actor: Actor, name: str) -> None:
        """Stop a server, forget it and its teacher; the answers stay."""
        actor.require(Role.OWNER)
        self.stop(actor, name)
        table.delete(self.db, name)
        if any(teacher.name == name for teacher in self.workspace.teachers.page(actor)):
            self.workspace.teachers.delete(actor, name)

    # -- for the workspace ----------------------------------------------------------------

    def own_ports(self) -> set[int]:
        """Ports of this machine on which servers run that were started here."""
        return {int(row["port"]) for row in table.everyone(self.db) if _is_alive(row)}

    def close(self) -> None:
        """Stop what is not to outlive the app."""
        for row in table.everyone(self.db):
            if not _options(row).keep_running:
                self._end(row)

    # -- the job --------------------------------------------------------------------------

    def _handle(self, context: JobContext) -> dict[str, Any]:
        options = ServerOptions(**context.params["options"])
        name = options.teacher
        row = table.get(self.db, name)
        if row is None or not _is_alive(row):
            row = self._launch(options, context)
        else:
            context.log(f"Found the server again, process {row['pid']}.")
        self._await_ready(row, context)
        table.update(self.db, name, was_ready=True)
        url = vllm_server.base_url(row["port"])
        teacher = TeacherConfig(
            name=name,
            kind=TeacherKind.OPENAI,
            model=options.model,
            base_url=url,
            concurrency=options.concurrency,
            timeout_s=600.0,
        )
        self.workspace.teachers.save(context.actor, teacher)
        return {"server": name, "base_url": url}

    def _with_fast_dtype(self, options: ServerOptions) -> ServerOptions:
        """On a CPU the number format that the probe found fastest, where none is chosen.

        vLLM itself takes what the model was saved in: bf16 as a rule, which a CPU without
        instructions for it computes many times slower.
        """
        if options.dtype is not Dtype.AUTO or has_nvidia_gpu():
            return options
        dtype = probe.choose(self.workspace.studio.settings.cache_folder, "cpu").dtype
        return options.model_copy(update={"dtype": Dtype(dtype)})

    def _launch(self, options: ServerOptions, context: JobContext) -> Row:
        settings = self.workspace.studio.settings
        python = vllm_server.interpreter(settings.vllm_python)
        context.progress(0, None, "Finding the model.")
        is_pinned = bool(options.revision)  # vLLM fetches that revision itself
        source = (
            options.model if is_pinned else str(self.workspace.studio.models.resolve(options.model))
        )
        context.cancel.raise_if_cancelled()
        port = vllm_server.free_port()
        fast = self._with_fast_dtype(options)
        argv = vllm_server.command(fast, python=python, source=source, port=port)
        log = self._log_file(options.teacher)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{shlex.join(argv)}\n", encoding="utf-8")
        child = processes.start(argv, cwd=log.parent, log=log, env=vllm_server.environment(options))
        row: Row = {
            "name": options.teacher,
            "options": options.model_dump_json(),
            "port": port,
            "pid": child.pid,
            "pid_started": child.started,
            "pid_mark": child.mark,
            "was_ready": False,
            "stopped_at": None,
            "created_at": utc_now(),
        }
        table.save(self.db, row)
        context.log(f"Started the server, process {child.pid}, port {port}.")
        return row

    def _await_ready(self, row: Row, context: JobContext) -> None:
        began = time.monotonic()
        while not vllm_server.is_healthy(row["port"]):
            waited = time.monotonic() - began
            if context.cancel.wait(_POLL_S):
                if not self.workspace.jobs.is_shutting_down:
                    self._end(row)
                raise Cancelled("Stopped before it was ready.")
            if not _is_alive(row):
                raise Unavailable(
                    f"The server ended before it was ready: {self._why(row['name'])}",
                    "Its log on the Generate tab says more.",
                )
            if waited > _START_LIMIT_S:
                self._end(row)
                raise Unavailable("The server was not ready within half an hour.")
            context.progress(0, None, f"Loading the model, {waited:.0f} s so far.")

    # -- inside ---------------------------------------------------------------------------

    def _refuse_doubles(self, actor: Actor, name: str) -> None:
        row = table.get(self.db, name)
        if self._starting(actor, name) or (row is not None and _is_alive(row)):
            raise Conflict(
                f"The server {name} runs already.", "Stop it first, or name the new one."
            )
        if row is None and any(t.name == name for t in self.workspace.teachers.page(actor)):
            raise Conflict(f"There is a teacher '{name}' already.", "Name the server otherwise.")

    def _starting(self, actor: Actor, name: str) -> list[str]:
        return [
            job.id
            for job in self.workspace.jobs.page(actor, kinds=[KIND], active=True, limit=100)
            if ServerOptions(**job.params["options"]).teacher == name
        ]

    def _cancel_start(self, actor: Actor, name: str) -> None:
        for job_id in self._starting(actor, name):
            self.workspace.jobs.cancel(actor, job_id)
            self.workspace.jobs.wait(actor, job_id, timeout_s=2 * _STOP_GRACE_S)

    def _end(self, row: Row) -> None:
        if _is_alive(row):
            processes.stop_group(_child(row), _STOP_GRACE_S)
            table.update(self.db, row["name"], stopped_at=utc_now())

    def _status(self, row: Row) -> ServerStatus:
        is_alive = _is_alive(row)
        if is_alive:
            is_ready = vllm_server.is_healthy(row["port"])
            waiting = ServerState.SILENT if row["was_ready"] else ServerState.STARTING
            state = ServerState.READY if is_ready else waiting
        else:
            state = ServerState.STOPPED if row["stopped_at"] else ServerState.FAILED
        return ServerStatus(
            name=row["name"],
            state=state,
            options=_options(row),
            base_url=vllm_server.base_url(row["port"]),
            pid=row["pid"] if is_alive else None,
            error=self._why(row["name"]) if state is ServerState.FAILED else "",
            created_at=row["created_at"],
        )

    def _why(self, name: str) -> str:
        return vllm_server.last_error(self._log_file(name)) or "its log names no error."

    def _row(self, name: str) -> Row:
        row = table.get(self.db, name)
        if row is None:
            raise NotFound(f"There is no server '{name}'.", "Start it first.")
        return row

    def _log_file(self, name: str) -> Path:
        safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
        return self._folder / f"{safe}-{content_hash([name])[:8]}" / _LOG


def _options(row: Row) -> ServerOptions:
    return ServerOptions.model_validate_json(row["options"])


def _is_alive(row: Row) -> bool:
    if row["pid"] is None or row["stopped_at"] is not None:
        return False
    return processes.is_alive(_child(row))


def _child(row: Row) -> Child:
    return Child(pid=row["pid"], started=row["pid_started"], mark=row["pid_mark"] or "")
