"""A trained student as a GGUF file among the exports, written by a job."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field

from distill_studio.core.actor import Actor
from distill_studio.core.errors import Conflict, NotFound, Unavailable
from distill_studio.core.records import Job, Record
from distill_studio.distill.llama_cpp.about import about_student
from distill_studio.distill.llama_cpp.number_formats import NUMBER_FORMATS, GgufType
from distill_studio.distill.llama_cpp.plan import WAY_OUT, Plan, read_plan
from distill_studio.distill.llama_cpp.vocabulary import read_vocabulary
from distill_studio.distill.llama_cpp.writer import write_gguf
from distill_studio.services.jobs import JobContext
from distill_studio.services.model_facts import model_facts

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KIND = "gguf"
_MB = 1_000_000


class GgufChoice(Record):
    """A number format, and the file it makes of a student."""

    type: GgufType = Field(description="f16, bf16, q8_0, q4_1 or q4_0.")
    about: str = Field(description="What it costs and saves.")
    size_bytes: int = Field(description="About how large the file is.")
    file: str = Field(default="", description="Its name among the exports; empty: not made yet.")


class GgufExports:
    """Looks at students and writes their files.

    Args:
        workspace: Whose students.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._written: set[Path] = set()  # right now
        self._guard = threading.Lock()
        workspace.jobs.register(JOB_KIND, self._run, lane="io")

    def choices(self, run: str) -> list[GgufChoice]:
        """Every number format with its size.

        Raises:
            NotFound: No such run.
            Conflict: It has not finished.
            InvalidInput: Its student cannot be written as GGUF.
        """
        plan = self._plan(run)
        since = self._workspace.distill.finished(run, "merged")[0].created_at.timestamp()
        made = {kind: self._folder / _file_name(run, kind) for kind in get_args(GgufType)}
        return [
            GgufChoice(
                type=kind,
                about=_about(plan, kind),
                size_bytes=size,
                file=made[kind].name if _is_of(made[kind], since) else "",
            )
            for kind, size in plan.sizes().items()
        ]

    def submit(self, actor_: Actor, run: str, kind: GgufType) -> Job:
        """Refuse at once what cannot be written, then queue the job.

        Raises:
            InvalidInput: The student or its tokenizer cannot be written as GGUF.
            Unavailable: The disk has no room for it.
        """
        plan = self._plan(run)
        read_vocabulary(plan.folder, plan.rows, WAY_OUT)
        needed = plan.size_bytes(kind)
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise Unavailable(
                f"The file takes about {needed / _MB:,.0f} MB, the disk has {free / _MB:,.0f} MB.",
                "Make room (Export lists earlier files), or take a smaller type.",
            )
        title, params = f"Write {_file_name(run, kind)} (in MB)", {"run": run, "type": kind}
        return self._workspace.jobs.submit_once(actor_, JOB_KIND, title, params)

    # -- inside ---------------------------------------------------------------------------

    def _run(self, context: JobContext) -> dict[str, Any]:
        run, kind = context.params["run"], context.params["type"]
        plan = self._plan(run)
        record, _, _ = self._workspace.distill.finished(run, "merged")
        about = about_student(record, model_facts(self._workspace, context.actor, record))
        target = self._folder / _file_name(run, kind)

        def progress(done: int, total: int | None = None, note: str = "") -> None:
            whole = None if total is None else -(-total // _MB)
            context.progress(min(-(-done // _MB), whole or done), whole, note)

        with self._alone(target), _told(run):
            write_gguf(plan, kind, about, target, progress, context.cancel.raise_if_cancelled)
        return {"name": target.name, "size_bytes": target.stat().st_size}

    @contextmanager
    def _alone(self, target: Path) -> Iterator[None]:
        """While one job writes a file no other does."""
        with self._guard:
            if target in self._written:
                raise Conflict(f"{target.name} is being written already.", "Wait for that job.")
            self._written.add(target)
        try:
            yield
        finally:
            self._written.discard(target)

    def _plan(self, run: str) -> Plan:
        _, folder, _ = self._workspace.distill.finished(run, "merged")
        return read_plan(folder / "model")

    @property
    def _folder(self) -> Path:
        return self._workspace.folder / "exports"


@contextmanager
def _told(run: str) -> Iterator[None]:
    """Trouble with files in plain words."""
    try:
        yield
    except FileNotFoundError as err:
        raise NotFound(f"The run '{run}' was deleted while its file was written.") from err
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Unavailable(
            "The disk is full.", "Make room (Export lists earlier files), then resume the job."
        ) from err


def _about(plan: Plan, kind: GgufType) -> str:
    about, whole = NUMBER_FORMATS[kind].about, plan.share_at_16_bits(kind)
    if whole < 0.01:
        return about
    return f"{about}; {whole:.0%} of the weights stay at 16, their rows being no whole blocks of 32"


def _file_name(run: str, kind: GgufType) -> str:
    return f"{run}-{kind}.gguf"


def _is_of(file: Path, since: float) -> bool:
    """Whether a file is there and no older than its run: names of deleted runs are used again."""
    return file.is_file() and file.stat().st_mtime >= since
