"""Teachers behind vLLM servers, for a training: which there are, and what a run is told of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.core.actor import Actor
from distill_studio.core.errors import StudioError
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.distill import config as runs
from distill_studio.distill.config import LogitRun, RunConfig
from distill_studio.distill.findings import Finding
from distill_studio.distill.server_checks import server_findings, stored_finding
from distill_studio.distill.students import SERVER_PREFIX
from distill_studio.store import servers as table
from distill_studio.teachers.vllm_server import ServerOptions

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace


def server_teachers(workspace: Workspace, actor: Actor) -> list[str]:
    """Names of teachers whose server may be vLLM: all but those at well-known other addresses.

    Whether one is, is asked before a start, not for a list.
    """
    others = {
        preset["base_url"]
        for preset in workspace.teachers.presets(actor)
        if "vllm" not in preset["label"].lower()
    }
    return [
        teacher.name
        for teacher in workspace.teachers.page(actor)
        if teacher.kind is TeacherKind.OPENAI and teacher.base_url not in others
    ]


def served_teacher(
    workspace: Workspace, name: str, weight: float, download: bool = True
) -> runs.TeacherConfig:
    """What a run is told of a teacher behind a server: never its key.

    Its folder is that of the same model on this machine, where the app started the server from it
    or the server's model has its name; '' else. Without `download` nothing is fetched.

    Raises:
        NotFound: No teacher of that name.
        Unavailable: A model of this machine that would have to be fetched.
    """
    teacher = workspace.teachers.config(name)
    if teacher.kind is not TeacherKind.OPENAI:  # a model of this machine, by its teacher's name
        folder = str(workspace.studio.models.resolve(teacher.model, download).resolve())
        return runs.TeacherConfig(folder=folder, id=teacher.model, weight=weight)
    folder = _folder_here(workspace, teacher, download)
    return runs.TeacherConfig(
        folder=folder, id=f"{SERVER_PREFIX}{name}", weight=weight, server=teacher
    )


def ask_server(workspace: Workspace, config: RunConfig) -> list[Finding]:
    """What pre-flight has to say of a run's server, which is asked now; [] where it has none."""
    if not isinstance(config, LogitRun) or config.teacher.server is None:
        return []
    try:
        key = workspace.teachers.key_of(config.teacher.server.name)
    except StudioError as err:
        return [Finding(level="error", code="key", message=err.user_message, hint=err.hint)]
    findings = server_findings(config, key, workspace.teachers.reach)
    silent = next((f for f in findings if f.code == "server_unreachable"), None)
    stored = stored_finding(config, silent) if silent else None
    return [stored] if stored else findings


def worker_key(workspace: Workspace, config: RunConfig) -> str:
    """The key that a run's worker needs, for its environment; '' for none.

    Raises:
        NeedsKey: It was given for a session that is over.
    """
    if not isinstance(config, LogitRun) or config.teacher.server is None:
        return ""
    return workspace.teachers.key_of(config.teacher.server.name)


def _folder_here(workspace: Workspace, teacher: TeacherConfig, download: bool) -> str:
    row = table.get(workspace.db, teacher.name)
    if row is not None and ServerOptions.model_validate_json(row["options"]).revision:
        return ""  # vLLM fetched that revision itself
    models = workspace.studio.models
    if not models.is_here(teacher.model):
        return ""
    try:
        folder = Path(models.resolve(teacher.model, download))
    except StudioError:
        return ""  # a path of the server's own machine
    return str(folder.resolve()) if (folder / "config.json").is_file() else ""
